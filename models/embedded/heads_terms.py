"""What decision heads are made of: lines over features, the terms of a type, pooling of views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.embedded.heads_evidence import AdditiveModel, read_additive
from models.embedded.vision import ATTRIBUTES
from models.embedded.vision_clip import CLIP_CHANNELS
from models.embedded.vision_scene import SCENE_CHANNELS
from pipeline.types import Array, KeyFrame, View

LIMIT = 8.0
"""Largest log-odds a head says, either way."""
_TOP_MOMENTS = 2


@dataclass(frozen=True, slots=True)
class FlowModel:
    """Logistic regression on mean and maximum over moments of the logarithm of the flow statistics."""

    mean: Array
    scale: Array
    coefficients: Array
    bias: float

    def log_odds(self, statistics: Array) -> float:
        """Log-odds of a fight from (moments, M) statistics of motion views."""
        logs = np.log1p(np.maximum(statistics, 0.0))
        x = (np.concatenate([logs.mean(0), logs.max(0)]) - self.mean) / self.scale
        return float(np.clip(x, -4, 4) @ self.coefficients + self.bias)


@dataclass(frozen=True, slots=True)
class Line:
    """Log-odds over features: ``weights`` (k,) of those in ``columns`` (k,), which are all that is read."""

    weights: Array
    columns: NDArray[np.int64]
    bias: float

    def log_odds(self, features: Array | None) -> float | None:
        """Of views that have such features, (n, m) with NaN elsewhere: mean of the two best, as of stills."""
        if features is None:
            return None
        read = features[:, self.columns]
        best = np.sort(read[np.isfinite(read).all(axis=1)] @ self.weights + self.bias)[-_TOP_MOMENTS:]
        return float(best.mean()) if len(best) else None


@dataclass(frozen=True, slots=True)
class TypeHead:
    """The head of one event type: log-odds = bias + sum of coefficient x (term - centre).

    Attributes:
        bias: Log-odds when every term is missing or average.
        terms: ``attribute:NAME`` (pooled logit; of ``NAME|OTHER``, that either is there), ``motion``,
            ``flow``, ``evidence``, ``scene`` or ``clip``, each with coefficient, centre and, for attributes,
            how regions mix in; with ``still_only`` a term counts only where there is neither motion nor clip
            view, with ``clipless_only`` only where there is no clip view.
        evidence: Model behind the ``evidence`` term, if any.
        bound: Largest log-odds of this type; small where no images could teach it.
        scene: The ``scene`` term over features of ``vision_scene`` (3328), if any.
        clip: The ``clip`` term over features of ``vision_clip`` (3328), if any.
        also: Another way for the alarm to be real (a weapon, beside a fight); either is enough.
        needs: What must be so as well (a road, for an accident); both are needed.
    """

    bias: float
    terms: Mapping[str, Mapping[str, float]]
    evidence: AdditiveModel | None
    bound: float
    scene: Line | None = None
    clip: Line | None = None
    also: TypeHead | None = None
    needs: TypeHead | None = None


def either(one: float, other: float) -> float:
    """Log-odds that at least one of two independent things is so (noisy or: Pearl, 1988)."""
    # log((1 - (1-p)(1-q)) / ((1-p)(1-q))) with 1 - p = 1 / (1 + exp(one)).
    return float(np.log(np.expm1(np.logaddexp(0.0, one) + np.logaddexp(0.0, other))))


def attribute_logits(logits: Array, name: str) -> Array:
    """The column of an attribute; of ``NAME|OTHER``, one that is high where either is.

    Smoke alarms are real by smoke or by fire: as terms that are added up, no flames would speak against a
    distant plume. The logarithm of the summed odds is above both by little (0.7 at most).

    Args:
        logits: (n, A).
        name: One of ``ATTRIBUTES``, or several with ``|`` between them.

    Returns:
        (n,).
    """
    columns = [logits[:, ATTRIBUTES.index(one)] for one in name.split("|")]
    found: Array = np.logaddexp.reduce(columns, axis=0)
    return found


def pool_stills(
    logits: Array, key_frames: Sequence[KeyFrame], region: float, *, told: bool = False
) -> float | None:
    """One logit for a candidate: full and region view mixed in each moment, then what two moments agree on.

    That is their mean where there are two, the second best where there are more. A mean over all moments
    drowns a short event, the best alone trusts one lucky frame, and the mean of the two best of four lies
    above what heads were calibrated on: one moment (the second best of four normal draws is expected 0.3
    deviations above their mean, that of the two best 0.66). Of what another detector told, it is always the
    mean of the two best: its moment may lie before anything is to be seen.

    Args:
        logits: (n,) of one attribute.
        key_frames: What each of the n views shows.
        region: Weight of the region view in a moment that has one, 0..1.
        told: Whether another detector raised the alarm.
    """
    moments: dict[float, dict[View, float]] = {}
    for logit, frame in zip(logits, key_frames, strict=True):
        if frame.view in (View.FULL, View.REGION):
            moments.setdefault(frame.t_s, {})[frame.view] = float(logit)
    mixed = []
    for views in moments.values():
        full, part = views.get(View.FULL), views.get(View.REGION)
        if full is not None and part is not None:
            mixed.append((1 - region) * full + region * part)
        else:
            mixed.append(full if full is not None else views[View.REGION])
    best = sorted(mixed, reverse=True)[:_TOP_MOMENTS]
    if len(mixed) > _TOP_MOMENTS and not told:
        return best[-1]
    return sum(best) / len(best) if best else None


def read_type(entry: Mapping[str, Any]) -> TypeHead:
    """A head as ``heads.json`` holds it.

    Raises:
        KeyError: It lacks a part.
        ValueError: A line is over another number of features.
    """
    scene = read_line(entry.get("scene"), SCENE_CHANNELS)
    clip = read_line(entry.get("clip"), CLIP_CHANNELS)
    needs = read_type(entry["needs"]) if entry.get("needs") else None
    also = read_type(entry["also"]) if entry.get("also") else None
    bound = float(entry.get("bound", LIMIT))
    evidence = read_additive(entry.get("evidence"))
    return TypeHead(float(entry["bias"]), entry["terms"], evidence, bound, scene, clip, also, needs)


def read_line(stored: Mapping[str, Any] | None, channels: int, first: int = 0) -> Line | None:
    """A line as ``heads.json`` holds it; columns of no weight are not read.

    Args:
        stored: Its weights and bias.
        channels: How many weights it must have.
        first: Where among the features it will be shown those begin.

    Raises:
        ValueError: It is over another number of features.
    """
    if not stored:
        return None
    weights = np.asarray(stored["weights"], np.float32)
    if weights.shape != (channels,):
        raise ValueError(f"{weights.shape} weights for {channels} features")
    columns = np.flatnonzero(weights)
    return Line(weights[columns], columns + first, float(stored["bias"]))


def read_flow(stored: Mapping[str, Any] | None) -> FlowModel | None:
    """The flow model as ``heads.json`` holds it."""
    if not stored:
        return None
    mean, scale, coefficients = (
        np.asarray(stored[key], np.float32) for key in ("mean", "scale", "coefficients")
    )
    return FlowModel(mean, scale, coefficients, float(stored["bias"]))
