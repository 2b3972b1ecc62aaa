"""The reasoner: one forward pass for the score, words where they are wanted, decision by code."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.base import Inquiry, Score, SitrepChatModel
from pipeline.decide import Decision, decide
from pipeline.errors import FrameStoreError, PromptError, ReplyError
from pipeline.interfaces import FrameStore
from pipeline.reason.calibration import Calibrated
from pipeline.reason.criteria import criteria
from pipeline.reason.grounding import Grounding, check
from pipeline.reason.inquiry import build_inquiry
from pipeline.reason.parse import parse_report
from pipeline.reason.site import ChosenPrompt, Site
from pipeline.reason.verdicts import failed_verdict, provenance
from pipeline.settings import Narrate, Settings
from pipeline.types import Action, Candidate, Narrative, Verdict, View
from prompts.pack import RenderedPrompt


@dataclass(frozen=True, slots=True)
class _Asked:
    """A candidate with its question, or with the error that kept it from being asked."""

    candidate: Candidate
    inquiry: Inquiry | None = None
    prompt: str = ""
    rendered: RenderedPrompt | None = None
    params: dict[str, Any] | None = None
    error: FrameStoreError | PromptError | None = None
    build_ms: float = 0.0


class PromptReasoner:
    """Implements :class:`pipeline.interfaces.Reasoner`.

    Args:
        settings: Model, prompt, language, policy, narrate.
        frame_store: Where key frames are read from.
        model: Made from ``settings.model`` on first use when ``None``, so that a worker's parent process
            never loads weights.
    """

    def __init__(
        self, settings: Settings, frame_store: FrameStore, model: SitrepChatModel | None = None
    ) -> None:
        self.settings = settings
        self._frames = frame_store
        self._model = model
        self._site = Site(settings)

    @property
    def model(self) -> SitrepChatModel:
        """The model, loaded on first use. Raises ConfigError, ModelMissing."""
        if self._model is None:
            from models import registry

            self._model = registry.create(self.settings.model, self.settings)
        return self._model

    def check(self) -> None:
        """Read policy, prompt and overrides once, so that a mistake in them shows at start.

        Raises:
            ConfigError: One of them is wrong.
        """
        self._site.check()

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict a candidate, in order; scores are asked for in one batch.

        Raises:
            ModelTimeout, ModelUnavailable: No judgement was possible now; try again.
            ModelError, ConfigError: None will be: the model is missing, refuses the request or cannot score.
        """
        asked = [self._ask(candidate) for candidate in candidates]
        open_questions = [item for item in asked if item.inquiry is not None]
        scores = iter(self._scores([item.inquiry for item in open_questions if item.inquiry is not None]))
        verdicts = []
        for item in asked:
            if item.error is not None:
                verdicts.append(self._failed(item, item.error))
            else:
                verdicts.append(self._judge_one(item, next(scores)))
        return verdicts

    def narrate(self, candidate: Candidate, verdict: Verdict) -> Verdict:
        """Write the narrative of a judged candidate that has none yet.

        Uses the prompt version of the verdict. The decision stays as it was taken.

        Raises:
            ModelTimeout, ModelUnavailable, ModelMissing: Try again later.
            FrameStoreError, PromptError: Frames or prompt version are no longer there.
            ReplyError: The model's reply cannot be read.
        """
        item = self._ask(candidate, ref=verdict.provenance.prompt or None)
        if item.inquiry is None:
            raise item.error or PromptError("the prompt cannot be rendered")
        attributes = verdict.provenance.params.get("attributes") or {}
        score = Score(
            verdict.log_odds or 0.0,
            attributes,
            verdict.category,
            probability=verdict.score,
            state=verdict.state,
        )
        said, elapsed_ms = self._narrate(item.inquiry, score)
        found = check(said, candidate, attributes, verdict.score)
        params = {**verdict.provenance.params, "ungrounded": list(found.unsupported)}
        return replace(
            verdict,
            narrative=said,
            grounded=found.grounded,
            provenance=replace(verdict.provenance, params=params),
            timings_ms={**verdict.timings_ms, "narrative": elapsed_ms},
        )

    def close(self) -> None:
        """Release the model."""
        if self._model is not None:
            self._model.close()

    def _ask(self, candidate: Candidate, ref: str | None = None) -> _Asked:
        started = time.perf_counter()
        prompt = ref or self.settings.prompt
        try:
            chosen = self._site.prompt(candidate, ref)
            prompt = chosen.pack.ref
            inquiry, rendered = build_inquiry(
                candidate, chosen.pack, self._frames, self.settings, overrides=chosen.overrides
            )
        except (FrameStoreError, PromptError) as error:
            return _Asked(candidate, prompt=prompt, error=error)
        return _Asked(
            candidate,
            inquiry,
            prompt,
            rendered,
            self._params(chosen, rendered),
            build_ms=(time.perf_counter() - started) * 1e3,
        )

    def _params(self, chosen: ChosenPrompt, rendered: RenderedPrompt) -> dict[str, Any]:
        return {
            "language": self.settings.language,
            "narrate": self.settings.narrate.value,
            "site_context": rendered.site_context,
            "options": dict(rendered.options),
            "overrides": list(chosen.overrides.sources),
            "prompt_split": chosen.split,
            "policy_sha256": self._site.policy_sha256(),
        }

    def _scores(self, inquiries: Sequence[Inquiry]) -> list[Score | ReplyError]:
        """A batch in one call; when a reply in it cannot be read, one by one to find out which."""
        if not inquiries:
            return []
        try:
            return list(self.model.score(inquiries))
        except ReplyError as error:
            if len(inquiries) == 1:
                return [error]
        scores: list[Score | ReplyError] = []
        for inquiry in inquiries:
            try:
                scores += self.model.score([inquiry])
            except ReplyError as error:
                scores.append(error)
        return scores

    def _judge_one(self, item: _Asked, score: Score | ReplyError) -> Verdict:
        if isinstance(score, ReplyError):
            return self._failed(item, score)
        timings = {"verdict": item.build_ms + score.elapsed_ms}
        if not math.isfinite(score.log_odds):
            error = ReplyError(f"the model's score is {score.log_odds}", raw=repr(score))
            return self._failed(item, error, timings=timings)
        calibrated = self._calibrated(item, score.log_odds)
        seen = None
        if score.seen_log_odds is not None and math.isfinite(score.seen_log_odds):
            seen = self._calibrated(item, score.seen_log_odds).probability
        said: Narrative | None = None
        found: Grounding | None = None
        decision = self._decide(item, calibrated, seen)
        if self._wants_words(decision):
            score = replace(
                score, probability=calibrated.probability, state=decision.state, action=decision.action
            )
            try:
                said, timings["narrative"] = self._narrate(_inquiry(item), score)
            except ReplyError as error:
                return self._failed(item, error, timings=timings, log_odds=score.log_odds)
            found = check(said, item.candidate, score.attributes, calibrated.probability)
            decision = self._decide(item, calibrated, seen, grounded=found.grounded)
        return self._verdict(item, score, calibrated, decision, words=(said, found), timings=timings)

    def _calibrated(self, item: _Asked, log_odds: float) -> Calibrated:
        return self._site.calibrations.read(
            log_odds,
            self.model.model_id,
            item.prompt,
            item.candidate.event_type,
            still=all(frame.view is not View.MOTION for frame in item.candidate.key_frames),
        )

    def _decide(
        self, item: _Asked, calibrated: Calibrated, seen: float | None, *, grounded: bool | None = None
    ) -> Decision:
        return decide(
            item.candidate,
            calibrated.probability,
            self._site.policy(),
            calibrated=calibrated.thresholds,
            seen=seen,
            grounded=grounded,
            site_context=item.rendered.site_context if item.rendered else "",
            language=self.settings.language,
        )

    def _wants_words(self, decision: Decision) -> bool:
        if self.settings.narrate is not Narrate.ESCALATED:
            return self.settings.narrate is Narrate.ALL
        return decision.action is not Action.DISMISS

    def _narrate(self, inquiry: Inquiry, score: Score) -> tuple[Narrative, float]:
        started = time.perf_counter()
        reply = self.model.narrate(inquiry, score)
        return parse_report(reply, inquiry.language), (time.perf_counter() - started) * 1e3

    def _verdict(
        self,
        item: _Asked,
        score: Score,
        calibrated: Calibrated,
        decision: Decision,
        *,
        words: tuple[Narrative | None, Grounding | None],
        timings: dict[str, float],
    ) -> Verdict:
        said, found = words
        params = {
            **(item.params or {}),
            "calibrated": calibrated.calibrated,
            "escalate_at": decision.thresholds.escalate_at,
            "dismiss_below": decision.thresholds.dismiss_below,
            "attributes": {name: round(float(value), 4) for name, value in score.attributes.items()},
        }
        if found and not found.grounded:
            params["ungrounded"] = list(found.unsupported)
        return Verdict(
            state=decision.state,
            score=calibrated.probability,
            action=decision.action,
            priority=decision.priority,
            reason=decision.reason,
            provenance=provenance(
                item.candidate,
                model=self.model.model_id,
                prompt=item.prompt,
                prompt_sha256=item.rendered.sha256 if item.rendered else "",
                params=params,
            ),
            category=score.category,
            criteria=criteria(item.candidate, score.attributes, calibrated.probability),
            narrative=said,
            grounded=found.grounded if found else None,
            timings_ms=timings,
            log_odds=score.log_odds,
        )

    def _failed(
        self,
        item: _Asked,
        error: FrameStoreError | PromptError | ReplyError,
        *,
        timings: dict[str, float] | None = None,
        log_odds: float | None = None,
    ) -> Verdict:
        return failed_verdict(
            item.candidate,
            error,
            model=self._model.model_id if self._model else self.settings.model,
            prompt=item.prompt,
            prompt_sha256=item.rendered.sha256 if item.rendered else "",
            params=item.params,
            policy=self._site.policy(),
            language=self.settings.language,
            log_odds=log_odds,
            timings_ms=timings,
        )


def build_reasoner(settings: Settings, frame_store: FrameStore) -> PromptReasoner:
    """The reasoner for these settings. The model is loaded when the first candidate is judged.

    Raises:
        ConfigError: Policy, prompt, overrides or a calibration file is wrong.
    """
    reasoner = PromptReasoner(settings, frame_store)
    reasoner.check()
    return reasoner


def _inquiry(item: _Asked) -> Inquiry:
    if item.inquiry is None:
        raise PromptError("the prompt cannot be rendered")
    return item.inquiry
