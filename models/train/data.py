"""The corpus as training data: rows, attribute labels with unknowns, the questions asked of it, view boxes.

``python -m models.train.data`` prints what there is and checks that no place crosses a split.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from models.embedded.vision import ATTRIBUTES
from pipeline.clipview import squared
from pipeline.types import Array, Box, Image

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".train"
"""Caches, checkpoints and logs of training; not part of the repository."""

CONFIGS = Path(__file__).parent / "configs"
PLACES = Path(__file__).parent / "places.tsv"
"""Scenes that show the same place as another, and the name of the place (``models.train.places``)."""
FOLDS, FOLDS_DIR = 3, WORK / "folds"
"""Networks that leave a part of train out (``vision_finetune --folds``), to see that part with."""

LEARNED, HELD = ("train", "val"), "held"
"""Splits that heads and their calibration learn from, and the split of what shows a place that others are
measured at."""

COLLECTIONS = ("shanghaitech:part_B_final",)
"""Scenes of the corpus that are none: hundreds of streets under one name. No split or fold cuts through
them, but each of their pictures weighs as a scene, or a hundred lost crowds would count as a third of one."""

MADE_BY = "made_by.txt"

JPEG_QUALITY = 90


def scene_of(group: str, name: str) -> str:
    """The scene that a picture of a group weighs with: the group, or itself where that is a collection."""
    return f"{group}:{name}" if group in COLLECTIONS else group


def shard(text: str) -> slice:
    """Every Nth of a list from the Ith, of ``I/N``: so that several processes share a long step.

    Raises:
        argparse.ArgumentTypeError: It is not that, or I is not below N.
    """
    try:
        first, count = (int(part) for part in text.split("/"))
    except ValueError:
        first, count = -1, 0
    if not 0 <= first < count:
        raise argparse.ArgumentTypeError(f"wants I/N with I from 0 to N-1, such as 0/2, got '{text}'")
    return slice(first, None, count)


def claim(folder: Path, features_id: str) -> None:
    """Note in a folder of features what they were made with; make it when it is not there.

    Features of other weights, of another pooling or arithmetic have the same shape and fit no head.

    Raises:
        SystemExit: It holds features made otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / MADE_BY
    before = note.read_text().strip() if note.is_file() else "something older"
    if before != features_id and any(path.name != MADE_BY for path in folder.iterdir()):
        raise SystemExit(
            f"{folder} holds features made by {before}, not {features_id}: move it away, then run this again"
        )
    note.write_text(features_id + "\n")


