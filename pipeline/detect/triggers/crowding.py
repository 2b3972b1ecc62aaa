"""Crowding: too many people, or too dense, in a zone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.detect import facts
from pipeline.detect.boxes import union
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.zones import WHOLE_FRAME, Zone, foot
from pipeline.types import Box, EventType, JsonScalar

_GRID = 64


@dataclass(frozen=True, slots=True)
class CrowdingParams:
    """Thresholds.

    Attributes:
        zones: Where it matters; the whole frame when empty.
        people: Least number of people. Low, because the detector sees a part of a crowd only.
        density: Least share of the frame their boxes cover, with at least half as many people.
        min_score: Least detection score of a person.
        frames: How many of the last five looks must agree.
        attribute: Least ``crowd`` probability of an appearance scorer for the look alone to count.
        look_frames: In a video so many of the last ten looks must then agree.
    """

    zones: tuple[Zone, ...] = ()
    people: int = 8
    density: float = 0.45
    min_score: float = 0.25
    frames: int = 3
    attribute: float = 0.6
    look_frames: int = 7


class CrowdingTrigger:
    """Suspects a crowd.

    Args:
        params: Zones and thresholds.
    """

    name = "crowding-count-density"
    event_type = EventType.CROWDING

    def __init__(self, params: CrowdingParams | None = None) -> None:
        self.params = params or CrowdingParams()
        self._votes: deque[bool] = deque(maxlen=5)
        self._looks: deque[bool] = deque(maxlen=10)

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if not scene.looked:
            return None
        params = self.params
        seen = scene.attributes.get("crowd", 0.0)
        best: tuple[float, Zone, list[Box], float] | None = None
        for zone in params.zones or (WHOLE_FRAME,):
            boxes = [scene.norm(box) for box in scene.boxes(frozenset({"person"}), params.min_score)]
            inside = [box for box in boxes if zone.contains((foot(box)[0], min(foot(box)[1], 0.999)))]
            density = covered(inside)
            fullness = max(
                len(inside) / params.people, density / params.density * (len(inside) * 2 >= params.people)
            )
            if best is None or fullness > best[0]:
                best = (fullness, zone, inside, density)
        assert best is not None
        fullness, zone, inside, density = best
        self._votes.append(fullness >= 1.0)
        self._looks.append(seen >= params.attribute)
        counted = self._votes[-1] and (scene.is_still or sum(self._votes) >= params.frames)
        looks = self._looks[-1] and (scene.is_still or sum(self._looks) >= params.look_frames)
        if not counted and not looks:
            return None
        measured: dict[str, JsonScalar] = {
            facts.PERSON_COUNT: len(inside),
            facts.CROWD_DENSITY: round(density, 3),
        }
        if scene.is_still:
            measured[facts.STILL_IMAGE] = True
        note = f"{len(inside)} people are seen at once; their boxes cover {density:.0%} of the frame."
        by_look = 0.2 + 0.7 * seen if seen >= params.attribute else 0.0
        score = max(0.3 + 0.3 * min(1.0, max(0.0, fullness - 1.0)), by_look)
        return Firing(score, note, measured, union(inside) if inside else None, zone=zone.name or None)


def covered(boxes: list[Box]) -> float:
    """Share of the frame that normalised boxes cover together, 0..1."""
    grid = np.zeros((_GRID, _GRID), bool)
    for x1, y1, x2, y2 in boxes:
        grid[int(y1 * _GRID) : int(np.ceil(y2 * _GRID)), int(x1 * _GRID) : int(np.ceil(x2 * _GRID))] = True
    return float(grid.mean())
