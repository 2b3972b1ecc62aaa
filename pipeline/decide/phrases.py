"""The sentences in which code gives its reasons, in English and Korean."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import Action


@dataclass(frozen=True, slots=True)
class Phrases:
    """Reasons in one language ("ko", else English)."""

    language: str = "en"

    def _pick(self, english: str, korean: str) -> str:
        return korean if self.language == "ko" else english

    def above(self, score: float, limit: float) -> str:
        """The score reached the escalation threshold."""
        return self._pick(
            f"Score {score:.2f} is at or above {limit:.2f}", f"점수 {score:.2f}: 기준 {limit:.2f} 이상"
        )

    def below(self, score: float, limit: float) -> str:
        """The score is under the dismissal threshold."""
        shown, against = told_apart(score, limit)
        return self._pick(f"Score {shown} is below {against}", f"점수 {shown}: 기준 {against} 미만")

    def between(self, score: float, low: float, high: float) -> str:
        """The score lies between both thresholds."""
        shown, above = told_apart(score, high)
        return self._pick(
            f"Score {shown} lies between {low:.2f} and {above}", f"점수 {shown}: {low:.2f}와 {above} 사이"
        )

    def outcome(self, action: Action) -> str:
        """What follows from a score alone."""
        return {
            Action.ESCALATE: self._pick("escalated", "상황을 전파합니다"),
            Action.REVIEW: self._pick("a person should look", "사람이 확인해야 합니다"),
            Action.DISMISS: self._pick("dismissed as a false alarm", "오경보로 처리합니다"),
        }[action]

    def plain(self, finding: str, action: Action) -> str:
        """A decision by score."""
        return self._pick(f"{finding}: {self.outcome(action)}.", f"{finding}이므로 {self.outcome(action)}.")

    def despite(self, finding: str, why: str, action: Action) -> str:
        """A decision in which something else outweighed the score."""
        result = {
            Action.ESCALATE: self.outcome(action),
            Action.REVIEW: self._pick("a person should look", "사람이 확인해야 합니다"),
            Action.DISMISS: self._pick("dismissed", "종결합니다"),
        }[action]
        return self._pick(f"{finding}, but {why}: {result}.", f"{finding}이지만 {why} {result}.")

    def failed(self, error: str) -> str:
        """There is no score."""
        return self._pick(
            f"No judgement was possible ({error}): a person should look.",
            f"판단할 수 없습니다({error}). 사람이 확인해야 합니다.",
        )

    def ungrounded(self) -> str:
        """The narrative is not supported."""
        return self._pick(
            "its report says what neither detectors nor model saw",
            "보고 내용이 탐지 결과로 뒷받침되지 않으므로",
        )

    def words_only(self) -> str:
        """Without the words about the site the score would not dismiss it."""
        return self._pick(
            "only what is said about the site speaks against it, and words dismiss nothing",
            "현장 설명만으로는 종결하지 않으므로",
        )

    def disabled(self) -> str:
        """The policy switched the event type off."""
        return self._pick("the policy does not watch for this here", "정책상 이곳에서 감시하지 않으므로")

    def zone(self, name: str) -> str:
        """The zone is not one the rule holds in."""
        return self._pick(f"the policy leaves out zone '{name}'", f"정책상 '{name}' 구역이 제외되어")

    def no_zone(self) -> str:
        """The rule holds in some zones only and the candidate has none."""
        return self._pick(
            "the policy holds in some zones only and the zone is unknown",
            "정책이 특정 구역에만 적용되는데 구역을 알 수 없어",
        )

    def expected(self) -> str:
        """Policy or site context say that this is normal here."""
        return self._pick("this is expected here", "이곳에서 예상되는 활동이므로")

    def hours(self, clock: str) -> str:
        """Outside the hours of the rule."""
        return self._pick(
            f"at {clock} the policy does not escalate this", f"{clock}에는 정책상 전파하지 않으므로"
        )


def told_apart(score: float, limit: float) -> tuple[str, str]:
    """Two numbers with two decimals, or with as many as it takes to see that the first is the smaller."""
    for digits in (2, 3, 4):
        shown, against = f"{score:.{digits}f}", f"{limit:.{digits}f}"
        if shown != against:
            break
    return shown, against
