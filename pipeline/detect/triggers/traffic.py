"""Traffic accidents: vehicles that overlap while one stops or turns abruptly.

Overlap of boxes, loss of speed and break of the trajectory are the three signs of Ijjina et al., "Computer
Vision-based Accident Detection in Traffic Surveillance", 2019; thresholds are lower here, because the model
judges later.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from pipeline.detect import facts
from pipeline.detect.boxes import centre, overlap, union
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.tracker import VEHICLES, Track
from pipeline.types import Box, EventType

PEOPLE = frozenset({"person"})
_SAME = 0.9
"""From this overlap on two boxes are one vehicle with two labels, or one vehicle's box on a whole scene."""

_RESIZED = 1.6
"""No vehicle gets so many times as wide or tall within 0.7 s."""


@dataclass(frozen=True, slots=True)
class TrafficParams:
    """Thresholds.

    Attributes:
        overlap: Least common share of two vehicles' boxes (or a vehicle's and a person's).
        stop: Least loss of speed within a second, own lengths per second.
        turn_deg: Least change of direction within a second, degrees.
        hard_stop: Loss of speed that fires without any overlap.
        jolt: Flow peak (frame widths per second) over the running mean that fires near a vehicle, unless
            all vehicles seen roll on: then one of them has come closer.
        min_speed: Slower vehicles have no direction, own lengths per second.
        still_overlap: Least overlap on a single picture.
        attribute: Least ``crash`` probability of an appearance scorer for the look alone to count, unless
            in half of its frames all vehicles seen roll on.
        still_attribute: The same on a single picture, and for a jolt to count.
        attribute_frames: In a video so many frames in a row must look so.
    """

    overlap: float = 0.12
    stop: float = 0.6
    turn_deg: float = 40.0
    hard_stop: float = 1.6
    jolt: float = 3.0
    min_speed: float = 0.35
    still_overlap: float = 0.05
    attribute: float = 0.6
    still_attribute: float = 0.05
    attribute_frames: int = 8


class TrafficTrigger:
    """Suspects a crash.

    Args:
        params: Thresholds.
    """

    name = "traffic-overlap-stop"
    event_type = EventType.TRAFFIC_ACCIDENT

    def __init__(self, params: TrafficParams | None = None) -> None:
        self.params = params or TrafficParams()
        self._peaks: deque[float] = deque(maxlen=25)
        self._crashed = 0
        self._flows: deque[bool] = deque(maxlen=self.params.attribute_frames)

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if scene.is_still:
            return self._still(scene)
        params = self.params
        vehicles = [track for track in scene.seen if track.group == "vehicle" and track.hits >= 2]
        others = [track for track in scene.seen if track.group in ("vehicle", "person")]
        usual = sum(self._peaks) / len(self._peaks) if self._peaks else 0.0
        self._peaks.append(scene.motion.flow_peak)
        firings: list[Firing] = []
        for vehicle in vehicles:
            stop, turn = abruptness(vehicle, scene.t_s, params.min_speed)
            hits = [
                (common, other)
                for other in others
                if other is not vehicle
                and ((common := overlap(vehicle.box, other.box)) < _SAME or other.group == "person")
            ]
            common, partner = max(hits, key=lambda pair: pair[0], default=(0.0, None))
            abrupt = stop >= params.stop or turn >= params.turn_deg
            if not (abrupt and common >= params.overlap) and stop < params.hard_stop:
                continue
            box = scene.norm(union((vehicle.box, partner.box)) if partner and common else vehicle.box)
            score = (
                0.25 + 0.3 * min(1.0, stop / 2) + 0.2 * min(1.0, turn / 90) + 0.25 * min(1.0, common / 0.5)
            )
            measured = {
                facts.VEHICLE_COUNT: len(vehicles),
                facts.PERSON_COUNT: len(scene.boxes(PEOPLE, 0.3)),
                facts.VEHICLE_OVERLAP: round(common, 2),
                facts.VEHICLE_STOP: round(stop, 2),
                facts.TRAJECTORY_BREAK: round(turn),
                facts.FLOW_PEAK: round(scene.motion.flow_peak, 3),
            }
            note = (
                f"A {vehicle.label} lost {stop:.1f} lengths per second or turned by {turn:.0f} degrees "
                f"within a second, overlapping another by {common:.0%}."
            )
            firings.append(Firing(score, note, measured, box, scene.t_s - 1.0))
        looks = scene.attributes.get("crash", 1.0) >= params.still_attribute
        rolling = flows(vehicles, scene.t_s, params.min_speed)
        if (
            vehicles
            and looks
            and not rolling
            and usual > 0.02
            and scene.motion.flow_peak > params.jolt * usual
        ):
            firings.append(self._jolt(scene, vehicles, usual))
        crash = scene.attributes.get("crash", 0.0)
        self._crashed = self._crashed + 1 if crash >= params.attribute else 0
        self._flows.append(rolling)
        crashed = self._crashed >= params.attribute_frames and 2 * sum(self._flows) < len(self._flows)
        if not firings and crashed:
            note = "The picture as a whole looks like a crash."
            firings.append(Firing(0.2 + 0.5 * crash, note, {facts.VEHICLE_COUNT: len(vehicles)}))
        return max(firings, key=lambda firing: firing.score, default=None)

    def _jolt(self, scene: Scene, vehicles: list[Track], usual: float) -> Firing:
        ratio = scene.motion.flow_peak / usual
        measured = {
            facts.VEHICLE_COUNT: len(vehicles),
            facts.FLOW_PEAK: round(scene.motion.flow_peak, 3),
            facts.GLOBAL_CHANGE: round(scene.motion.global_change, 3),
        }
        note = f"Something moved {ratio:.1f} times faster than the scene usually does, near a vehicle."
        box = max((scene.norm(track.box) for track in vehicles), key=scene.motion.share_in)
        return Firing(0.2 + 0.2 * min(1.0, ratio / 10), note, measured, box)

    def _still(self, scene: Scene) -> Firing | None:
        vehicles = scene.boxes(VEHICLES, 0.2)
        common, pair = touching(vehicles)
        seen = scene.attributes.get("crash", 0.0)
        if (not vehicles or common < self.params.still_overlap) and seen < self.params.still_attribute:
            return None
        measured = {
            facts.VEHICLE_COUNT: len(vehicles),
            facts.PERSON_COUNT: len(scene.boxes(PEOPLE, 0.3)),
            facts.VEHICLE_OVERLAP: round(common, 2),
            facts.STILL_IMAGE: True,
        }
        box = scene.norm(pair or union(vehicles)) if vehicles else None
        note = f"{len(vehicles)} vehicles, the closest two overlapping by {common:.0%}."
        return Firing(max(0.2 + 0.4 * common, 0.2 + 0.7 * seen), note, measured, box)


