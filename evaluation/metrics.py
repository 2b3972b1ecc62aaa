"""The metrics everybody quotes the same way, with 95 % intervals clustered by group.

Clip level (primary, as the design defines them; "reaches a person" = a candidate decided ``escalate`` or
``review``, or left without a decision):

    flag_recall          incident clips with a candidate / incident clips
    false_alarms_before  benign clips with a candidate
    false_alarms_after   benign clips with a candidate that reaches a person
    false_alarm_cut      1 - after / before
    incident_retention   incident clips that reach a person / incident clips with a candidate

``by_type`` counts an incident clip under its label and a benign clip under the types of its
candidates (a benign clip may count under several). ``*_matched`` asks more of an incident clip: the
candidate must be of a type that goes with its label. The rest is described in ``METRICS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import LEVEL, Figure, Floats, Resampling, ratio, total
from evaluation.events import match_events, scorable
from evaluation.outcomes import Clip, Judged
from evaluation.scores import average_precision, brier, calibration_error, quantile, roc_auc
from evaluation.truth import compatible, true_types
from pipeline.types import Action

METRICS: dict[str, str] = {
    "flag_recall": "incident clips with a candidate / incident clips",
    "flag_recall_matched": "the same, the candidate of a type that goes with the label",
    "false_alarms_before": "benign clips with a candidate",
    "false_alarms_after": "benign clips with a candidate that reaches a person",
    "false_alarms_escalated": "benign clips with a candidate that is escalated",
    "false_alarm_cut": "1 - after / before",
    "incident_retention": "incident clips that reach a person / incident clips with a candidate",
    "incident_retention_matched": "the same over candidates of a type that goes with the label",
    "incident_escalation": "incident clips with an escalated candidate / incident clips with a candidate",
    "review_rate": "candidates sent to review / candidates with a decision",
    "failed_rate": "candidates whose judgement failed / candidates",
    "unjudged_rate": "candidates without a decision / candidates",
    "unreadable_rate": "clips that could not be read to the end / clips",
    "calibration_error": "expected calibration error of the score, 10 equal bins, labelled candidates",
    "brier": "mean squared error of the score, labelled candidates",
    "roc_auc": "area under the ROC curve of the score, labelled candidates",
    "average_precision": "area under the precision-recall curve of the score, labelled candidates",
    "groundedness": "narratives found grounded / narratives checked",
    "seconds_to_verdict_p50": "median seconds from commit to verdict",
    "seconds_to_verdict_p95": "95th percentile of the same",
    "model_seconds_mean": "model seconds (verdict and narrative) a judged candidate",
    "event_recall": "events with an alarm in time that reaches a person / events",
    "event_precision": "alarms reaching a person that are right / those right or false",
    "event_f1": "harmonic mean of both",
    "flag_event_recall": "event_recall of stage 1 alone, before any judgement",
    "flag_event_precision": "event_precision of stage 1 alone",
}
"""What each metric is, for reports."""

BY_CAMERA = (
    "flag_recall", "false_alarms_before", "false_alarms_after", "false_alarm_cut", "incident_retention",
    "review_rate",
)  # fmt: skip

Report = dict[str, dict[str, Figure]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a run: ``total``, and by event type, by light and by camera."""

    total: dict[str, Figure]
    by_type: Report
    by_light: Report
    by_camera: Report
    resamples: int
    seed: int
    groups: int

    def as_json(self) -> dict[str, object]:
        """The content of ``metrics.json``."""

        def plain(part: Mapping[str, Figure]) -> dict[str, dict[str, float | int | None]]:
            return {name: figure.as_json() for name, figure in part.items()}

        parts = {"by_type": self.by_type, "by_light": self.by_light, "by_camera": self.by_camera}
        return {
            "total": plain(self.total),
            **{name: {key: plain(part) for key, part in report.items()} for name, report in parts.items()},
            "interval": {
                "method": "percentile bootstrap over groups; Clopper-Pearson over groups at 0 and 1",
                "level": LEVEL,
                "resamples": self.resamples,
                "seed": self.seed,
                "groups": self.groups,
            },
        }


