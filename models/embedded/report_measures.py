"""Measurements worth saying in a report, and how they are said in English."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.types import EventType, Evidence
from pipeline.wording import FAST_DROP, FAST_LIMBS, HARD_STOP


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement worth saying: ``value`` as shown, without unit."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class _Phrase:
    english: str
    percent: bool = False
    least: float = 0.0


# Speeds are told in words: nobody has a feeling for body heights or picture widths a second.
MEASURES: Mapping[str, _Phrase] = {
    "still_s": _Phrase("no movement for {} s", least=1.0),
    "torso_angle_deg": _Phrase("the torso tilted {} degrees", least=45.0),
    "descent": _Phrase("a fast drop", least=FAST_DROP),
    "fire_pixels": _Phrase("flame colours on {} % of the picture", percent=True, least=0.002),
    "fire_flicker": _Phrase("flicker on {} % of the bright area", percent=True, least=0.05),
    "smoke_area": _Phrase("haze on {} % of the picture", percent=True, least=0.01),
    "texture_loss": _Phrase("{} % of the background detail hidden", percent=True, least=0.05),
    "motion_area": _Phrase("motion on {} % of the picture", percent=True, least=0.005),
    "flow_peak": _Phrase("fast movement", least=0.3),
    "limb_speed": _Phrase("fast movement of arms or legs", least=FAST_LIMBS),
    "dwell_s": _Phrase("a stay of {} s", least=1.0),
    "crowd_density": _Phrase("people on {} % of the picture", percent=True, least=0.03),
    "vehicle_overlap": _Phrase("vehicles overlapping by {} %", percent=True, least=0.05),
    "vehicle_stop": _Phrase("a vehicle slowing down suddenly", least=HARD_STOP),
}
_TOLD: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: ("still_s", "torso_angle_deg", "descent"),
    EventType.FIRE: ("fire_pixels", "fire_flicker", "smoke_area"),
    EventType.SMOKE: ("smoke_area", "texture_loss", "motion_area"),
    EventType.VIOLENCE: ("limb_speed", "motion_area", "flow_peak"),
    EventType.INTRUSION: ("dwell_s", "motion_area"),
    EventType.LOITERING: ("dwell_s", "motion_area"),
    EventType.CROWDING: ("crowd_density", "motion_area"),
    EventType.ABANDONED_OBJECT: ("dwell_s", "still_s"),
    EventType.TRAFFIC_ACCIDENT: ("vehicle_stop", "vehicle_overlap", "motion_area"),
    EventType.OTHER: ("motion_area", "flow_peak"),
}


def shown(value: float) -> str:
    """Two digits below ten, whole numbers above: 0.4137 -> ``0.41``, 6.24 -> ``6.2``, 78.3 -> ``78``."""
    if value >= 10:
        return f"{value:.0f}"
    text = f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") or "0"


def measures_of(event_type: EventType, evidence: Evidence, limit: int = 2) -> tuple[Measure, ...]:
    """The measurements worth saying for an event type."""
    told = []
    for name in _TOLD[event_type]:
        value = evidence.facts.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            continue
        phrase = MEASURES[name]
        if value >= phrase.least:
            told.append(Measure(name, shown(100 * value if phrase.percent else value)))
    return tuple(told[:limit])


def measure_english(measure: Measure) -> str:
    """A measurement as a noun phrase."""
    return MEASURES[measure.name].english.format(measure.value)
