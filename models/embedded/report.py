"""What code says of the facts in English: the line the language tower starts from, summary and action.

The language tower puts the facts into words in English; :mod:`models.embedded.korean` does so in Korean by
grammar. Summary and recommended action are composed by code in both.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.embedded.report_facts import Facts, Reading
from models.embedded.report_measures import measure_english
from pipeline.types import EventType

SEEN_WORDS: Mapping[str, str] = {
    "fire": "flames",
    "smoke": "smoke",
    "fight": "a fight",
    "person_down": "a person on the ground",
    "crash": "a crash",
    "crowd": "a crowd",
    "weapon": "a weapon",
    "person": "people",
    "vehicle": "vehicles",
    "animal": "an animal",
}


def reading_line(facts: Facts) -> str:
    """What the tower is told before it writes: the score's reading, what is seen, what was measured."""
    seen = ", ".join(SEEN_WORDS[name] for name in facts.seen) or "nothing of note"
    line = f"Alarm {facts.reading.value}. Visible: {seen}."
    if facts.people:
        line += f" People: {facts.people}."
    if facts.absent:
        line += f" Not visible: {', '.join(SEEN_WORDS[name] for name in facts.absent)}."
    if facts.measures:
        line += f" Measured: {', '.join(measure_english(measure) for measure in facts.measures)}."
    return line


_NAMES: Mapping[EventType, str] = {
    EventType.FALL: "Fall",
    EventType.FIRE: "Fire",
    EventType.SMOKE: "Smoke",
    EventType.VIOLENCE: "Fight",
    EventType.INTRUSION: "Intrusion",
    EventType.LOITERING: "Loitering",
    EventType.CROWDING: "Crowding",
    EventType.ABANDONED_OBJECT: "Abandoned object",
    EventType.TRAFFIC_ACCIDENT: "Traffic accident",
    EventType.OTHER: "Alarm",
}
_STATES: Mapping[Reading, str] = {
    Reading.REAL: "appears real",
    Reading.LIKELY: "is probably real",
    Reading.UNCLEAR: "is unclear",
    Reading.FALSE: "looks false",
    Reading.EXPECTED: "is expected at this site",
}
_ACTIONS: Mapping[EventType, str] = {
    EventType.FALL: "Send someone to the person now; call medical help if there is no answer.",
    EventType.FIRE: "Call the fire service and clear the area.",
    EventType.SMOKE: "Send someone to find the source; call the fire service if it grows.",
    EventType.VIOLENCE: "Send security now; call the police if it goes on.",
    EventType.INTRUSION: "Send security to the zone and check who is there.",
    EventType.LOITERING: "Keep watching; have a guard speak to the person.",
    EventType.CROWDING: "Watch the density; slow the inflow and open more exits.",
    EventType.ABANDONED_OBJECT: "Look for the owner; keep people away until it is checked.",
    EventType.TRAFFIC_ACCIDENT: "Call emergency services; warn traffic behind the accident.",
    EventType.OTHER: "Have a guard look at it now.",
}


_NAME_ARMED = "Violence"
_ACTION_ARMED = "Call the police; keep people away and send nobody in unprotected."


def summary_english(facts: Facts) -> str:
    """One line: what, where, for how long."""
    where = f' in "{facts.zone}"' if facts.zone else ""
    length = f", {facts.duration} s" if facts.duration else ""
    name = _NAME_ARMED if facts.armed else _NAMES[facts.event_type]
    now = "; look now" if facts.reading is Reading.UNCLEAR and facts.called else ""
    return f"{name} alarm{where}{length}: {_STATES[facts.reading]}{now}."


def action_english(facts: Facts) -> str:
    """What to do, by event type, reading and who is called; composed by code, never generated."""
    if facts.armed:
        return _ACTION_ARMED
    if facts.reading in (Reading.REAL, Reading.LIKELY):
        return _ACTIONS[facts.told_as]
    if facts.reading is Reading.UNCLEAR and facts.called:
        action = _ACTIONS[facts.told_as]
        return f"Look at the live picture now. If it is real: {action[0].lower()}{action[1:]}"
    if facts.reading is Reading.UNCLEAR:
        return "Look at the frames and the live picture before acting."
    if facts.reading is Reading.EXPECTED:
        return "No action while this is expected; keep watching."
    return "No action needed."
