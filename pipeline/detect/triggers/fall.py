"""Falls: a person's box and pose over time.

The box of a falling person gets lower and wider and its top edge sinks fast; the torso tilts (the classic
cues of e.g. Rougier et al., "Robust Video Surveillance for Fall Detection Based on Human Shape
Deformation", 2011, with pose in place of silhouettes). Detectors trained on upright people lose a lying
one, or call them an animal: right after a descent both count as signs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.detect import facts
from pipeline.detect.boxes import centre
from pipeline.detect.posture import Posture, pose_of, posture
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.tracker import ANIMALS, Track
from pipeline.types import Box, EventType, JsonScalar

PEOPLE = frozenset({"person"})
_LOOKS_DOWN = "The picture as a whole looks like a person on the ground."


@dataclass(frozen=True, slots=True)
class FallParams:
    """Thresholds.

    Attributes:
        descent: Least sinking speed of the top edge, standing heights per second. Sitting down gives
            about 0.3, falling 0.6 and more.
        lying: Least lying evidence (0..1) right after a descent.
        lying_alone: Least lying evidence when no descent was seen.
        lying_alone_s: For how long.
        memory_s: A descent counts for this long.
        vanish_s: A person not seen for this long after a descent has vanished.
        min_height: Smallest standing height looked at, share of the frame's height.
        still_lying: Least lying evidence on a single picture.
        attribute: Least ``person_down`` probability of an appearance scorer for the look alone to count.
        still_attribute: The same on a single picture.
        attribute_frames: In a video so many frames in a row must look so.
    """

    descent: float = 0.35
    lying: float = 0.3
    lying_alone: float = 0.55
    lying_alone_s: float = 0.8
    memory_s: float = 3.0
    vanish_s: float = 0.5
    min_height: float = 0.05
    still_lying: float = 0.3
    attribute: float = 0.5
    still_attribute: float = 0.15
    attribute_frames: int = 8


@dataclass(slots=True)
class _Person:
    lying_since_s: float | None = None
    descent: float = 0.0
    descent_s: float = -1e9
    still_since_s: float | None = None
    told_vanished: bool = False


class FallTrigger:
    """Suspects that a person fell or lies where people do not lie.

    Args:
        params: Thresholds.
    """

    name = "fall-pose-box"
    event_type = EventType.FALL

    def __init__(self, params: FallParams | None = None) -> None:
        self.params = params or FallParams()
        self._people: dict[int, _Person] = {}
        self._down: deque[_Lowest] = deque(maxlen=self.params.attribute_frames)

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if scene.is_still:
            return self._still(scene)
        seen = {track.track_id for track in scene.seen}
        firings: list[Firing] = []
        for track in scene.tracks:
            if track.group != "person" or track.hits < 2:
                continue
            person = self._people.setdefault(track.track_id, _Person())
            if track.track_id in seen:
                firings += self._seen(scene, track, person)
            elif scene.looked:
                firings += self._unseen(scene, track, person)
        alive = {track.track_id for track in scene.tracks}
        self._people = {key: person for key, person in self._people.items() if key in alive}
        looks = self._looks_down(scene)
        if not firings and not scene.only_animals:
            firings += looks
        return max(firings, key=lambda firing: firing.score, default=None)

    def _looks_down(self, scene: Scene) -> list[Firing]:
        down = scene.attributes.get("person_down", 0.0)
        if down < self.params.attribute:
            self._down.clear()
            return []
        self._down.append(_lowest(scene))
        if len(self._down) < self.params.attribute_frames:
            return []
        # A pose read wrongly once in a few seconds must not stand for all of them.
        usual = sorted(self._down, key=lambda one: one.lying)[len(self._down) // 2]
        return [Firing(0.2 + 0.5 * down, _LOOKS_DOWN, usual.facts)]

    def _seen(self, scene: Scene, track: Track, person: _Person) -> list[Firing]:
        standing = standing_height(track)
        if standing < self.params.min_height * scene.height:
            return []
        box, t_s = track.box, scene.t_s
        speed = sinking(track, standing, t_s)
        if speed >= self.params.descent and speed >= person.descent * (t_s - person.descent_s < 1.0):
            person.descent, person.descent_s = speed, t_s
        index = pose_of(box, scene.poses)
        stance = None if index is None else posture(scene.poses.keypoints[index])
        lying = lying_evidence(box, standing, stance)
        if lying < self.params.lying:
            person.lying_since_s = None
            return []
        person.lying_since_s = t_s if person.lying_since_s is None else person.lying_since_s
        moves = scene.motion.share_in(scene.norm(box)) > 0.05
        person.still_since_s = None if moves else person.still_since_s or t_s
        fell = t_s - person.descent_s <= self.params.memory_s
        lay_s = t_s - person.lying_since_s
        if not fell and not (lying >= self.params.lying_alone and lay_s >= self.params.lying_alone_s):
            return []
        descent = person.descent if fell else 0.0
        measured = _measured(scene, box, stance)
        measured |= {
            facts.DESCENT: round(descent, 2),
            facts.STILL_S: round(t_s - person.still_since_s, 1) if person.still_since_s else 0.0,
        }
        note = (
            f"A person sank at {descent:.1f} heights per second and is now low or level."
            if fell
            else f"A person has been lying or very low for {lay_s:.1f} s."
        )
        score = 0.25 + 0.4 * lying + 0.35 * min(1.0, descent)
        onset = person.descent_s - 0.6 if fell else person.lying_since_s
        return [Firing(min(1.0, score), note, measured, scene.norm(box), onset)]

    def _unseen(self, scene: Scene, track: Track, person: _Person) -> list[Firing]:
        missing = scene.t_s - track.last_s
        recent = scene.t_s - person.descent_s <= self.params.memory_s
        # The tracker has moved the box on since it was last seen: who walks is outside by now.
        gone = any(_at_edge(scene.norm(box)) for box in (track.box, track.predicted))
        if missing < self.params.vanish_s or not recent or gone:
            return []
        animal = any(_inside(box, track.box) for box in scene.boxes(ANIMALS, 0.2))
        measured = _measured(scene, track.box, None)
        measured |= {
            facts.DESCENT: round(person.descent, 2),
            facts.PERSON_VANISHED: True,
            facts.ANIMAL_LABEL_NEAR: animal,
        }
        score = 0.35 + 0.3 * min(1.0, person.descent) + 0.2 * animal
        note = f"A person sank at {person.descent:.1f} heights per second and was then lost from view."
        return [Firing(min(1.0, score), note, measured, _lower(scene, track), person.descent_s - 0.6)]

    def _still(self, scene: Scene) -> Firing | None:
        firings: list[Firing] = []
        found = _lowest(scene)
        measured = found.facts | {facts.STILL_IMAGE: True}
        if found.box is not None and found.lying >= self.params.still_lying:
            note = f"Person {found.row + 1} lies or is bent low."
            firings.append(Firing(0.3 + 0.6 * found.lying, note, measured, scene.norm(found.box)))
        down = scene.attributes.get("person_down", 0.0)
        if down >= self.params.still_attribute:
            firings.append(Firing(0.2 + 0.7 * down, _LOOKS_DOWN, measured, None))
        return max(firings, key=lambda firing: firing.score, default=None)


@dataclass(frozen=True, slots=True)
class _Lowest:
    """Who lies most: how much speaks for it, 0..1, their row and box in pixels, and what was measured."""

    lying: float
    row: int
    box: Box | None
    facts: dict[str, JsonScalar]


def _lowest(scene: Scene) -> _Lowest:
    """Who lies most by this frame alone; without a box when nobody is seen.

    Measured for a look that fires by itself too: people who all stand speak against it.
    """
    found = _Lowest(0.0, 0, None, {facts.PERSON_COUNT: 0})
    for row, box in enumerate(scene.boxes(PEOPLE, 0.2)):
        index = pose_of(box, scene.poses)
        stance = None if index is None else posture(scene.poses.keypoints[index])
        lying = lying_evidence(box, max(box[2] - box[0], box[3] - box[1]), stance)
        if found.box is None or lying > found.lying:
            found = _Lowest(lying, row, box, _measured(scene, box, stance))
    return found


def _measured(scene: Scene, box: Box, stance: Posture | None) -> dict[str, JsonScalar]:
    result: dict[str, JsonScalar] = {
        facts.BOX_ASPECT: round((box[2] - box[0]) / max(box[3] - box[1], 1.0), 2),
        facts.LOW_IN_FRAME: round(box[3] / scene.height, 2),
        facts.PERSON_COUNT: max(1, scene.count_apart(PEOPLE, 0.3)),
    }
    if stance is not None:
        result |= {
            facts.TORSO_ANGLE_DEG: round(stance.torso_angle_deg),
            facts.HEAD_BELOW_HIP: stance.head_below_hip,
            facts.POSE_SCORE: round(stance.score, 2),
        }
    return result


def standing_height(track: Track) -> float:
    """Height of the person when upright, px: the largest of the track's memory, or the longer side."""
    upright = [sight.box[3] - sight.box[1] for sight in track.history]
    wide = track.box[2] - track.box[0]
    # The second largest where there is one: a single box is often too tall.
    return max(sorted(upright)[-2:][0], min(wide, max(upright) * 1.5))