# Which attributes a label settles. Incident attributes that are not named are 0, except those in UNKNOWN.
POSITIVE: Mapping[str, tuple[str, ...]] = {
    "fire": ("fire",),
    "smoke": ("smoke",),
    "fight": ("fight", "person"),
    "fall": ("person_down", "person"),
    "fall_like": ("person",),
    "accident": ("crash", "vehicle"),
    "crowd": ("crowd", "person"),
    "weapon": ("weapon",),
    "normal_person": ("person",),
    "normal_traffic": ("vehicle",),
}
UNKNOWN: Mapping[str, tuple[str, ...]] = {
    "fire": ("smoke", "crash", "crowd"),
    "smoke": ("fire", "crash"),
    "fight": ("person_down", "crowd", "weapon"),
    "fall": ("fight",),
    "accident": ("fire", "smoke", "person_down", "crowd"),
    "crowd": ("fight", "person_down", "smoke"),
    "weapon": ("person_down", "fight"),
    "normal_person": ("crowd",),
    "normal_traffic": ("crowd",),
    "general": ("crowd", "person_down", "fight"),
    "normal_empty": ("person_down",),
}
SEEN_BY_DETECTOR = {
    "person": ("person",),
    "vehicle": ("car", "truck", "bus", "motorcycle", "train"),
    "animal": ("dog", "cat", "horse", "cow", "sheep", "bird", "bear", "elephant", "zebra", "giraffe"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image of the corpus.

    ``group`` is its scene: the place it shows, where that is known. ``boxes`` as (class, normalised x1, y1,
    x2, y2).
    """

    file: str
    label: str
    split: str
    group: str
    source: str
    boxes: tuple[tuple[str, Box], ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Question:
    """What the corpus can be asked: the labels that are real and those that raise the same alarm falsely."""

    name: str
    event_types: tuple[str, ...]
    attributes: tuple[str, ...]
    real: tuple[str, ...]
    false: tuple[str, ...]


QUESTIONS = (
    Question(
        "fire_smoke", ("fire", "smoke"), ("fire", "smoke"), ("fire", "smoke"), ("fire_like", "normal_empty")
    ),
    Question("fall", ("fall",), ("person_down",), ("fall",), ("fall_like", "normal_person")),
    Question("accident", ("traffic_accident",), ("crash",), ("accident",), ("normal_traffic",)),
    Question("violence", ("violence",), ("fight",), ("fight",), ("normal_person",)),
    Question("crowd", ("crowding",), ("crowd",), ("crowd",), ("normal_person", "normal_empty")),
)


def shared_data() -> Path:
    """The footage folder: ``SITREP_SHARED_DATA``, else ``../shared/data`` beside the repository.

    Raises:
        SystemExit: It is not there.
    """
    folder = Path(os.environ.get("SITREP_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "corpus" / "index.tsv").is_file():
        raise SystemExit(f"no corpus in {folder}: set SITREP_SHARED_DATA to the footage folder")
    return folder


def named(group: str) -> str:
    """A scene's name: lists of pictures and lists of clips write it differently."""
    return group.removesuffix(".mp4")


@cache
def places() -> Mapping[str, str]:
    """By scene, the name of its place; only of those that share it with another."""
    with PLACES.open(encoding="utf-8", newline="") as file:
        return {line["group"]: line["place"] for line in csv.DictReader(file, delimiter="\t")}


def place_of(group: str) -> str:
    """The place that a scene shows: what splits and folds must not cut through."""
    return places().get(named(group), named(group))


@cache
def development_places() -> frozenset[str]:
    """Places that development clips show."""
    lines = (shared_data() / "clips" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    return frozenset(place_of(json.loads(line)["group"]) for line in lines)


def taught_places(folder: Path | None = None) -> frozenset[str]:
    """Places that the stills network was taught at: it was trained by the corpus' own splits."""
    return frozenset(place_of(row.group) for row in read_rows(folder, filed=True) if row.split == "train")


def read_rows(folder: Path | None = None, *, filed: bool = False) -> list[Row]:
    """All images of the corpus in the order of its index.

    Scenes that show one place count as one, and images of train or val at a place that a test image or a
    development clip shows are :data:`HELD`: nothing is learned from them.

    Args:
        folder: The footage folder.
        filed: Scenes and splits as the corpus files them instead: what networks were trained by before places
            were known.
    """
    folder = folder or shared_data()
    with (folder / "corpus" / "index.tsv").open(encoding="utf-8", newline="") as file:
        rows = [_row(line) for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    if filed:
        return rows
    placed = [replace(row, group=place_of(row.group)) for row in rows]
    asked = {row.group for row in placed if row.split == "test"} | development_places()
    return [
        replace(row, split=HELD) if row.split in LEARNED and row.group in asked else row for row in placed
    ]


def _row(line: Mapping[str, str]) -> Row:
    boxes = []
    if line["boxes"]:
        for name, cx, cy, w, h in json.loads(line["boxes"].replace('\\"', '"')):
            boxes.append((str(name), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)))
    return Row(
        line["file"],
        line["label"],
        line["split"],
        named(line["group"]),
        line["source"],
        tuple(boxes),
        line["caption"],
    )


def fold_of_groups(rows: Sequence[Row], count: int) -> dict[str, int]:
    """By group of the train split, the fold 0..count-1 it is left out in; labels spread evenly over folds."""
    train = [row for row in rows if row.split == "train"]
    split = StratifiedGroupKFold(count, shuffle=True, random_state=0).split(
        train, [row.label for row in train], [row.group for row in train]
    )
    return {train[index].group: fold for fold, (_, left_out) in enumerate(split) for index in left_out}


def image(row: Row, folder: Path) -> Image:
    """The picture, BGR."""
    picture = cv2.imread(str(folder / "corpus" / row.file), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"cannot read {folder / 'corpus' / row.file}")
    return np.asarray(picture, np.uint8)


def as_stored(picture: Image) -> Image:
    """What is left of a picture in the frame store: what a network is shown at run time."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def targets(row: Row, detected: Mapping[str, float]) -> tuple[Array, Array]:
    """Attribute targets and mask (1 where known), each (A,).

    Args:
        row: The image.
        detected: Best detector score by label; settles person, vehicle and animal where the label does not.
    """
    target = np.zeros(len(ATTRIBUTES), np.float32)
    mask = np.ones(len(ATTRIBUTES), np.float32)
    for index, name in enumerate(ATTRIBUTES):
        if name in POSITIVE.get(row.label, ()):
            target[index] = 1.0
        elif name in SEEN_BY_DETECTOR:
            best = max((detected.get(label, 0.0) for label in SEEN_BY_DETECTOR[name]), default=0.0)
            target[index], mask[index] = float(best >= 0.5), float(best >= 0.5 or best < 0.2)
        elif name in UNKNOWN.get(row.label, ()):
            mask[index] = 0.0
    return target, mask


def expand(box: Box, factor: float, aspect: float) -> Box:
    """A box grown about its centre and made square in pixels, clipped to the picture.

    Args:
        box: Normalised.
        factor: Growth of the longer side.
        aspect: Width over height of the picture.
    """
    return squared(box, factor, aspect, 1.0)


def crop(picture: Image, box: Box) -> Image:
    """The part of a picture inside a normalised box, at least 8 px each way."""
    height, width = picture.shape[:2]
    x1, y1 = int(max(0, min(box[0] * width, width - 8))), int(max(0, min(box[1] * height, height - 8)))
    x2, y2 = max(x1 + 8, round(box[2] * width)), max(y1 + 8, round(box[3] * height))
    return picture[y1:y2, x1:x2]


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around all."""
    array = np.asarray(boxes, np.float64)
    return (
        float(array[:, 0].min()),
        float(array[:, 1].min()),
        float(array[:, 2].max()),
        float(array[:, 3].max()),
    )


def main() -> None:
    """Print counts; fail when a place is learned from and measured at."""
    rows = read_rows()
    table: dict[str, Counter[str]] = {}
    seen: dict[str, set[str]] = {}
    for row in rows:
        table.setdefault(row.label, Counter())[row.split] += 1
        seen.setdefault(row.group, set()).add(row.split)
    print(f"{len(rows)} images, {len(seen)} places")
    for label, counts in sorted(table.items()):
        print(f"{label:15s} " + " ".join(f"{split} {counts[split]:5d}" for split in (*LEARNED, "test", HELD)))
    crossing = [place for place, splits in seen.items() if "test" in splits and splits & set(LEARNED)]
    if crossing:
        raise SystemExit(f"{len(crossing)} places are learned from and measured at: {crossing[:5]}")


__all__ = ["QUESTIONS", "Any", "Question", "Row", "read_rows", "shared_data", "targets"]

if __name__ == "__main__":
    main()