def evaluate(clips: Sequence[Clip], *, draws: Resampling | None = None) -> Evaluation:
    """Compute every metric of a run.

    Args:
        clips: All clips of the dataset, also those without candidates.
        draws: Resamples to use; drawn over the clips' groups with the default seed when omitted.
    """
    draws = draws or Resampling.draw([clip.truth.group for clip in clips])
    types = sorted(
        {candidate.event_type for clip in clips for candidate in clip.candidates}
        | {clip.truth.scored_type for clip in clips if clip.truth.scored_type}
    )
    lit = {"day": False, "night": True}
    cameras: dict[str, list[Clip]] = {}
    for clip in clips:
        cameras.setdefault(clip.camera, []).append(clip)
    return Evaluation(
        total=figures(clips, draws),
        by_type={name: figures(clips, draws, of_type=name) for name in types},
        by_light={
            name: figures(part, draws)
            for name, night in lit.items()
            if (part := [clip for clip in clips if clip.night is night])
        },
        by_camera={
            name: {
                metric: figure
                for metric, figure in figures(part, draws, detail=False).items()
                if metric in BY_CAMERA
            }
            for name, part in sorted(cameras.items())
        },
        resamples=len(draws.counts),
        seed=draws.seed,
        groups=len(draws.groups),
    )


def figures(
    clips: Iterable[Clip], draws: Resampling, *, of_type: str | None = None, detail: bool = True
) -> dict[str, Figure]:
    """The metrics of some clips; of one event type when given. ``detail`` adds scores, times, events."""
    count = _Counter(draws)
    clips = list(clips)
    incidents = [clip for clip in clips if clip.truth.escalate and of_type in (None, clip.truth.scored_type)]
    benign = [clip for clip in clips if not clip.truth.escalate]
    flagged = [clip for clip in incidents if clip.flagged]
    matched = [clip for clip in incidents if clip.matching()]

    def suspects(clip: Clip) -> tuple[Judged, ...]:
        return clip.candidates if of_type is None else clip.of_type(of_type)

    before = count.clips(benign, suspects)
    after = count.clips(benign, lambda clip: any(one.reached for one in suspects(clip)))
    called = count.clips(benign, lambda clip: any(one.decision == Action.ESCALATE for one in suspects(clip)))
    whole = count.clips(benign)
    judged = [(clip, one) for clip in clips for one in suspects(clip)]
    decided = [(clip, one) for clip, one in judged if one.decision is not None]
    found = {
        "flag_recall": count.share(incidents, lambda clip: clip.flagged),
        "flag_recall_matched": count.share(incidents, lambda clip: bool(clip.matching())),
        "false_alarms_before": total(draws, before, whole),
        "false_alarms_after": total(draws, after, whole),
        "false_alarms_escalated": total(draws, called, whole),
        "false_alarm_cut": ratio(draws, after, before, complement=True),
        "incident_retention": count.share(flagged, lambda clip: clip.reached),
        "incident_retention_matched": count.share(
            matched, lambda clip: any(one.reached for one in clip.matching())
        ),
        "incident_escalation": count.share(flagged, lambda clip: clip.escalated),
        "review_rate": count.part(decided, lambda one: one.decision == Action.REVIEW),
        "failed_rate": count.part(judged, lambda one: one.failed),
        "unjudged_rate": count.part(judged, lambda one: one.decision is None),
    }
    if of_type is None:
        found["unreadable_rate"] = count.share(clips, lambda clip: clip.error is not None)
    return {**found, **_detail(count, clips, judged, of_type)} if detail else found