def sinking(track: Track, standing: float, t_s: float) -> float:
    """Fastest sinking of the box's top edge within the last 1.2 s, over 0.35 s or more, heights/s.

    Sinking without getting smaller counts half: so sinks one who walks towards a high camera.
    """
    sights = track.since(t_s - 1.2)
    best = 0.0
    for i, early in enumerate(sights):
        for late in sights[i + 1 :]:
            dt = late.t_s - early.t_s
            if dt >= 0.35:
                smaller = late.box[3] - late.box[1] < 0.92 * (early.box[3] - early.box[1])
                speed = (late.box[1] - early.box[1]) / standing / dt
                best = max(best, speed if smaller else 0.5 * speed)
    return best


def lying_evidence(box: Box, standing: float, stance: Posture | None) -> float:
    """How much speaks for lying, 0..1: tilt of the torso, shape of the box, height lost.

    Args:
        box: The person now, px.
        standing: Height when upright, px.
        stance: From the pose, if there is one.
    """
    wide, tall = box[2] - box[0], max(box[3] - box[1], 1.0)
    doubts = [
        1 - 0.7 * _ramp(wide / tall, 0.75, 1.5),
        1 - 0.6 * _ramp(1 - tall / max(standing, 1.0), 0.25, 0.6),
    ]
    if stance is not None:
        trust = min(1.0, 0.4 + stance.score)
        doubts.append(1 - 0.8 * trust * _ramp(stance.torso_angle_deg, 40, 80))
        doubts.append(1 - 0.4 * trust * stance.head_below_hip)
    return float(1 - np.prod(doubts))


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _at_edge(box: Box) -> bool:
    """Whether somebody there may simply have left the picture sideways."""
    return box[0] < 0.02 or box[2] > 0.98


def _inside(box: Box, around: Box) -> bool:
    x, y = centre(box)
    dx, dy = 0.5 * (around[2] - around[0]), 0.5 * (around[3] - around[1])
    return around[0] - dx <= x <= around[2] + dx and around[1] - dy <= y <= around[3] + dy


def _lower(scene: Scene, track: Track) -> Box:
    """Where somebody lost after a descent should be: below and around the last box."""
    x1, y1, x2, y2 = scene.norm(track.box)
    wide, tall = x2 - x1, y2 - y1
    return (max(0.0, x1 - 0.5 * tall), y1, min(1.0, x2 + 0.5 * tall), min(1.0, y2 + 0.3 * wide))
