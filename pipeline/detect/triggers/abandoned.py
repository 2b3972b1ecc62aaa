"""Abandoned objects: something new that stays while nobody is near.

Two backgrounds, a quick and a slow one (Porikli et al., "Robust Abandoned Object Detection Using Dual
Foregrounds", 2008): what differs between them and stands still has been put down, or taken away. Which of
the two, the outline tells: something put down has an edge where the background had none (the idea of Tian et
al., "Robust Detection of Abandoned and Removed Objects in Complex Surveillance Videos", 2011). What only got
brighter or darker is light. Bags that the detector sees standing alone count too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect import facts
from pipeline.detect.boxes import gap, overlap
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.tracker import BAGS
from pipeline.types import Array, Box, EventType, JsonScalar

_LIGHT = 2.0
"""By how much light changes contrast at most, either way."""
_ALIVE = frozenset({"person", "dog", "cat", "car", "truck", "bus", "motorcycle", "bicycle"})


@dataclass(frozen=True, slots=True)
class AbandonedParams:
    """Thresholds.

    Attributes:
        quick_s: Time constant of the quick background.
        slow_s: Time constant of the slow one.
        change: Grey levels by which they must differ.
        min_area: Least share of the frame.
        max_area: Largest share of the frame.
        dwell_s: The thing must stand this long.
        bag_dwell_s: So long, when the detector calls it a bag.
        owner_gap: Nobody within this many heights of the nearest person.
        max_new: With more static change than this share of the frame, the light or the camera changed.
        warm_s: So long the slow background is a plain mean: who walks in the first frame leaves no ghost.
        outline: The outline must be this many times as strong now as it was in the background.
        same_texture: With more correlation than this between now and the background only the light changed.
    """

    quick_s: float = 2.0
    slow_s: float = 60.0
    change: float = 22.0
    min_area: float = 0.0004
    max_area: float = 0.05
    dwell_s: float = 8.0
    bag_dwell_s: float = 3.0
    owner_gap: float = 0.6
    max_new: float = 0.12
    warm_s: float = 4.0
    outline: float = 1.3
    same_texture: float = 0.8


class AbandonedTrigger:
    """Suspects that something was left behind.

    Args:
        params: Thresholds.
    """

    name = "abandoned-dual-background"
    event_type = EventType.ABANDONED_OBJECT

    def __init__(self, params: AbandonedParams | None = None) -> None:
        self.params = params or AbandonedParams()
        self._quick: Array | None = None
        self._slow: Array | None = None
        self._age: Array | None = None
        self._watched_s = 0.0

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        people = scene.boxes(frozenset({"person"}), 0.3)
        if scene.is_still:
            return self._bag(scene, people, scene.boxes(BAGS, 0.2), 0.0)
        lone = [
            (track.box, scene.t_s - track.first_s)
            for track in scene.seen
            if track.group == "bag" and track.hits >= 3 and _stands(track.history[0].box, track.box)
        ]
        firings = [
            self._bag(scene, people, [box], dwell) for box, dwell in lone if dwell >= self.params.bag_dwell_s
        ]
        firings.append(self._standing(scene, people))
        found = [firing for firing in firings if firing is not None]
        return max(found, key=lambda firing: firing.score, default=None)

    def _standing(self, scene: Scene, people: list[Box]) -> Firing | None:
        params = self.params
        half = (max(2, scene.small.shape[1] // 2), max(2, scene.small.shape[0] // 2))
        reduced = cv2.resize(scene.small, half, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(reduced, cv2.COLOR_BGR2GRAY).astype(np.float32)
        if self._quick is None or self._slow is None or self._age is None or self._quick.shape != grey.shape:
            self._quick, self._slow, self._age = grey.copy(), grey.copy(), np.zeros_like(grey)
            self._watched_s = 0.0
            return None
        self._watched_s += scene.dt_s
        if self._watched_s <= params.warm_s:
            share = min(1.0, scene.dt_s / self._watched_s) if self._watched_s else 1.0
            self._slow += share * (grey - self._slow)
            self._quick += share * (grey - self._quick)
            return None
        self._quick += min(1.0, scene.dt_s / params.quick_s) * (grey - self._quick)
        static = (np.abs(self._quick - self._slow) >= params.change) & (np.abs(grey - self._quick) < 10)
        # The slow background takes in what is not new, so that an object does not melt into it at once.
        rate = min(1.0, scene.dt_s / params.slow_s) * np.where(static, 0.2, 1.0)
        self._slow += (rate * (grey - self._slow)).astype(np.float32)
        self._age = np.where(
            static, self._age + scene.dt_s, np.maximum(self._age - 3 * scene.dt_s, 0)
        ).astype(np.float32)
        old = (self._age >= params.dwell_s).astype(np.uint8)
        if float(static.mean()) > params.max_new or not old.any():
            return None
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            cv2.morphologyEx(old, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        )
        height, width = old.shape
        alive = [scene.norm(box) for box in scene.boxes(_ALIVE, 0.25)]
        alive += [
            scene.norm(track.box) for track in scene.tracks if track.group in ("person", "vehicle", "animal")
        ]
        best: Firing | None = None
        for label in range(1, count):
            x, y, w, h, pixels = (int(value) for value in stats[label])
            share = pixels / old.size
            box = (x / width, y / height, (x + w) / width, (y + h) / height)
            if not params.min_area <= share <= params.max_area or any(overlap(box, a) > 0.3 for a in alive):
                continue
            if not self._unattended(scene, box, people):
                continue
            region = labels == label
            if outline_gain(region, self._quick, self._slow) < params.outline:
                continue
            if texture_kept(region, self._quick, self._slow) > params.same_texture:
                continue
            dwell = float(self._age[region].max())
            score = 0.3 + 0.4 * min(1.0, dwell / (4 * params.dwell_s))
            measured = _measured(scene, dwell, people)
            note = f"Something new has stood still for {dwell:.0f} s with nobody beside it."
            if best is None or score > best.score:
                best = Firing(score, note, measured, box, scene.t_s - dwell)
        return best

    def _bag(self, scene: Scene, people: list[Box], bags: list[Box], dwell: float) -> Firing | None:
        for bag in bags:
            box = scene.norm(bag)
            if self._unattended(scene, box, people):
                note = "A bag stands with nobody beside it."
                measured = _measured(scene, dwell, people)
                return Firing(0.45 + 0.3 * min(1.0, dwell / 20), note, measured, box, scene.t_s - dwell)
        return None

    def _unattended(self, scene: Scene, box: Box, people: list[Box]) -> bool:
        return all(
            gap(_pixels(scene, box), person) > self.params.owner_gap * (person[3] - person[1])
            for person in people
        )


def outline_gain(mask: NDArray[np.bool_], now: Array, before: Array) -> float:
    """How much stronger the picture's edges are along a region's outline than they were.

    Args:
        mask: (h, w), the region.
        now: (h, w) float32 grey levels with the region as it is.
        before: (h, w) float32 grey levels of the background.

    Returns:
        Ratio of mean gradient lengths; above 1 something was put down, below 1 it was taken away.
    """
    ring = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    strength = []
    for grey in (now, before):
        length = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        strength.append(float(np.asarray(length)[ring].mean()))
    return strength[0] / max(strength[1], 1.0)


def texture_kept(mask: NDArray[np.bool_], now: Array, before: Array) -> float:
    """How alike a region and its surroundings look to what was there, whatever the light.

    Shadows, headlights and a camera that exposes anew keep the texture of what they fall on (Jacques et al.,
    "Background Subtraction and Shadow Detection in Grayscale Video Sequences", 2005).

    Args:
        mask: (h, w), the region.
        now: (h, w) float32 grey levels with the region as it is.
        before: (h, w) float32 grey levels of the background.

    Returns:
        Normalised cross-correlation, -1..1; 0 where contrast changed by more than light does: something on
        a flat floor has contrast of its own, and the background takes on a trace of it.
    """
    around = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    one, other = (grey[around] - grey[around].mean() for grey in (now, before))
    contrast, contrast_before = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not contrast_before / _LIGHT < contrast < contrast_before * _LIGHT:
        return 0.0
    return float(one @ other) / (contrast * contrast_before)


def _measured(scene: Scene, dwell: float, people: list[Box]) -> dict[str, JsonScalar]:
    measured: dict[str, JsonScalar] = {facts.DWELL_S: round(dwell, 1), facts.PERSON_COUNT: len(people)}
    if scene.is_still:
        measured[facts.STILL_IMAGE] = True
    return measured


def _pixels(scene: Scene, box: Box) -> Box:
    return (box[0] * scene.width, box[1] * scene.height, box[2] * scene.width, box[3] * scene.height)


def _stands(first: Box, last: Box) -> bool:
    return overlap(first, last) > 0.6
