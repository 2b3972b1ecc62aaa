"""Figures of the score over labelled candidates: calibration, ranking; and quantiles of times.

Every function takes the N things, their group columns (N,) into the resampling's groups, and computes
the figure once with all weights 1 and once a resample with the group's count as weight, so that value
and interval are the same formula.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import Figure, Floats, Resampling, bounded, percentiles, ratio, rounded

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BINS = 10
CHUNK = 256
"""Resamples handled at once: bounds memory to CHUNK x N numbers."""


def bin_of(score: Floats) -> Ints:
    """Equal-width bin of each score: [0, 0.1), ..., [0.9, 1]."""
    return np.minimum((score * BINS).astype(np.int64), BINS - 1)


def calibration_error(draws: Resampling, score: Floats, real: Bools, group: Ints) -> Figure:
    """Expected calibration error (Naeini et al. 2015): sum over bins of share x |mean score - share real|."""
    if not score.size:
        return Figure(None, None, None, 0)
    columns = len(draws.groups)
    weight, surplus = np.zeros((columns, BINS)), np.zeros((columns, BINS))
    np.add.at(weight, (group, bin_of(score)), 1.0)
    np.add.at(surplus, (group, bin_of(score)), score - real)

    def error(counts: Floats) -> Floats:
        number = (counts @ weight).sum(axis=-1)
        gap = np.abs(counts @ surplus).sum(axis=-1)
        return np.asarray(np.divide(gap, number, out=np.full_like(gap, np.nan), where=number > 0), np.float64)

    samples = error(draws.counts)
    value = float(error(np.ones((1, columns)))[0])
    held = samples[~np.isnan(samples)]
    return Figure(rounded(value), *percentiles(held), int(score.size))


def brier(draws: Resampling, score: Floats, real: Bools, group: Ints) -> Figure:
    """Mean squared distance of score and truth (Brier 1950)."""
    columns = len(draws.groups)
    squared = np.bincount(group, (score - real) ** 2, minlength=columns).astype(np.float64)
    number = np.bincount(group, minlength=columns).astype(np.float64)
    return ratio(draws, squared, number)


def average_precision(draws: Resampling, score: Floats, real: Bools, group: Ints) -> Figure:
    """Area under the precision-recall steps, ties taken together."""

    def area(hits: Floats, falses: Floats) -> Floats:
        positives = hits[:, -1:]
        recall = np.diff(hits / positives, prepend=0.0, axis=1)
        seen = hits + falses
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        return np.asarray((recall * precision).sum(axis=1), np.float64)

    return _ranked(draws, score, real, group, area, needs_false=False)


def roc_auc(draws: Resampling, score: Floats, real: Bools, group: Ints) -> Figure:
    """Area under the ROC curve by trapezes: ties count half."""

    def area(hits: Floats, falses: Floats) -> Floats:
        steps = np.diff(falses, prepend=0.0, axis=1)
        middle = hits - np.diff(hits, prepend=0.0, axis=1) / 2
        return np.asarray((steps * middle).sum(axis=1) / (hits[:, -1] * falses[:, -1]), np.float64)

    return _ranked(draws, score, real, group, area, needs_false=True)


def _ranked(
    draws: Resampling,
    score: Floats,
    real: Bools,
    group: Ints,
    area: Callable[[Floats, Floats], Floats],
    *,
    needs_false: bool,
) -> Figure:
    if not real.any() or (needs_false and real.all()):
        return Figure(None, None, None, int(score.size))
    order = np.argsort(-score, kind="stable")
    ranked, label, column = score[order], real[order], group[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def areas(counts: Floats) -> Floats:
        weight = counts[:, column]
        hits = np.cumsum(weight * label, axis=1)[:, ends]
        falses = np.cumsum(weight * ~label, axis=1)[:, ends]
        held = (hits[:, -1] > 0) & ((falses[:, -1] > 0) if needs_false else True)
        return area(hits[held], falses[held])

    value = float(areas(np.ones((1, len(draws.groups))))[0])
    chunks = range(0, len(draws.counts), CHUNK)
    samples = np.concatenate([areas(draws.counts[at : at + CHUNK]) for at in chunks])
    clusters = len(set(group.tolist()))
    return bounded(value, samples, n=int(score.size), clusters=clusters)


def quantile(draws: Resampling, values: Floats, group: Ints, q: float) -> Figure:
    """A quantile, linearly interpolated, as ``numpy.quantile``."""
    if not values.size:
        return Figure(None, None, None, 0)
    order = np.argsort(values, kind="stable")
    ranked, column = values[order], group[order]
    samples = [
        float(np.quantile(np.repeat(ranked, weight), q))
        for counts in draws.counts
        if (weight := counts[column].astype(np.int64)).any()
    ]
    return Figure(rounded(float(np.quantile(ranked, q))), *percentiles(np.array(samples)), int(values.size))
