"""The facts a report may state, gathered once, so that every language says the same.

Facts come from the detectors' evidence, from the attributes the vision heads see, and from the score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from models.base import Inquiry, Score
from models.embedded.heads_evidence import ANIMALS
from models.embedded.report_measures import Measure, measures_of, shown
from models.embedded.views import is_reported
from pipeline.types import Action, EventType, Evidence, VerdictState

SEEN_AT = 0.5
"""An attribute from this probability on is stated as seen."""
OTHERS_SEEN_AT = 0.8
"""An attribute that the alarm is not about is stated from here on: nobody asked for it."""
SCENERY_ALONE_AT = 0.95
"""People, vehicles or an animal that no detector found are stated from here on."""
PERSON_AGREES_AT, VEHICLE_AGREES_AT = 0.3, 0.5
"""What a detector found is stated if the eyes see at least this much of it: either alone is often wrong."""
SEVERAL = 5
"""From here on people are told as "several"."""
_KIN: Mapping[str, tuple[str, float]] = {"fire": ("smoke", SEEN_AT), "smoke": ("fire", 0.7)}
"""What is looked for beside an alarm, and from where on it is stated: fires smoke, but not all haze burns."""
ABSENT_AT = 0.35
"""An attribute below this probability may be stated as not seen."""
LIKELY_PROBABILITY, SURE_PROBABILITY = 0.55, 0.8
"""Between these what the alarm says is called probable, as intelligence analysts use the word (ICD 203,
Analytic Standards, 2015); above it is stated plainly. Below, an even chance is no news: it is unclear."""
REAL_LOG_ODDS = 0.5
FALSE_LOG_ODDS = -1.0
"""Without a calibrated score: real from here on, false up to there."""
EXPECTED = "expected_by_site"
"""Name, among a score's attributes, of the share of the site context in a "no"."""

MAIN_ATTRIBUTE: Mapping[EventType, str] = {
    EventType.FALL: "person_down",
    EventType.FIRE: "fire",
    EventType.SMOKE: "smoke",
    EventType.VIOLENCE: "fight",
    EventType.CROWDING: "crowd",
    EventType.TRAFFIC_ACCIDENT: "crash",
    EventType.INTRUSION: "person",
    EventType.LOITERING: "person",
}
_ALSO_REAL: Mapping[EventType, tuple[str, float]] = {
    EventType.SMOKE: ("fire", SURE_PROBABILITY),
    EventType.VIOLENCE: ("weapon", OTHERS_SEEN_AT),
}
"""What else makes an alarm real, and from which probability on."""
_OF_A_CRASH = ("vehicle_stop", "trajectory_break", "vehicle_overlap")
_INCIDENTS = ("fire", "smoke", "fight", "person_down", "crash", "weapon", "crowd")
_SCENERY = ("person", "vehicle", "animal")
_VEHICLES = ("car", "truck", "bus", "motorcycle", "bicycle")
ANIMAL_AGREES_AT = 0.3
_OF_A_BODY = frozenset({EventType.FALL, EventType.VIOLENCE})
"""Alarms that an animal may raise in place of a person."""
_OF_PRESENCE = frozenset({EventType.INTRUSION, EventType.LOITERING, EventType.CROWDING})
"""Alarms that say nothing but that somebody, or a crowd, is there."""