def _detail(
    count: _Counter, clips: list[Clip], judged: list[tuple[Clip, Judged]], of_type: str | None
) -> dict[str, Figure]:
    scored = [
        (clip, one.score, one.real) for clip, one in judged if one.score is not None and one.real is not None
    ]
    score = np.array([value for _, value, _ in scored], np.float64)
    real = np.array([label for _, _, label in scored], bool)
    group = count.columns(clip for clip, _, _ in scored)
    checked = [(clip, one) for clip, one in judged if one.grounded is not None]
    timed = [(clip, one.seconds) for clip, one in judged if one.seconds is not None]
    seconds = np.array([value for _, value in timed], np.float64)
    of_seconds = count.columns(clip for clip, _ in timed)
    worked = [(clip, spent) for clip, one in judged if (spent := model_seconds(one)) is not None]
    return {
        "calibration_error": calibration_error(count.draws, score, real, group),
        "brier": brier(count.draws, score, real, group),
        "roc_auc": roc_auc(count.draws, score, real, group),
        "average_precision": average_precision(count.draws, score, real, group),
        "groundedness": count.part(checked, lambda one: bool(one.grounded)),
        "seconds_to_verdict_p50": quantile(count.draws, seconds, of_seconds, 0.50),
        "seconds_to_verdict_p95": quantile(count.draws, seconds, of_seconds, 0.95),
        "model_seconds_mean": ratio(
            count.draws,
            count.sums((clip, spent) for clip, spent in worked),
            count.sums((clip, 1.0) for clip, _ in worked),
        ),
        **_events(count, clips, of_type),
    }


def model_seconds(one: Judged) -> float | None:
    """Seconds the model spent on a candidate, or ``None`` when it was not judged."""
    times = one.row.get("timings_ms") or {}
    if times.get("verdict") is None:
        return None
    return float((times["verdict"] + (times.get("narrative") or 0.0)) / 1000)


def _events(count: _Counter, clips: list[Clip], of_type: str | None) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for prefix, kept in (("", True), ("flag_", False)):
        right, missed, false = [], [], []
        for clip in clips:
            if not scorable(clip):
                continue
            alarms = [one for one in clip.candidates if one.reached or not kept]
            match = match_events(clip.truth.events, alarms)
            right += [(clip, 1.0) for event, _ in match.found if of_type in (None, event.type)]
            missed += [(clip, 1.0) for event in match.missed if of_type in (None, event.type)]
            false += [(clip, 1.0) for one in match.false if of_type in (None, one.event_type)]
        hits, misses, wrong = count.sums(right), count.sums(missed), count.sums(false)
        found[f"{prefix}event_recall"] = ratio(count.draws, hits, hits + misses)
        found[f"{prefix}event_precision"] = ratio(count.draws, hits, hits + wrong)
        if kept:
            figure = ratio(count.draws, 2 * hits, 2 * hits + misses + wrong)
            events = round(float((hits + misses).sum()))
            found["event_f1"] = Figure(figure.value, figure.low, figure.high, events, figure.exact)
    return found


class _Counter:
    """Sums things by group, the form in which the bootstrap wants them."""

    def __init__(self, draws: Resampling) -> None:
        self.draws = draws
        self._column = draws.index()

    def sums(self, weighted: Iterable[tuple[Clip, float]]) -> Floats:
        """(G,) sums of weights."""
        summed = np.zeros(len(self._column))
        for clip, weight in weighted:
            summed[self._column[clip.truth.group]] += weight
        return summed

    def clips(self, clips: Iterable[Clip], holds: Callable[[Clip], object] = lambda clip: True) -> Floats:
        """(G,) numbers of clips that hold."""
        return self.sums((clip, 1.0) for clip in clips if holds(clip))

    def share(self, clips: Sequence[Clip], holds: Callable[[Clip], object]) -> Figure:
        """The share of clips that hold."""
        return ratio(self.draws, self.clips(clips, holds), self.clips(clips))

    def part(self, judged: Sequence[tuple[Clip, Judged]], holds: Callable[[Judged], bool]) -> Figure:
        """The share of candidates that hold."""
        return ratio(
            self.draws,
            self.sums((clip, 1.0) for clip, one in judged if holds(one)),
            self.sums((clip, 1.0) for clip, _ in judged),
        )

    def columns(self, clips: Iterable[Clip]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(N,) group column of each clip."""
        return np.array([self._column[clip.truth.group] for clip in clips], np.int64)


__all__ = ["METRICS", "Evaluation", "compatible", "evaluate", "figures", "model_seconds", "true_types"]
