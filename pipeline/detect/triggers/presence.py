"""Intrusion and loitering: somebody is where, or stays longer than, they should."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.detect import facts
from pipeline.detect.boxes import centre
from pipeline.detect.light import COLOURLESS, brightness_and_colour
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.tracker import Track
from pipeline.detect.zones import WHOLE_FRAME, Line, Zone, foot
from pipeline.types import EventType, Image, JsonScalar


@dataclass(frozen=True, slots=True)
class IntrusionParams:
    """Thresholds.

    Attributes:
        zones: Where nobody may be. Without zones and lines a person in the dark counts: at night or under
            infrared light few places expect people.
        lines: What nobody may cross.
        direction: Crossing that counts: 1 left to right, -1 right to left, 0 both.
        min_score: Least mean detection score of the person.
        dark_motion: Without a detection, movement of this share of a dark frame counts ...
        dark_blob: ... when its largest blob is at least this high, share of the frame ...
        dark_s: ... for this long, with pauses: detectors are blind in the dark.
        dark: Mean grey level (0..255) below which a picture is dark.
        colourless: Mean colour saturation (0..255) below which it may be infrared ...
        infrared: ... if its mean grey level is below this: lamps leave the surroundings dark, while a black
            and white camera by day exposes for the middle of its range.
    """

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    direction: int = 0
    min_score: float = 0.35
    dark_motion: float = 0.003
    dark_blob: float = 0.08
    dark_s: float = 2.0
    dark: float = 55.0
    colourless: float = COLOURLESS
    infrared: float = 100.0


class IntrusionTrigger:
    """Suspects that somebody is where nobody may be.

    Args:
        params: Zones and thresholds.
    """

    name = "intrusion-zone"
    event_type = EventType.INTRUSION

    def __init__(self, params: IntrusionParams | None = None) -> None:
        self.params = params or IntrusionParams()
        self._moved_s = 0.0

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        firings = [
            firing
            for track in scene.seen
            if track.group == "person" and (track.hits >= 3 or scene.is_still)
            for firing in self._person(scene, track)
        ]
        if not firings and not self.params.zones and not self.params.lines:
            firings += self._dark_motion(scene)
        return max(firings, key=lambda firing: firing.score, default=None)

    def _dark_motion(self, scene: Scene) -> list[Firing]:
        params, motion = self.params, scene.motion
        box = motion.blobs[0] if motion.blobs else None
        moves = (
            box is not None
            and motion.area >= params.dark_motion
            and motion.global_change == 0
            and box[3] - box[1] >= params.dark_blob
            and is_night(scene.small, params)
        )
        self._moved_s = max(0.0, self._moved_s + (scene.dt_s if moves else -0.25 * scene.dt_s))
        if not moves or self._moved_s < params.dark_s:
            return []
        measured: dict[str, JsonScalar] = {
            facts.PERSON_COUNT: 0,
            facts.MOTION_AREA: round(motion.area, 4),
            facts.DWELL_S: round(self._moved_s, 1),
        }
        note = "Something moves in the dark; no person could be made out."
        return [Firing(0.3, note, measured, box)]

    def _person(self, scene: Scene, track: Track) -> list[Firing]:
        params = self.params
        trust = float(np.mean([sight.score for sight in track.history]))
        if trust < params.min_score:
            return []
        where = foot(scene.norm(track.box))
        place = next((zone.name for zone in params.zones if zone.contains(where)), None)
        why = f"A person is inside zone {place}."
        for line in params.lines if place is None else ():
            steps = [foot(scene.norm(sight.box)) for sight in track.since(scene.t_s - 1.0)]
            crossings = [line.crossed(a, b) for a, b in pairwise(steps)]
            if any(step and params.direction in (0, step) for step in crossings):
                place, why = line.name, f"A person crossed line {line.name}."
        if place is None and not params.zones and not params.lines and is_night(scene.small, params):
            place, why = "", "A person is in view while it is dark or the camera sees infrared."
        if place is None:
            return []
        measured: dict[str, JsonScalar] = {
            facts.PERSON_COUNT: sum(other.group == "person" for other in scene.seen),
            facts.DWELL_S: round(scene.t_s - track.first_s, 1),
            facts.LOW_IN_FRAME: round(where[1], 2),
        }
        if scene.is_still:
            measured[facts.STILL_IMAGE] = True
        return [
            Firing(min(1.0, 0.2 + trust), why, measured, scene.norm(track.box), track.first_s, place or None)
        ]


@dataclass(frozen=True, slots=True)
class LoiteringParams:
    """Thresholds.

    Attributes:
        zones: Where staying matters; the whole frame when empty.
        dwell_s: Somebody must stay this long in a zone or, without zones, at night.
        anytime_s: So long by day without zones: nobody has said that staying matters here.
        max_step: They may move this share of the frame's width around in that time.
        gap_s: A person lost and found again within this time and near the same place is the same.
    """

    zones: tuple[Zone, ...] = ()
    dwell_s: float = 12.0
    anytime_s: float = 300.0
    max_step: float = 0.35
    gap_s: float = 3.0


@dataclass(slots=True)
class _Stay:
    start_s: float
    last_s: float
    anchor: tuple[float, float]
    zone: str


class LoiteringTrigger:
    """Suspects that somebody stays without a purpose.

    Args:
        params: Zones and thresholds.
    """

    name = "loitering-dwell"
    event_type = EventType.LOITERING

    def __init__(self, params: LoiteringParams | None = None) -> None:
        self.params = params or LoiteringParams()
        self._stays: list[_Stay] = []

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if scene.is_still or not scene.looked:
            return None
        params = self.params
        self._stays = [stay for stay in self._stays if scene.t_s - stay.last_s <= params.gap_s]
        expected = not params.zones and not is_night(scene.small, IntrusionParams())
        least_s = max(params.dwell_s, params.anytime_s) if expected else params.dwell_s
        firings: list[Firing] = []
        for track in scene.seen:
            if track.group != "person" or track.hits < 2:
                continue
            box = scene.norm(track.box)
            zone = next((z for z in params.zones or (WHOLE_FRAME,) if z.contains(foot(_within(box)))), None)
            if zone is None:
                continue
            stay = self._stay(centre(box), zone.name, scene.t_s)
            dwell = scene.t_s - stay.start_s
            if dwell >= least_s:
                measured: dict[str, JsonScalar] = {
                    facts.DWELL_S: round(dwell, 1),
                    facts.PERSON_COUNT: sum(other.group == "person" for other in scene.seen),
                }
                score = 0.3 + 0.5 * min(1.0, dwell / (4 * params.dwell_s))
                note = f"A person has stayed about the same place for {dwell:.0f} s."
                firings.append(Firing(score, note, measured, box, stay.start_s, zone.name or None))
        return max(firings, key=lambda firing: firing.score, default=None)

    def _stay(self, where: tuple[float, float], zone: str, t_s: float) -> _Stay:
        for stay in self._stays:
            step = np.hypot(stay.anchor[0] - where[0], stay.anchor[1] - where[1])
            if stay.zone == zone and step <= self.params.max_step:
                stay.last_s = t_s
                return stay
        self._stays.append(_Stay(t_s, t_s, where, zone))
        return self._stays[-1]


def is_night(small: Image, params: IntrusionParams) -> bool:
    """Whether a picture is dark, or dim and colourless as under infrared light."""
    brightness, colour = brightness_and_colour(small)
    return brightness < params.dark or (colour < params.colourless and brightness < params.infrared)


def _within(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Feet on the lower edge of the frame are still inside it."""
    return (box[0], box[1], box[2], min(box[3], 0.999))
