"""The curves of a report: precision and recall, calibration, and what another threshold would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import Floats
from evaluation.outcomes import Clip, Judged
from evaluation.scores import BINS, bin_of

THRESHOLDS = np.round(np.linspace(0.0, 1.0, 101), 2)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, (N,) each."""

    x: Floats
    y: Floats


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a calibration plot: mean score, share that is real, number of candidates."""

    score: float
    real: float
    n: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What would reach a person if everything from a score on did, and nothing below it.

    ``cut`` and ``retention`` are the clip-level figures at each of ``thresholds``; NaN when undefined.
    ``point`` is where the run really was, decided by its policy, as (cut, retention).
    """

    thresholds: Floats
    cut: Floats
    retention: Floats
    point: tuple[float, float] | None


def labelled(clips: Sequence[Clip]) -> tuple[Floats, Floats]:
    """Scores and truths (1 real, 0 false) of the candidates that have both."""
    pairs = [
        (one.score, float(one.real))
        for clip in clips
        for one in clip.candidates
        if one.score is not None and one.real is not None
    ]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def precision_recall(clips: Sequence[Clip]) -> Curve | None:
    """Precision over recall of the score, ties taken together; ``None`` without a real candidate."""
    score, real = labelled(clips)
    if not real.any():
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(real[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return Curve(hits[ends] / real.sum(), hits[ends] / (ends + 1))


def calibration_bins(clips: Sequence[Clip]) -> list[Bin]:
    """The non-empty ones of ten equal bins of the score."""
    score, real = labelled(clips)
    slot = bin_of(score)
    return [
        Bin(float(score[held].mean()), float(real[held].mean()), int(held.sum()))
        for number in range(BINS)
        if (held := slot == number).any()
    ]


def threshold_sweep(clips: Sequence[Clip]) -> Sweep | None:
    """Clip-level cut and retention for every threshold; ``None`` when nothing was scored.

    A candidate without a score (failed, or not judged) reaches a person at every threshold.
    """
    flagged = [clip for clip in clips if clip.flagged]
    if not any(one.score is not None for clip in flagged for one in clip.candidates):
        return None
    highest = np.array([max(map(_effective, clip.candidates)) for clip in flagged])
    incident = np.array([clip.truth.escalate for clip in flagged], bool)
    reached = np.array([clip.reached for clip in flagged], bool)
    through = highest[None, :] >= THRESHOLDS[:, None]
    cut = 1 - _share(through[:, ~incident])
    retention = _share(through[:, incident])
    point = None
    if incident.any() and not incident.all():
        point = (1 - float(reached[~incident].mean()), float(reached[incident].mean()))
    return Sweep(THRESHOLDS, cut, retention, point)


def _effective(one: Judged) -> float:
    return np.inf if one.score is None else one.score


def _share(held: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Floats:
    if not held.shape[1]:
        return np.full(held.shape[0], np.nan)
    return np.asarray(held.mean(axis=1), np.float64)
