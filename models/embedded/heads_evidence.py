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

from pipeline.types import Array, Evidence, SeenObject

ANIMALS = frozenset(["dog", "cat", "horse", "cow", "sheep", "bird", "bear", "elephant", "zebra", "giraffe"])
VEHICLES = frozenset(["car", "truck", "bus", "motorcycle", "bicycle", "train"])
BAGS = frozenset(("suitcase", "backpack", "handbag"))
FACT_NAMES = (
    "torso_angle_deg",
    "box_aspect",
    "head_below_hip",
    "pose_score",
    "low_in_frame",
    "person_count",
    "vehicle_count",
    "vehicle_overlap",
    "people_overlap",
    "people_distance",
    "crowd_density",
    "animal_label_near",
)
"""Facts that a single picture can give too, so that the corpus can teach what they mean."""
OBJECT_NAMES = (
    "pose_seen",
    "person_score",
    "person_height",
    "person_aspect",
    "animal_score",
    "bed_score",
    "seat_score",
    "bed_under_person",
    "vehicle_score",
    "vehicle_size",
    "bag_score",
)
NAMES = FACT_NAMES + OBJECT_NAMES


def _best(objects: Sequence[SeenObject], labels: frozenset[str]) -> SeenObject | None:
    return max((o for o in objects if o.label in labels), key=lambda o: o.score, default=None)


def _covered(inner: SeenObject, outer: SeenObject) -> float:
    width = min(inner.box[2], outer.box[2]) - max(inner.box[0], outer.box[0])
    height = min(inner.box[3], outer.box[3]) - max(inner.box[1], outer.box[1])
    area = (inner.box[2] - inner.box[0]) * (inner.box[3] - inner.box[1])
    return max(0.0, width) * max(0.0, height) / max(area, 1e-6)


def evidence_numbers(evidence: Evidence, aspect: float) -> dict[str, float]:
    """Every measurement of ``NAMES``, NaN where there is none.

    Args:
        evidence: What the detectors measured.
        aspect: Width over height of the full frame in pixels, to give box shapes their true form.
    """
    numbers = dict.fromkeys(NAMES, math.nan)
    for name in FACT_NAMES:
        value = evidence.facts.get(name)
        if isinstance(value, (bool, int, float)) and math.isfinite(float(value)):
            numbers[name] = float(value)
    if not math.isnan(numbers["person_count"]):
        # Only where people were looked for: another detector's alarm brings no measurements.
        numbers["pose_seen"] = float(not math.isnan(numbers["torso_angle_deg"]))
    objects = evidence.objects
    person = _best(objects, frozenset(("person",)))
    bed = _best(objects, frozenset(("bed", "couch")))
    seat = _best(objects, frozenset(("chair", "bench")))
    vehicle, animal, bag = _best(objects, VEHICLES), _best(objects, ANIMALS), _best(objects, BAGS)
    for name, found in (
        ("person_score", person),
        ("animal_score", animal),
        ("bed_score", bed),
        ("seat_score", seat),
        ("vehicle_score", vehicle),
        ("bag_score", bag),
    ):
        numbers[name] = found.score if found is not None else 0.0
    if person is not None:
        width, height = person.box[2] - person.box[0], person.box[3] - person.box[1]
        numbers["person_height"] = height
        numbers["person_aspect"] = width * aspect / max(height, 1e-6)
        numbers["bed_under_person"] = _covered(person, bed) if bed is not None else 0.0
    if vehicle is not None:
        numbers["vehicle_size"] = math.sqrt(
            max(0.0, (vehicle.box[2] - vehicle.box[0]) * (vehicle.box[3] - vehicle.box[1]))
        )
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
