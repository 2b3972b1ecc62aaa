"""What became of the versions of a prompt that share the traffic: an A/B test read from the store.

Which version judges a candidate depends on its id alone, and the shares then in force are stored with its
verdict; only live verdicts given while more than one version had a share count here. Figures have 95 %
intervals from resamples of cameras: alarms of one camera stand or fall together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Engine, func, select

from evaluation.bootstrap import Figure, Resampling, percentiles, ratio, rounded
from evaluation.compare import NO_EVIDENCE
from evaluation.dataset import DatasetError
from pipeline.store.engine import read
from pipeline.store.schema import Answer, candidates, feedback, jobs, verdicts
from pipeline.types import Action

FIGURES: dict[str, str] = {
    "escalated": "candidates a person was called for / candidates judged",
    "review": "candidates sent to review / candidates judged",
    "dismissed": "candidates dismissed / candidates judged",
    "failed": "candidates whose judgement failed / candidates judged",
    "false_alarms": "false alarms / incidents that operators confirmed or called a false alarm",
}
"""What each share of an arm is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One live verdict of an arm; ``answer`` is the operators' newest one about its incident."""

    version: str
    camera: str
    action: str
    failed: bool
    answer: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Arm:
    """One version: its shares of traffic while it was judged, how many verdicts, and its figures."""

    prompt: str
    shares: tuple[float, ...]
    judged: int
    answers: Mapping[str, int]
    figures: Mapping[str, Figure]
    seconds_p50: float | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """A figure of a later arm minus that of the first, with its 95 % interval."""

    figure: str
    prompt: str
    delta: float
    low: float
    high: float

    @property
    def evidence(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Trial:
    """The arms of one prompt, oldest version first, and how the later ones differ from the first."""

    name: str
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        said = [
            f"{one.prompt}: {one.figure} {one.delta:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
            for one in self.contrasts
            if one.evidence
        ]
        return "; ".join(said) or NO_EVIDENCE

    def as_json(self) -> dict[str, Any]:
        """What ``sitrep prompts arms --json`` prints."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "arms": [
                {
                    "prompt": arm.prompt,
                    "shares": list(arm.shares),
                    "judged": arm.judged,
                    "answers": dict(arm.answers),
                    "seconds_p50": arm.seconds_p50,
                    **{name: figure.as_json() for name, figure in arm.figures.items()},
                }
                for arm in self.arms
            ],
            "contrasts": [
                {slot: getattr(one, slot) for slot in Contrast.__slots__} for one in self.contrasts
            ],
        }


def read_arms(engine: Engine, name: str, *, since: datetime | None = None) -> Trial:
    """Compare the versions of a prompt that shared the traffic.

    Args:
        engine: The store.
        name: Pack id.
        since: Count candidates from this moment on.

    Raises:
        DatasetError: No live verdict was given while versions of this prompt shared the traffic.
    """
    seen, shares = _seen(engine, name, since)
    if not seen:
        raise DatasetError(
            f"no verdict was given while versions of '{name}' shared the traffic",
            hint=f"send a part of it: sitrep prompts promote {name}@VERSION --share 0.1",
        )
    draws = Resampling.draw([one.camera for one in seen])
    versions = sorted({one.version for one in seen}, key=_order)
    of_arm = {version: [one for one in seen if one.version == version] for version in versions}
    arms = tuple(
        Arm(
            prompt=f"{name}@{version}",
            shares=tuple(sorted(shares[version])),
            judged=len(part),
            answers={str(answer): sum(one.answer == answer for one in part) for answer in Answer},
            figures={figure: ratio(draws, *_sums(part, draws, figure)) for figure in FIGURES},
            seconds_p50=_median(one.seconds for one in part),
        )
        for version, part in of_arm.items()
    )
    first, *later = versions
    contrasts = [
        contrast
        for version in later
        for figure in FIGURES
        if (contrast := _contrast(figure, f"{name}@{version}", of_arm[first], of_arm[version], draws))
    ]
    return Trial(name, arms, tuple(contrasts))


def _seen(engine: Engine, name: str, since: datetime | None) -> tuple[list[Seen], dict[str, set[float]]]:
    # An answer is about the verdict its operator was looking at; of several the newest counts.
    newest = (
        select(feedback.c.verdict_id, func.max(feedback.c.feedback_id).label("feedback_id"))
        .group_by(feedback.c.verdict_id)
        .subquery()
    )
    query = (
        select(
            verdicts.c.prompt,
            verdicts.c.action,
            verdicts.c.state,
            verdicts.c.provenance,
            verdicts.c.timings_ms,
            candidates.c.camera,
            feedback.c.answer,
        )
        .join(candidates, candidates.c.candidate_id == verdicts.c.candidate_id)
        .join(jobs, jobs.c.job_id == verdicts.c.job_id)
        .outerjoin(newest, newest.c.verdict_id == verdicts.c.verdict_id)
        .outerjoin(feedback, feedback.c.feedback_id == newest.c.feedback_id)
        .where(jobs.c.live, verdicts.c.prompt.startswith(f"{name}@", autoescape=True))
        .order_by(verdicts.c.verdict_id)
    )
    if since is not None:
        query = query.where(candidates.c.occurred_at >= since)
    seen: list[Seen] = []
    shares: dict[str, set[float]] = {}
    with read(engine) as connection:
        for row in connection.execute(query):
            split = (row.provenance.get("params") or {}).get("prompt_split") or {}
            if len(split) < 2:
                continue
            version = row.prompt.partition("@")[2]
            shares.setdefault(version, set()).add(float(split.get(version, 0.0)))
            spent = row.timings_ms.get("verdict")
            seconds = None if spent is None else float(spent) / 1000
            failed = row.state == "failed"
            seen.append(Seen(version, row.camera, row.action, failed, row.answer, seconds))
    return seen, shares


_COUNTS: dict[str, Callable[[Seen], bool]] = {
    "escalated": lambda one: one.action == Action.ESCALATE,
    "review": lambda one: one.action == Action.REVIEW,
    "dismissed": lambda one: one.action == Action.DISMISS,
    "failed": lambda one: one.failed,
    "false_alarms": lambda one: one.answer == Answer.FALSE_ALARM,
}


def _sums(part: Sequence[Seen], draws: Resampling, figure: str) -> tuple[Any, Any]:
    """(G,) what counts and (G,) out of how many, by camera."""
    column = draws.index()
    top, bottom = np.zeros(len(column)), np.zeros(len(column))
    for one in part:
        if figure == "false_alarms" and one.answer not in (Answer.FALSE_ALARM, Answer.CONFIRMED):
            continue
        bottom[column[one.camera]] += 1
        top[column[one.camera]] += _COUNTS[figure](one)
    return top, bottom


def _contrast(
    figure: str, prompt: str, first: Sequence[Seen], later: Sequence[Seen], draws: Resampling
) -> Contrast | None:
    """The difference, or ``None`` where one arm has nothing to count or there is a single camera."""
    sides = [_sums(part, draws, figure) for part in (first, later)]
    if len(draws.groups) < 2 or any(bottom.sum() == 0 for _, bottom in sides):
        return None
    drawn = [(draws.counts @ top, draws.counts @ bottom) for top, bottom in sides]
    held = (drawn[0][1] > 0) & (drawn[1][1] > 0)
    samples = drawn[1][0][held] / drawn[1][1][held] - drawn[0][0][held] / drawn[0][1][held]
    before, after = (float(top.sum() / bottom.sum()) for top, bottom in sides)
    return Contrast(figure, prompt, rounded(after - before), *percentiles(samples))


def _median(values: Iterable[float | None]) -> float | None:
    held = [value for value in values if value is not None]
    return rounded(float(np.median(held))) if held else None


def _order(version: str) -> Any:
    from prompts.loader import version_key

    return version_key(version)
