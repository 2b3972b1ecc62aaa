"""Corpus images and training clips as candidates: the terms a decision head sees, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.embedded.heads_terms import LIMIT, attribute_logits
from models.train import data, evidence_features
from models.train.data import Row
from models.train.vision_evidence_model import numbers_of


@dataclass(frozen=True, slots=True)
class Task:
    """How the head of one event type is taught.

    Attributes:
        name: Event type.
        real: Corpus labels that are real under this alarm.
        false: Corpus labels that raise it falsely.
        attributes: Visual terms.
        evidence: Measurements of the evidence term.
        objects: Objects inside the region view (0: the trigger of this type gives no object boxes).
        bound: Largest log-odds.
    """

    name: str
    real: tuple[str, ...]
    false: tuple[str, ...]
    attributes: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    objects: int = 1
    bound: float = LIMIT


TASKS = (
    Task("fire", ("fire",), ("fire_like", "normal_empty", "normal_traffic"), ("fire", "smoke"), objects=0),
    Task("smoke", ("smoke",), ("fire_like", "normal_empty", "normal_traffic"), ("smoke|fire",), objects=0),
    Task(
        "fall",
        ("fall",),
        ("fall_like", "normal_person"),
        ("person_down",),
        # Of the one who lies most. Beds, chairs and where in the frame told nothing between scenes.
        (
            "torso_angle_deg",
            "box_aspect",
            "head_below_hip",
            "pose_score",
            "pose_seen",
            "person_count",
            "person_score",
            "animal_score",
        ),
    ),
    Task(
        "violence",
        ("fight",),
        ("normal_person", "crowd"),
        ("fight",),
        objects=2,
    ),
    # Five scenes of accidents in val: nothing can be weighed on them. ``vision_scene`` puts its head in place
    # of this one.
    Task("traffic_accident", ("accident",), ("normal_traffic",), ("crash",), objects=2, bound=2.0),
    Task(
        "crowding",
        ("crowd",),
        ("normal_person", "normal_empty"),
        ("crowd",),
        objects=2,
    ),
    Task(
        "intrusion",
        ("normal_person", "fall_like"),
        ("normal_empty", "normal_traffic", "fire_like"),
        ("person",),
        bound=2.5,
    ),
)
"""Intrusion has no images: it is taught only that a person must be there."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All corpus rows with clean features of full view, one-object and two-object regions."""

    rows: list[Row]
    split: np.ndarray
    label: np.ndarray
    group: np.ndarray
    source: np.ndarray
    logits: np.ndarray
    pooled: np.ndarray
    numbers: list[dict[str, float]]

    def pick(self, labels: Sequence[str]) -> np.ndarray:
        """Whether each row has one of the labels."""
        return np.isin(self.label, labels)

    def visual(self, attribute: str, objects: int, region: float) -> np.ndarray:
        """The pooled logit of one attribute as ``heads.pool_stills`` gives it for one moment."""
        full, part = (attribute_logits(self.logits[:, view], attribute) for view in (0, objects))
        return (1 - region) * full + region * part


def load_corpus(name: str = "corpus.npz") -> Corpus:
    """Rows, stored features and evidence numbers.

    Raises:
        SystemExit: The features have not been computed.
    """
    file = data.WORK / name
    if not file.is_file():
        raise SystemExit(f"{file} is not there: run python -m models.train.vision_features first")
    stored, rows, seen = np.load(file), data.read_rows(), evidence_features.load()
    if [row.file for row in rows] != list(stored["name"]):
        raise SystemExit(f"{file} was made from another corpus: run python -m models.train.vision_features")
    return Corpus(
        rows,
        np.array([row.split for row in rows]),
        np.array([row.label for row in rows]),
        np.array([row.group for row in rows]),
        np.array([row.source for row in rows]),
        stored["logits"],
        stored["pooled"],
        [numbers_of(seen[row.file]) for row in rows],
    )
