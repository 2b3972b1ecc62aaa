"""Measures for reports: AUC with intervals by group, balanced calibration error, Platt scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; NaN when a class is missing."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float(
        (ranks[truth.astype(bool)].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def auc_interval(
    truth: np.ndarray, score: np.ndarray, group: Sequence[str], *, samples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """AUC with a 95 % bootstrap interval that draws whole groups."""
    random = np.random.default_rng(seed)
    names, which = np.unique(np.asarray(group), return_inverse=True)
    members = [np.flatnonzero(which == index) for index in range(len(names))]
    values = []
    for _ in range(samples):
        rows = np.concatenate([members[index] for index in random.integers(0, len(names), len(names))])
        values.append(auc(truth[rows], score[rows]))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return {
        "value": round(auc(truth, score), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n_real": int(truth.sum()),
        "n_false": int(len(truth) - truth.sum()),
        "groups": len(names),
    }


def mean_interval(
    values: np.ndarray, group: Sequence[str], *, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of a mean, drawing whole groups."""
    random = np.random.default_rng(seed)
    names, which = np.unique(np.asarray(group), return_inverse=True)
    members = [np.flatnonzero(which == index) for index in range(len(names))]
    drawn = [
        values[
            np.concatenate([members[index] for index in random.integers(0, len(names), len(names))])
        ].mean()
        for _ in range(samples)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def balanced(truth: np.ndarray) -> np.ndarray:
    """Weights that make both classes count the same: a prior of one half."""
    share = truth.mean()
    return np.where(truth, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))


def by_scene(truth: np.ndarray, group: Sequence[str]) -> np.ndarray:
    """Weights that make both classes count the same, and within each class every scene as much as another.

    A video cut into three hundred pictures is one scene that was seen often.
    """
    keys = [f"{bool(real)}:{name}" for real, name in zip(truth, group, strict=True)]
    _, which, size = np.unique(keys, return_inverse=True, return_counts=True)
    weight = 1.0 / size[which]
    for real in (True, False):
        rows = truth.astype(bool) == real
        weight[rows] *= 0.5 * len(truth) / max(weight[rows].sum(), 1e-9)
    return np.asarray(weight)


def auc_by_scene(truth: np.ndarray, score: np.ndarray, group: Sequence[str]) -> float:
    """Area under the ROC curve with the weights of :func:`by_scene`."""
    return float(roc_auc_score(truth, score, sample_weight=by_scene(truth, group)))


@dataclass(frozen=True, slots=True)
class Platt:
    """P(real) = sigmoid(a x log-odds + b)."""

    a: float
    b: float

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """Probabilities of log-odds."""
        return 1 / (1 + np.exp(-np.clip(self.a * log_odds + self.b, -30, 30)))


def fit_platt(truth: np.ndarray, log_odds: np.ndarray, group: Sequence[str]) -> Platt:
    """Platt scaling (Platt, 1999) at equal priors, with his smoothed targets for few samples.

    Scenes weigh the same within their class, and the slope has a normal prior of 1 with deviation 0.5:
    a type with a handful of scenes keeps its head's own scale, one with many is fitted freely.
    """
    positives, negatives = truth.sum(), (~truth.astype(bool)).sum()
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weight = by_scene(truth, group) * len(set(group)) / len(truth)

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] * log_odds + parameters[1]
        return float((weight * (np.logaddexp(0, z) - target * z)).sum() + 2.0 * (parameters[0] - 1) ** 2)

    found = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 10), (-15, 15)])
    return Platt(float(found.x[0]), float(found.x[1]))


def calibration_error(
    truth: np.ndarray, probability: np.ndarray, *, bins: int = 10, group: Sequence[str] | None = None
) -> float:
    """Expected calibration error at equal priors, equal-width bins.

    Args:
        truth: (n,) bool.
        probability: (n,) 0..1, at equal priors.
        bins: How many.
        group: Scene of each: with it, scenes weigh the same within their class.
    """
    weight = balanced(truth) if group is None else by_scene(truth, group)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for index in range(bins):
        rows = which == index
        if rows.any():
            w = weight[rows] / weight.sum()
            gap = np.average(truth[rows], weights=weight[rows]) - np.average(
                probability[rows], weights=weight[rows]
            )
            error += float(w.sum() * abs(gap))
    return error


def error_by_chance(
    truth: np.ndarray, probability: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Calibration error that chance alone would give: median, and what it stays below in 95 of 100.

    Truths are drawn from the probabilities themselves (consistency resampling: Broecker and Smith,
    "Increasing the reliability of reliability diagrams", 2007), at the share of real ones there is. Pictures
    of one scene are drawn as if they were independent, so the true figures are larger.
    """
    share = float(np.clip(truth.mean(), 1e-6, 1 - 1e-6))
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    odds = clipped / (1 - clipped) * share / (1 - share)
    random = np.random.default_rng(seed)
    drawn = random.random((samples, len(probability))) < odds / (1 + odds)
    errors = [calibration_error(one, probability) for one in drawn if 0 < one.sum() < len(one)]
    return float(np.median(errors)), float(np.quantile(errors, 0.95))
