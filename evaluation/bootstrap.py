"""Intervals for figures over clips that are not independent: the percentile bootstrap by cluster.

Whole groups are drawn with replacement, so that frames of one clip or clips of one scene stand or fall
together (Cameron, Gelbach & Miller 2008; Efron & Tibshirani 1993, ch. 13). The draw is part of the
definition of every published interval and is kept simple enough to be repeated anywhere:
``random.Random(seed)``, then for each resample ``choices(range(G), k=G)`` over the sorted group names.

A proportion of 0 or 1 has the same value in every resample, and the bootstrap interval would be a
point. There the exact interval (Clopper & Pearson 1934) over the number of groups is given instead.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
SEED = 20_261_122
LEVEL = 0.95
DIGITS = 6
"""Figures are written with this many decimals; beyond lies the order of summation."""


def rounded(value: float) -> float:
    """A figure as it is written. Twelve decimals first: halves come out the same however they were summed."""
    return round(round(value, 12), DIGITS)


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric: its value, a 95 % interval and the number of things it is a figure of.

    ``value`` is ``None`` when nothing could be counted (0 of 0), ``low``/``high`` when there is no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    exact: bool = False

    def as_json(self) -> dict[str, float | int | None]:
        """The form that ``metrics.json`` holds."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, slots=True)
class Resampling:
    """Group draws shared by all figures of one evaluation.

    Attributes:
        groups: Sorted group names, G of them.
        counts: (B, G) float64: how often resample b holds group g.
        seed: What it was drawn with.
    """

    groups: tuple[str, ...]
    counts: Floats
    seed: int

    @staticmethod
    def draw(groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED) -> Resampling:
        """Draw resamples of the distinct groups."""
        names = tuple(sorted(set(groups)))
        size = len(names)
        source = random.Random(seed)
        counts = np.zeros((resamples, size))
        for row in counts:
            row[:] = np.bincount(source.choices(range(size), k=size), minlength=size)
        return Resampling(names, counts, seed)

    def index(self) -> dict[str, int]:
        """Column of each group."""
        return {name: column for column, name in enumerate(self.groups)}


def ratio(draws: Resampling, numerator: Floats, denominator: Floats, *, complement: bool = False) -> Figure:
    """Sum of numerators over sum of denominators, each (G,); ``complement`` gives 1 minus that."""
    top, bottom = float(numerator.sum()), float(denominator.sum())
    if bottom == 0:
        return Figure(None, None, None, 0)

    def turned(value: Floats) -> Floats:
        return 1 - value if complement else value

    tops, bottoms = draws.counts @ numerator, draws.counts @ denominator
    held = bottoms > 0
    samples = turned(tops[held] / bottoms[held])
    value = float(turned(np.asarray(top / bottom)))
    return bounded(value, samples, n=round(bottom), clusters=int((denominator > 0).sum()))


def total(draws: Resampling, numerator: Floats, out_of: Floats) -> Figure:
    """A count, (G,), with its interval; ``out_of`` is how many could have counted.

    The interval is that of the share, times ``out_of``: a resample may hold more clips than there are.
    """
    share, possible = ratio(draws, numerator, out_of), round(float(out_of.sum()))
    low = None if share.low is None else rounded(possible * share.low)
    high = None if share.high is None else rounded(possible * share.high)
    return Figure(float(numerator.sum()), low, high, possible, share.exact)


def bounded(value: float, samples: Floats, *, n: int, clusters: int) -> Figure:
    """A proportion with its interval: percentiles of the resamples, exact at 0 and 1."""
    if value in (0.0, 1.0):
        low, high = exact_bounds(value == 1.0, clusters)
        return Figure(value, rounded(low), rounded(high), n, exact=True)
    if clusters < 2 or samples.size == 0:
        return Figure(rounded(value), None, None, n)
    return Figure(rounded(value), *percentiles(samples), n)


def percentiles(samples: Floats) -> tuple[float, float]:
    """The middle 95 % of the resamples, linearly interpolated."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return rounded(float(low)), rounded(float(high))


def exact_bounds(all_of_them: bool, n: int) -> tuple[float, float]:
    """Clopper-Pearson bounds for 0 of n, or n of n."""
    tail = (1 - LEVEL) / 2
    edge = math.pow(tail, 1 / n)
    return (edge, 1.0) if all_of_them else (0.0, 1 - edge)