def flows(vehicles: list[Track], t_s: float, min_speed: float) -> bool:
    """Whether all vehicles whose speed is known move: after a crash something stands.

    Args:
        vehicles: Those seen now.
        t_s: The time now; speeds are of the last second.
        min_speed: Slower ones stand, own lengths per second.
    """
    speeds = [math.hypot(*speed) for one in vehicles if (speed := velocity(one, t_s - 1.0, t_s)) is not None]
    return bool(speeds) and min(speeds) >= min_speed


def abruptness(track: Track, t_s: float, min_speed: float) -> tuple[float, float]:
    """Loss of speed and change of direction between the last 0.6 s and the 0.6 s before.

    Returns:
        Own lengths per second (0 when it sped up), and degrees (0 when too slow to have a direction).
    """
    late, early = velocity(track, t_s - 0.6, t_s), velocity(track, t_s - 1.3, t_s - 0.6)
    if late is None or early is None or not _one_thing(track, t_s - 1.3, t_s - 0.6):
        return 0.0, 0.0
    speeds = math.hypot(*early), math.hypot(*late)
    turn = 0.0
    if min(speeds) >= min_speed:
        cosine = (early[0] * late[0] + early[1] * late[1]) / (speeds[0] * speeds[1])
        turn = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    return max(0.0, speeds[0] - speeds[1]), turn


def _one_thing(track: Track, from_s: float, to_s: float) -> bool:
    """Whether a vehicle kept its size before it stopped; a box that jumped to something else has no speed."""
    boxes = [sight.box for sight in track.history if from_s - 1e-6 <= sight.t_s <= to_s + 1e-6]
    for low, high in ((0, 2), (1, 3)):
        sides = [max(box[high] - box[low], 1.0) for box in boxes]
        if max(sides) > _RESIZED * min(sides):
            return False
    return True


def velocity(track: Track, from_s: float, to_s: float) -> tuple[float, float] | None:
    """Mean velocity between two times, own lengths per second; ``None`` without two sightings."""
    sights = [sight for sight in track.history if from_s - 1e-6 <= sight.t_s <= to_s + 1e-6]
    if len(sights) < 2 or sights[-1].t_s - sights[0].t_s < 0.15:
        return None
    first, last = sights[0], sights[-1]
    length = max(last.box[2] - last.box[0], last.box[3] - last.box[1], 1.0)
    (x1, y1), (x2, y2) = centre(first.box), centre(last.box)
    dt = last.t_s - first.t_s
    return (x2 - x1) / length / dt, (y2 - y1) / length / dt


def touching(boxes: list[Box]) -> tuple[float, Box | None]:
    """Largest overlap of any two boxes, and the box around those two."""
    best, pair = 0.0, None
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            common = overlap(one, other)
            if best < common < _SAME:
                best, pair = common, union((one, other))
    return best, pair
