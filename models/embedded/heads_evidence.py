"""Evidence as numbers for the decision head: what the detectors measured, by name, missing as NaN.

Facts that a trigger gives are taken as they are; a few more are read off the objects. The additive
model over them is a logistic regression on bins (a generalised additive model: Hastie and Tibshirani, 1986),
in which a missing measurement simply contributes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import Array, Evidence

ANIMALS = frozenset(["dog", "cat", "horse", "cow", "sheep", "bird", "bear", "elephant", "zebra", "giraffe"])
FACT_NAMES = ("torso_angle_deg", "box_aspect", "head_below_hip", "pose_score", "person_count")
"""Facts that a single picture can give too, so that the corpus can teach what they mean."""
OBJECT_NAMES = ("pose_seen", "person_score", "animal_score")
NAMES = FACT_NAMES + OBJECT_NAMES


def evidence_numbers(evidence: Evidence) -> dict[str, float]:
    """Every measurement of ``NAMES``, NaN where there is none."""
    numbers = dict.fromkeys(NAMES, math.nan)
    for name in FACT_NAMES:
        value = evidence.facts.get(name)
        if isinstance(value, (bool, int, float)) and math.isfinite(float(value)):
            numbers[name] = float(value)
    if not math.isnan(numbers["person_count"]):
        # Only where people were looked for: another detector's alarm brings no measurements.
        numbers["pose_seen"] = float(not math.isnan(numbers["torso_angle_deg"]))
    for name, labels in (("person_score", frozenset(("person",))), ("animal_score", ANIMALS)):
        numbers[name] = max((one.score for one in evidence.objects if one.label in labels), default=0.0)
    return numbers


@dataclass(frozen=True, slots=True)
class AdditiveModel:
    """Log-odds as a sum over measurements: each falls into a bin, each bin has a weight.

    Attributes:
        edges: By measurement: rising bin edges, one fewer than its weights.
        weights: By measurement: log-odds of each bin.
    """

    edges: Mapping[str, Array]
    weights: Mapping[str, Array]

    def log_odds(self, numbers: Mapping[str, float]) -> float:
        """Sum of the bins hit; missing measurements add nothing."""
        total = 0.0
        for name, edges in self.edges.items():
            value = numbers.get(name, math.nan)
            if not math.isnan(value):
                total += float(self.weights[name][int(np.searchsorted(edges, value, side="right"))])
        return total


def read_additive(stored: Mapping[str, Mapping[str, Sequence[float]]] | None) -> AdditiveModel | None:
    """A model as ``heads.json`` has it; ``None`` where there is none.

    Raises:
        KeyError: Edges or weights are missing.
    """
    if not stored:
        return None
    edges, weights = (
        {name: np.asarray(value, np.float32) for name, value in stored[part].items()}
        for part in ("edges", "weights")
    )
    return AdditiveModel(edges, weights)
