"""Which scenes of the footage show the same place: a split or a fold must not cut through one.

``python -m models.train.places`` compares pictures of the corpus, frames of the training clips and of the
development clips, and writes ``places.tsv``: every scene (``group``) that shares its place with another, and
the name of that place. Footage sets count each clip as a scene, though dozens are cut from one recording;
what is taught at one of them is not new at the next.

Pictures are the same place if enough local features agree on one shift, turn and scale (SIFT: Lowe, 2004,
with the root of Arandjelovic and Zisserman, 2012; RANSAC: Fischler and Bolles, 1981). Only pictures of one
collection that look alike to the encoder as ImageNet left it (``scene_features``) are compared.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.embedded.vision_scene import SceneObjects
from models.train import data, scene_features
from models.train.data import PLACES
from pipeline.types import Image

NEIGHBOURS = 15
"""Pictures of other scenes that each is compared with."""
INLIERS, SPREAD = 20, 0.2
"""Least number of features that agree, and the share of both pictures that they must lie across: a logo or
the clock in a corner is no place. Between 15 and 40 places of the surveillance-fight set stay the same."""
_SIDE_PX, _FEATURES, _RATIO, _OFF_PX = 320, 400, 0.8, 4.0
_CLIP_MOMENTS = (0.1, 0.9)
_BATCH = 1000
Features = tuple[np.ndarray, np.ndarray, float]
"""Points (n, 2), descriptors (n, 128) of unit length, and the area of the picture."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of a scene: ``path`` and, of a clip, where in it, 0..1."""

    group: str
    path: Path
    moment: float | None = None

    def read(self) -> Image:
        """The picture, BGR.

        Raises:
            SystemExit: It cannot be read.
        """
        if self.moment is None:
            picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        else:
            capture = cv2.VideoCapture(str(self.path))
            last = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 1
            capture.set(cv2.CAP_PROP_POS_FRAMES, int(self.moment * max(last, 0)))
            found, picture = capture.read()
            if not found:
                # Not every container can be searched: then its first frame.
                picture = cv2.VideoCapture(str(self.path)).read()[1]
        if picture is None:
            raise SystemExit(f"cannot read {self.path}")
        return np.asarray(picture, np.uint8)


def described(picture: Image) -> Features | None:
    """Local features of a picture, or ``None`` where there are none."""
    scale = _SIDE_PX / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    points, found = cv2.SIFT.create(_FEATURES, contrastThreshold=0.02).detectAndCompute(grey, None)
    if found is None:
        return None
    rooted = np.sqrt(found / (found.sum(axis=1, keepdims=True) + 1e-6)).astype(np.float32)
    return np.array([point.pt for point in points], np.float32), rooted, float(grey.size)


def same_place(one: Features, other: Features) -> bool:
    """Whether two pictures show the same place from about the same side."""
    alike = one[1] @ other[1].T
    row = np.arange(len(alike))
    best = alike.argmax(axis=1)
    nearest = _distance(alike[row, best])
    mutual = alike.argmax(axis=0)[best] == row
    alike[row, best] = -1
    good = mutual & (nearest < _RATIO * _distance(alike.max(axis=1)))
    if good.sum() < INLIERS:
        return False
    a, b = one[0][good], other[0][best[good]]
    _, inside = cv2.estimateAffinePartial2D(a, b, ransacReprojThreshold=_OFF_PX, maxIters=300)
    if inside is None or inside.sum() < INLIERS:
        return False
    kept = inside.ravel().astype(bool)
    return min(_spread(a[kept], one[2]), _spread(b[kept], other[2])) >= SPREAD


def _distance(cosine: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(2 - 2 * cosine, 0)))


def _spread(points: np.ndarray, area: float) -> float:
    return float(cv2.contourArea(cv2.convexHull(points))) / area


def collection(group: str) -> str:
    """Where a scene comes from, the part of its name before the colon: collections share no places."""
    return group.partition(":")[0]