class Reading(StrEnum):
    """What the score amounts to, for the wording only; the decision is taken elsewhere, by code."""

    REAL = "real"
    LIKELY = "likely"
    UNCLEAR = "unclear"
    FALSE = "false"
    EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report may state.

    Attributes:
        event_type: What the alarm says.
        reading: What the score says.
        seen: Attributes the model sees, those of incidents first.
        perhaps: Those of ``seen`` that the model is not sure of and the alarm is not about: told as such.
        absent: Incident attributes it does not see that the alarm is about.
        people: 0 when nobody or an unknown number is there, 2 for people, from ``SEVERAL`` on several.
            No number is told: detectors count one person twice, and overlook as many.
        vehicles: The same for vehicles.
        measures: At most two measurements.
        duration: Length of the event in seconds as shown, "" for a single image.
        zone: Name of the zone or "".
        site_context: What the site says about itself.
        called: Whether a person is called at once.
    """

    event_type: EventType
    reading: Reading
    seen: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    people: int = 0
    vehicles: int = 0
    measures: tuple[Measure, ...] = ()
    duration: str = ""
    zone: str = ""
    site_context: str = ""
    called: bool = False

    @property
    def told_as(self) -> EventType:
        """What the report tells of: a fire, where flames make a smoke alarm probable and no smoke is seen.

        Where it is surer, there is smoke beside the flames as a rule: then it "looks like smoke".
        """
        burns = "fire" in self.seen and "smoke" not in self.seen
        probable = self.reading is Reading.LIKELY and self.event_type is EventType.SMOKE
        return EventType.FIRE if probable and burns else self.event_type

    @property
    def main_seen(self) -> bool:
        """Whether what the report tells of is itself seen."""
        return MAIN_ATTRIBUTE.get(self.told_as, "") in self.seen

    @property
    def armed(self) -> bool:
        """Whether an alarm of violence is borne out by a weapon and not by a fight."""
        borne_out = self.reading in (Reading.REAL, Reading.LIKELY)
        weapon = "weapon" in self.seen and not self.main_seen
        return borne_out and weapon and self.event_type is EventType.VIOLENCE

    @property
    def others_seen(self) -> tuple[str, ...]:
        """Incident attributes seen beside the one the report is about."""
        main = "weapon" if self.armed else MAIN_ATTRIBUTE.get(self.told_as, "")
        return tuple(name for name in self.seen if name in _INCIDENTS and name != main)


def reading_of(score: Score) -> Reading:
    """The wording a score calls for: that of the decision, where one was taken.

    A policy may escalate what is more likely false than real; that is no reason to call it real.
    """
    if score.attributes.get(EXPECTED, 0.0) >= 0.5:
        return Reading.EXPECTED
    if score.state is VerdictState.REJECTED:
        return Reading.FALSE
    if score.state is not None and score.probability is not None:
        if score.state is not VerdictState.CONFIRMED or score.probability < LIKELY_PROBABILITY:
            return Reading.UNCLEAR
        return Reading.REAL if score.probability >= SURE_PROBABILITY else Reading.LIKELY
    if score.log_odds >= REAL_LOG_ODDS:
        return Reading.REAL
    return Reading.UNCLEAR if score.log_odds > FALSE_LOG_ODDS else Reading.FALSE


def _count(evidence: Evidence, labels: Iterable[str], fact: str) -> tuple[int, int]:
    """Most seen at once: by the detections and by the trigger, which has its own detector for people."""
    counted = sum(int(evidence.counts.get(label, 0)) for label in labels)
    measured = evidence.facts.get(fact)
    return counted, int(measured) if isinstance(measured, (int, float)) and math.isfinite(measured) else 0


def contradicted(event: EventType, evidence: Evidence) -> bool:
    """Whether what the detectors found speaks against the alarm itself, so that it is only suspected.

    A fallen person may be overlooked; where an animal was found in its place, or where nobody was found whom
    the alarm says to be there, a report does not claim it. The decision stays with the score.
    """
    people = max(_count(evidence, ("person",), "person_count"))
    if people or is_reported(evidence):
        return False
    animals = max(_count(evidence, ANIMALS, ""))
    return event in _OF_PRESENCE or (event in _OF_A_BODY and animals > 0)


def gather(inquiry: Inquiry, score: Score) -> Facts:
    """The facts of one judged candidate."""
    event, evidence = inquiry.event_type, inquiry.evidence
    probabilities = score.attributes
    reading, doubted = reading_of(score), contradicted(event, evidence)
    if doubted and reading in (Reading.REAL, Reading.LIKELY):
        reading = Reading.UNCLEAR
    # Of crashes a head that stills taught is never sure enough to be believed alone.
    doubtful = reading is Reading.LIKELY or (reading is Reading.REAL and event is EventType.TRAFFIC_ACCIDENT)
    if doubtful and not _witnessed(event, evidence, probabilities):
        reading = Reading.UNCLEAR
    people_counts = _count(evidence, ("person",), "person_count")
    vehicles = max(_count(evidence, _VEHICLES, "vehicle_count"))
    main = MAIN_ATTRIBUTE.get(event, "")
    seen = [n for n in (*_INCIDENTS, *_SCENERY) if probabilities.get(n, 0.0) >= _seen_at(n, main)]
    seen.sort(key=(*_INCIDENTS, *_SCENERY).index)
    if doubted:
        seen = [
            name
            for name in seen
            if name not in ("fight", "person_down", "crowd")
            and (name != "person" or probabilities[name] >= SCENERY_ALONE_AT)
        ]
    if reading is Reading.FALSE:
        # A report that calls the alarm false must not also state what the alarm claims.
        seen = [name for name in seen if name != main or name in _SCENERY]
    found = {
        "person": max(people_counts) > 0 and probabilities.get("person", 1.0) >= PERSON_AGREES_AT,
        "vehicle": vehicles > 0 and probabilities.get("vehicle", 1.0) >= VEHICLE_AGREES_AT,
        "animal": max(_count(evidence, ANIMALS, "")) > 0
        and probabilities.get("animal", 0.0) >= ANIMAL_AGREES_AT,
    }
    scenery = [name for name, detected in found.items() if detected or name in seen]
    seen = [name for name in seen if name not in found] + scenery
    absent: tuple[str, ...] = ()
    if main and main not in seen and (reading is Reading.FALSE or probabilities.get(main, 1.0) < ABSENT_AT):
        absent = (main,)
    kin, _ = _KIN.get(main, ("", 0.0))
    perhaps = (kin,) if kin in seen and probabilities.get(kin, 0.0) < SURE_PROBABILITY else ()
    single = evidence.facts.get("still_image") is True or inquiry.duration_s <= 0
    facts = Facts(
        event_type=event,
        reading=reading,
        seen=tuple(sorted(set(seen), key=seen.index)),
        perhaps=perhaps,
        absent=absent,
        people=_told_people(min(people_counts)) if found["person"] else 0,
        vehicles=vehicles,
        measures=measures_of(event, evidence),
        duration="" if single else shown(inquiry.duration_s),
        zone=inquiry.zone or "",
        site_context=inquiry.site_context,
        called=score.action is Action.ESCALATE,
    )
    # How far haze spreads is no ground for flames.
    return facts if facts.told_as is event else replace(facts, measures=())


def _witnessed(event: EventType, evidence: Evidence, probabilities: Mapping[str, float]) -> bool:
    """Whether eyes or detectors found what the alarm says, or what makes it real all the same.

    What is no more than probable is called so only where they did: other terms of a head know what such
    scenes look like, not whether the thing is there. Of crashes the eyes know little more than traffic, so
    where things move a vehicle must have stopped, turned or hit another; on one picture they must do.
    """
    moving = evidence.facts.get("still_image") is not True and not is_reported(evidence)
    if event is EventType.TRAFFIC_ACCIDENT and moving:
        return any(float(evidence.facts.get(name) or 0.0) > 0 for name in _OF_A_CRASH)
    main = MAIN_ATTRIBUTE.get(event, "")
    if not main or probabilities.get(main, 0.0) >= SEEN_AT:
        return True
    other, seen_at = _ALSO_REAL.get(event, ("", math.inf))
    return probabilities.get(other, 0.0) >= seen_at


def _seen_at(name: str, main: str) -> float:
    """From which probability on an attribute is stated beside an alarm about ``main``."""
    if name == main:
        return SEEN_AT
    kin, seen_at = _KIN.get(main, ("", 1.0))
    if name == kin:
        return seen_at
    if name == "crash":
        # Dense traffic looks like one: only its own trigger's alarm is worth the words.
        return math.inf
    return SCENERY_ALONE_AT if name in _SCENERY else OTHERS_SEEN_AT


def _told_people(both: int) -> int:
    """What is said of a number of people that detector and trigger both counted at least."""
    if both >= SEVERAL:
        return both
    return 2 if both >= 2 else 0
