"""What flips between two runs, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.bootstrap import Floats, Resampling, percentiles, rounded
from evaluation.dataset import DatasetError
from evaluation.outcomes import Clip, Judged
from evaluation.runs import Row, Run
from evaluation.significance import holm, mcnemar_exact, sign_flip_exact

ALPHA = 0.05
NO_EVIDENCE = "no evidence of a difference"


@dataclass(frozen=True, slots=True)
class Flip:
    """A candidate that the two runs decide differently.

    ``before`` or ``after`` is ``None`` when only the other run has the candidate. ``better`` says whether
    run B is nearer the truth; ``None`` when both reach a person, or nobody knows the truth.
    """

    before: Row | None
    after: Row | None
    better: bool | None

    @property
    def row(self) -> Row:
        """A row that names clip, type and time."""
        return self.after or self.before or {}


@dataclass(frozen=True, slots=True)
class PairedTest:
    """One question asked of both runs.

    Attributes:
        name: ``incidents`` or ``false alarms``.
        clips: Clips both runs judged.
        only_a: Clips that only run A got right.
        only_b: Clips that only run B got right.
        mcnemar_p: Exact p over clips.
        p: Exact p over groups, which is what decides.
        adjusted_p: The same after Holm's correction for the two questions.
    """

    name: str
    clips: int
    only_a: int
    only_b: int
    mcnemar_p: float
    p: float
    adjusted_p: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of both runs and B minus A with its paired, clustered 95 % interval."""

    metric: str
    before: float | None
    after: float | None
    delta: float | None
    low: float | None
    high: float | None

    @property
    def evidence(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything ``sitrep compare`` says."""

    a: Run
    b: Run
    flips: tuple[Flip, ...]
    tests: tuple[PairedTest, ...]
    differences: tuple[Difference, ...]

    @property
    def evidence(self) -> bool:
        """Whether the runs differ beyond noise: a Holm-adjusted exact p over groups below 0.05."""
        return any(test.adjusted_p < ALPHA for test in self.tests)

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        if not self.evidence:
            return NO_EVIDENCE if self.flips else f"{NO_EVIDENCE}: no candidate is decided differently"
        parts = []
        for test in self.tests:
            if test.adjusted_p < ALPHA:
                which = "better" if test.only_b > test.only_a else "worse"
                parts.append(f"{self.b.name} is {which} on {test.name} (p = {test.adjusted_p:.3g})")
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """What ``sitrep compare --json`` prints."""

        def short(row: Row | None) -> Row | None:
            wanted = ("decision", "score", "title", "narrative")
            return None if row is None else {key: row.get(key) for key in wanted}

        return {
            "a": str(self.a.path),
            "b": str(self.b.path),
            "verdict": self.verdict,
            "evidence": self.evidence,
            "tests": [{slot: getattr(test, slot) for slot in PairedTest.__slots__} for test in self.tests],
            "differences": {
                one.metric: {
                    "a": one.before,
                    "b": one.after,
                    "delta": one.delta,
                    "low": one.low,
                    "high": one.high,
                }
                for one in self.differences
            },
            "flips": [
                {
                    "clip": flip.row["truth"]["clip"],
                    "label": flip.row["truth"]["label"],
                    "event_type": flip.row["event_type"],
                    "start_s": flip.row["start_s"],
                    "better": flip.better,
                    "a": short(flip.before),
                    "b": short(flip.after),
                }
                for flip in self.flips
            ],
        }


def compare_runs(a: Run, b: Run) -> Comparison:
    """Compare two finished runs over the same truth.

    Raises:
        DatasetError: They are of different datasets, or not finished.
    """
    for run in (a, b):
        if not run.done:
            raise DatasetError(
                f"{run.path} is not finished", hint="run the same sitrep eval again to resume it"
            )
    if a.dataset_sha256 != b.dataset_sha256:
        raise DatasetError(
            f"{a.path} and {b.path} are runs of different datasets", hint="evaluate both on the same file"
        )
    pairs = _paired(a.clips, b.clips)
    draws = Resampling.draw([clip.truth.group for clip, _ in pairs])
    return Comparison(a, b, tuple(_flips(pairs)), _tests(pairs), _differences(pairs, draws))


def _paired(a: Sequence[Clip], b: Sequence[Clip]) -> list[tuple[Clip, Clip]]:
    second = {clip.truth.clip: clip for clip in b}
    return [(clip, second[clip.truth.clip]) for clip in a]


def _flips(pairs: Sequence[tuple[Clip, Clip]]) -> list[Flip]:
    found = []
    for one, other in pairs:
        before = {_identity(candidate): candidate for candidate in one.candidates}
        after = {_identity(candidate): candidate for candidate in other.candidates}
        for key in sorted(before.keys() | after.keys(), key=str):
            old, new = before.get(key), after.get(key)
            if (old and old.decision) != (new and new.decision):
                found.append(Flip(_row(old), _row(new), _better(old, new)))
    return sorted(found, key=lambda flip: (flip.better is None, flip.better is True))


def _identity(candidate: Judged) -> tuple[str, float, float]:
    return candidate.event_type, candidate.start_s, candidate.end_s


def _row(candidate: Judged | None) -> Row | None:
    return None if candidate is None else dict(candidate.row)


def _better(old: Judged | None, new: Judged | None) -> bool | None:
    real = new.real if new else old.real if old else None
    was, now = bool(old and old.reached), bool(new and new.reached)
    return None if real is None or was == now else now == real


def _tests(pairs: Sequence[tuple[Clip, Clip]]) -> tuple[PairedTest, ...]:
    raw = []
    for name, of_incidents in (("incidents", True), ("false alarms", False)):
        part = [(one, other) for one, other in pairs if one.truth.escalate is of_incidents]
        net: dict[str, int] = {}
        only_a = only_b = 0
        for one, other in part:
            right_a, right_b = one.reached is of_incidents, other.reached is of_incidents
            only_a += right_a and not right_b
            only_b += right_b and not right_a
            net[one.truth.group] = net.get(one.truth.group, 0) + right_b - right_a
        raw.append((name, len(part), only_a, only_b, sign_flip_exact(net.values())))
    adjusted = holm([p for *_, p in raw])
    return tuple(
        PairedTest(name, clips, only_a, only_b, mcnemar_exact(only_a, only_b), p, better)
        for (name, clips, only_a, only_b, p), better in zip(raw, adjusted, strict=True)
    )


Holds = Callable[[Clip], bool]


def _differences(pairs: Sequence[tuple[Clip, Clip]], draws: Resampling) -> tuple[Difference, ...]:
    def benign(clip: Clip) -> bool:
        return not clip.truth.escalate

    def incident(clip: Clip) -> bool:
        return clip.truth.escalate

    def flagged(clip: Clip) -> bool:
        return incident(clip) and clip.flagged

    asked: tuple[tuple[str, Holds, Holds, bool], ...] = (
        ("incident_retention", lambda c: flagged(c) and c.reached, flagged, False),
        ("false_alarm_cut", lambda c: benign(c) and c.reached, lambda c: benign(c) and c.flagged, True),
        ("incident_escalation", lambda c: flagged(c) and c.escalated, flagged, False),
        ("flag_recall", flagged, incident, False),
    )
    column = draws.index()

    def sums(clips: Sequence[Clip], holds: Holds) -> Floats:
        summed = np.zeros(len(column))
        for clip in clips:
            summed[column[clip.truth.group]] += holds(clip)
        return summed

    found = []
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    for metric, top, bottom, complement in asked:
        sides = [(sums(clips, top), sums(clips, bottom)) for clips in (first, second)]
        before, after = (
            rounded(float(1 - hits.sum() / of.sum() if complement else hits.sum() / of.sum()))
            if of.sum()
            else None
            for hits, of in sides
        )
        if before is None or after is None:
            found.append(Difference(metric, before, after, None, None, None))
            continue
        drawn = [(draws.counts @ hits, draws.counts @ of) for hits, of in sides]
        held = (drawn[0][1] > 0) & (drawn[1][1] > 0)
        shares = [hits[held] / of[held] for hits, of in drawn]
        sign = -1 if complement else 1
        low, high = percentiles(sign * (shares[1] - shares[0]))
        found.append(Difference(metric, before, after, rounded(after - before), low, high))
    return tuple(found)
