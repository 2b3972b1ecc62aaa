"""Scenes made by hand for the geometry of triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.detect.company import Company
from pipeline.detect.motion import Motion
from pipeline.detect.scene import Scene
from pipeline.detect.tracker import Tracker
from pipeline.types import Box, Detections, Frame, Poses

WIDTH, HEIGHT = 320, 240
Seen = tuple[str, float, Box]


def detections(seen: Sequence[Seen]) -> Detections:
    if not seen:
        return Detections.empty()
    return Detections(
        np.array([box for _, _, box in seen], np.float32),
        np.array([score for _, score, _ in seen], np.float32),
        tuple(label for label, _, _ in seen),
    )


class Stream:
    """Feeds what is seen, frame after frame, through a real tracker into scenes."""

    def __init__(self, step_s: float = 0.2) -> None:
        self.step_s = step_s
        self.tracker, self.company = Tracker(), Company()
        self.index = 0

    def scene(
        self,
        seen: Sequence[Seen] = (),
        *,
        image: np.ndarray | None = None,
        poses: Poses | None = None,
        attributes: dict[str, float] | None = None,
        is_still: bool = False,
        flow_peak: float = 0.0,
    ) -> Scene:
        t_s = self.index * self.step_s
        small = np.full((HEIGHT, WIDTH, 3), (90, 120, 110), np.uint8) if image is None else image
        blank = np.zeros(small.shape[:2], np.uint8)
        found = detections(seen)
        tracks = self.tracker.update(found, t_s)
        scene = Scene(
            Frame(small, t_s, self.index),
            self.step_s if self.index else 0.0,
            small,
            Motion(True, 0.0, 0.0, blank, flow_peak=flow_peak),
            True,
            found,
            poses or Poses.empty(),
            tuple(tracks),
            tuple(self.tracker.tracks),
            tuple(self.tracker.ended),
            is_still,
            attributes or {},
        )
        self.index += 1
        return scene if is_still else replace(scene, only_animals=self.company.only_animals(scene))


Spot = tuple[float, float]


def pose(shoulder: Spot, hip: Spot, head: Spot, box: Box) -> Poses:
    points = np.zeros((1, 17, 3), np.float32)
    points[0, 0] = (*head, 0.9)
    points[0, 5] = points[0, 6] = (*shoulder, 0.9)
    points[0, 11] = points[0, 12] = (*hip, 0.9)
    return Poses(points, np.array([box], np.float32), np.array([0.8], np.float32))