def pairs_to_compare(x: np.ndarray, groups: Sequence[str]) -> list[tuple[int, int]]:
    """Every picture with those of other groups of its collection that look most like it.

    Args:
        x: (n, channels) features.
        groups: Scene of each.
    """
    x = x - x.mean(axis=0)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    group, of, found = np.asarray(groups), np.array([collection(name) for name in groups]), set()
    for index in range(len(x)):
        others = np.flatnonzero((of == of[index]) & (group != group[index]))
        nearest = np.argsort(-(x[others] @ x[index]))[:NEIGHBOURS]
        found |= {(min(index, int(other)), max(index, int(other))) for other in others[nearest]}
    return sorted(found)


def joined(groups: Iterable[str], same: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By group, the name of its place: the first of the groups that hang together, in alphabetical order."""
    place = {group: group for group in groups}

    def of(group: str) -> str:
        while place[group] != group:
            group = place[group]
        return group

    for one, other in same:
        first, second = sorted((of(one), of(other)))
        place[second] = first
    return {group: of(group) for group in place}


_described: dict[int, Features | None] = {}
_shown: list[Shown] = []


def _begin(shown: list[Shown]) -> None:
    cv2.setNumThreads(1)
    _shown[:] = shown


def _compare(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    for pair in pairs:
        for index in pair:
            if index not in _described:
                _described[index] = described(_shown[index].read())
        one, other = (_described[index] for index in pair)
        if one is not None and other is not None and same_place(one, other):
            found.append(pair)
    return found


def clips(folder: Path, listing: str) -> Iterator[Shown]:
    """Two frames of every clip of a list, and every still in it."""
    for line in (folder / listing).read_text().splitlines():
        row = json.loads(line)
        path = (folder / listing).parent / row["clip"]
        still = path.suffix in (".jpg", ".jpeg", ".png")
        for moment in (None,) if still else _CLIP_MOMENTS:
            yield Shown(data.named(row["group"]), path, moment)


def write(place: Mapping[str, str], path: Path = PLACES) -> None:
    """Write those that share their place with another."""
    shared = {name for group, name in place.items() if group != name}
    rows = sorted((name, group) for group, name in place.items() if name in shared)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([("place", "group"), *rows])


def main() -> None:
    """Compare and write."""
    folder, held = data.shared_data(), scene_features.load()
    rows = [row for row in data.read_rows(folder, filed=True) if row.file in held]
    shown = [Shown(row.group, folder / "corpus" / row.file) for row in rows]
    x = [held[row.file][: SceneObjects.channels] for row in rows]
    encoder = SceneObjects(data.WORK / "cache")
    for one in (*clips(folder, "train_clips/train.jsonl"), *clips(folder, "clips/dev.jsonl")):
        shown.append(one)
        x.append(encoder.encode([one.read()])[0])
    groups = [one.group for one in shown]
    pairs = pairs_to_compare(np.stack(x).astype(np.float32), groups)
    same: list[tuple[str, str]] = []
    place = joined(groups, same)
    # Two workers with two threads each take several times as long on two cores.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Forked from a process with an encoder's threads in it, workers would wait for those for ever.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, initializer=_begin, initargs=(shown,)) as workers:
        for first in range(0, len(pairs), _BATCH):
            part = pairs[first : first + _BATCH]
            asked = [(a, b) for a, b in part if place[groups[a]] != place[groups[b]]]
            for found in workers.map(_compare, (asked[::2], asked[1::2])):
                same += [(groups[one], groups[other]) for one, other in found]
            place = joined(groups, same)
            done, count = min(first + _BATCH, len(pairs)), len(set(place.values()))
            print(f"{done}/{len(pairs)} pairs, {count} places", file=sys.stderr, flush=True)
    write(place)
    print(f"{len(place)} scenes at {len(set(place.values()))} places")


if __name__ == "__main__":
    main()
