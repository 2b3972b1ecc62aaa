"""Named checks of a verdict, made by code from measurements and the model's readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.types import Candidate, Criterion, EventType, Moment, View
from pipeline.wording import FAST_DROP, FAST_LIMBS, HARD_STOP
from prompts.facts import fact_phrase

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Check:
    """``fact`` passes when ``holds`` says so; checks whose fact was not measured are left out."""

    name: str
    fact: str
    holds: Callable[[float], bool]


# Limits for the wording of a check only: neither score nor decision reads them.
_MEASURED = {
    EventType.FALL: (
        _Check("torso lies flat", "torso_angle_deg", lambda value: value >= 55),
        _Check("drops fast", "descent", lambda value: value >= FAST_DROP),
        _Check("stays still", "still_s", lambda value: value >= 2),
    ),
    EventType.FIRE: (
        _Check("flame colours", "fire_pixels", lambda value: value >= 0.002),
        _Check("flickers", "fire_flicker", lambda value: value >= 0.1),
        _Check("grows", "fire_growth", lambda value: value >= 1.2),
    ),
    EventType.SMOKE: (
        _Check("haze spreads", "smoke_spread", lambda value: value >= 0.005),
        _Check("hides the background", "texture_loss", lambda value: value >= 0.2),
    ),
    EventType.VIOLENCE: (
        _Check("people touch", "people_distance", lambda value: value <= 0.05),
        _Check("limbs move fast", "limb_speed", lambda value: value >= FAST_LIMBS),
    ),
    EventType.TRAFFIC_ACCIDENT: (
        _Check("a vehicle stops hard", "vehicle_stop", lambda value: value >= HARD_STOP),
        _Check("vehicles overlap", "vehicle_overlap", lambda value: value >= 0.2),
    ),
    EventType.CROWDING: (_Check("densely covered", "crowd_density", lambda value: value >= 0.3),),
    EventType.LOITERING: (_Check("stays long", "dwell_s", lambda value: value >= 30),),
    EventType.INTRUSION: (_Check("stays in the zone", "dwell_s", lambda value: value >= 1),),
    EventType.ABANDONED_OBJECT: (_Check("lies still", "still_s", lambda value: value >= 10),),
}
_READINGS = {
    EventType.FALL: ("person_down",),
    EventType.FIRE: ("fire", "smoke"),
    EventType.SMOKE: ("smoke", "fire"),
    EventType.VIOLENCE: ("fight",),
    EventType.TRAFFIC_ACCIDENT: ("crash",),
    EventType.CROWDING: ("crowd",),
}
_READING_NAMES = {
    "person_down": "a person is down",
    "fire": "fire is visible",
    "smoke": "smoke is visible",
    "fight": "people fight",
    "crash": "a vehicle has crashed",
    "crowd": "a crowd is visible",
}
_PEOPLE = frozenset({EventType.FALL, EventType.VIOLENCE, EventType.INTRUSION, EventType.LOITERING})


def criteria(
    candidate: Candidate, attributes: Mapping[str, float], probability: float | None
) -> tuple[Criterion, ...]:
    """Every check that something was measured for, detector first, the model's overall view last."""
    frame = peak_frame(candidate)
    evidence = candidate.evidence
    checks = []
    if candidate.event_type in _PEOPLE:
        people = evidence.counts.get("person", 0)
        checks.append(Criterion("person detected", people > 0, f"detector: {people} at most", frame))
    for check in _MEASURED.get(candidate.event_type, ()):
        value = evidence.facts.get(check.fact)
        if isinstance(value, (int, float)):
            grounds = f"detector: {fact_phrase(check.fact, value)}"
            checks.append(Criterion(check.name, check.holds(float(value)), grounds, frame))
    for name in _READINGS.get(candidate.event_type, ()):
        if name in attributes:
            grounds = f"model: {attributes[name]:.0%}"
            checks.append(Criterion(_READING_NAMES[name], attributes[name] >= _HALF, grounds, frame))
    if probability is not None:
        grounds = f"model: {probability:.0%} that the {candidate.event_type.value.replace('_', ' ')} is real"
        checks.append(Criterion("real incident", probability >= _HALF, grounds, frame))
    return tuple(checks)


def peak_frame(candidate: Candidate) -> str | None:
    """Hash of the full view at the height of the event, or of the first frame."""
    frames = candidate.key_frames
    for frame in frames:
        if frame.moment is Moment.PEAK and frame.view is View.FULL:
            return frame.sha256
    return frames[0].sha256 if frames else None
