"""English phrasings of facts: the grammar that training targets are drawn from.

The tower learns to put facts into words from these; the first phrasing of each is also what is said when
the tower's own words had to be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from models.embedded.report_facts import SEVERAL, Facts, Reading
from models.embedded.report_measures import measure_english
from pipeline.types import EventType

Pick = Callable[[Sequence[str]], str]
FIELDS = ("observation", "second", "title", "narrative", "reason")
"""The fields the tower writes, in order; ``second`` is the second observation."""

_REAL_SEEN: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: (
        "A person is lying on the ground",
        "Someone is down on the ground",
        "A person has fallen and lies on the ground",
        "A person lies on the ground and is not standing up",
        "Someone is lying on the floor or ground",
    ),
    EventType.FIRE: (
        "Flames are visible",
        "Something is burning with open flames",
        "Bright flames are visible in the scene",
        "Open fire is visible",
        "A fire is burning in view",
    ),
    EventType.SMOKE: (
        "Smoke is visible in the scene",
        "Smoke is rising",
        "A cloud of smoke is visible",
        "Smoke is spreading in view",
        "Smoke drifts through the picture",
    ),
    EventType.VIOLENCE: (
        "People are fighting",
        "People are in a violent struggle",
        "There is a physical fight between people",
        "People are hitting or grabbing each other",
        "A fight is going on",
    ),
    EventType.CROWDING: (
        "A dense crowd fills the view",
        "Many people stand close together",
        "The area is packed with people",
        "A large crowd is visible",
        "People are crowded closely together",
    ),
    EventType.TRAFFIC_ACCIDENT: (
        "A vehicle has crashed",
        "Vehicles have collided",
        "A crash involving a vehicle is visible",
        "A damaged or crashed vehicle is visible",
        "There has been a collision on the road",
    ),
    EventType.INTRUSION: (
        "A person is inside the watched zone",
        "Someone has entered the closed zone",
        "A person is in the zone that should be empty",
        "Someone is present in the watched zone",
    ),
    EventType.LOITERING: (
        "A person keeps staying in the area",
        "Someone is hanging around in view",
        "The same person remains in the area",
        "A person lingers in the area",
    ),
    EventType.ABANDONED_OBJECT: (
        "An object has been left standing alone",
        "An unattended object stands in view",
        "An object was left behind",
        "An object stays in place without an owner nearby",
    ),
    EventType.OTHER: (
        "Unusual activity is visible",
        "Something out of the ordinary is going on",
        "The scene shows unusual activity",
    ),
}
_REAL_UNSEEN: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: ("The posture looks like that of a fallen person", "The movement looks like a fall"),
    EventType.FIRE: ("Parts of the picture look like fire", "The light looks like fire"),
    EventType.SMOKE: ("Parts of the picture look like smoke", "Haze in the picture looks like smoke"),
    EventType.VIOLENCE: ("The scene looks like a fight", "The scene looks like a struggle"),
    EventType.CROWDING: ("The area looks crowded", "The view looks densely filled"),
    EventType.TRAFFIC_ACCIDENT: (
        "Something here looks like a crash",
        "Something here looks like a collision",
    ),
    EventType.INTRUSION: ("Something entered the watched zone", "There is movement in the watched zone"),
    EventType.LOITERING: ("Something stays in the area", "There is lasting presence in the area"),
}
_LIKELY: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: ("A person has probably fallen", "Someone is probably lying on the ground"),
    EventType.FIRE: ("Something is probably burning", "There is probably a fire in view"),
    EventType.SMOKE: ("There is probably smoke in view", "The haze in view is probably smoke"),
    EventType.VIOLENCE: ("People are probably fighting", "This is probably a fight"),
    EventType.CROWDING: ("The area is probably too crowded", "This is probably a dense crowd"),
    EventType.TRAFFIC_ACCIDENT: ("A vehicle has probably crashed", "There has probably been a crash"),
    EventType.INTRUSION: (
        "Someone is probably inside the watched zone",
        "A person has probably entered the watched zone",
    ),
    EventType.LOITERING: (
        "Someone is probably hanging around in view",
        "A person is probably lingering in the area",
    ),
    EventType.ABANDONED_OBJECT: (
        "An object has probably been left behind",
        "An object in view is probably unattended",
    ),
    EventType.OTHER: ("Something unusual is probably going on", "The activity in view is probably unusual"),
}
"""For scores that make the alarm probable and no more."""
_ARMED = ("Someone in view may be armed", "A person in view may carry a weapon")
_ARMED_TITLES = ("weapon", "armed person")
_SUSPECTED: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: ("A fall is suspected", "The alarm suspects a fall"),
    EventType.FIRE: ("A fire is suspected", "The alarm suspects a fire"),
    EventType.SMOKE: ("Smoke is suspected", "The alarm suspects smoke"),
    EventType.VIOLENCE: ("A fight is suspected", "The alarm suspects a fight"),
    EventType.CROWDING: ("A dense crowd is suspected", "The alarm suspects a dense crowd"),
    EventType.TRAFFIC_ACCIDENT: ("A crash is suspected", "The alarm suspects a crash"),
    EventType.INTRUSION: ("An intrusion is suspected", "The alarm suspects an intrusion"),
    EventType.LOITERING: ("Loitering is suspected", "The alarm suspects loitering"),
    EventType.ABANDONED_OBJECT: (
        "An object left behind is suspected",
        "The alarm suspects an object left behind",
    ),
    EventType.OTHER: ("Unusual activity is suspected", "The alarm suspects unusual activity"),
}
"""For scores that leave doubt: what the alarm claims, not what the picture looks like."""
_FALSE: Mapping[EventType, tuple[str, ...]] = {
    EventType.FALL: (
        "Nobody is seen lying on the ground after a fall",
        "No fallen person is visible",
        "There is no sign of a person who has fallen",
        "No one appears to have fallen",
    ),
    EventType.FIRE: (
        "No flames are visible",
        "There is no open fire in the picture",
        "Nothing is burning in view",
        "No real fire is visible",
    ),
    EventType.SMOKE: (
        "No smoke from a fire is visible",
        "There is no smoke in the picture",
        "Nothing in view looks like smoke from a fire",
        "No real smoke is visible",
    ),
    EventType.VIOLENCE: (
        "Nobody is seen fighting",
        "No fight is visible",
        "There is no sign of violence",
        "No one is being attacked",
    ),
    EventType.CROWDING: (
        "There is no dense crowd",
        "The area is not crowded",
        "No dangerous crowd is visible",
        "The area is far from crowded",
    ),
    EventType.TRAFFIC_ACCIDENT: (
        "No collision is visible",
        "There is no sign of a crash",
        "No vehicle appears to have crashed",
        "Nothing points to a collision",
    ),
    EventType.INTRUSION: (
        "No intruder is visible",
        "There is no sign of an intruder",
        "Nobody is seen breaking into the zone",
    ),
    EventType.LOITERING: (
        "Nobody is seen hanging around without a purpose",
        "There is no sign of loitering",
        "No one lingers in the area",
    ),
    EventType.ABANDONED_OBJECT: (
        "No abandoned object is visible",
        "Nothing appears to have been left behind",
        "There is no sign of an object left behind",
    ),
    EventType.OTHER: (
        "Nothing unusual is visible",
        "The scene looks normal",
        "There is no sign of an incident",
    ),
}
_TITLES: Mapping[EventType, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    EventType.FALL: (
        ("Person on the ground", "Person has fallen", "Fallen person"),
        ("fall", "fallen person"),
        ("No fall seen", "No fallen person"),
    ),
    EventType.FIRE: (
        ("Fire in view", "Open flames", "Fire burning"),
        ("fire", "flames"),
        ("No fire seen", "No flames"),
    ),
    EventType.SMOKE: (
        ("Smoke in view", "Smoke rising", "Smoke spreading"),
        ("smoke", "smoke or haze"),
        ("No smoke seen", "No real smoke"),
    ),
    EventType.VIOLENCE: (
        ("Fight in progress", "People fighting", "Violent struggle"),
        ("fight", "violence"),
        ("No fight seen", "No violence"),
    ),
    EventType.INTRUSION: (
        ("Person in the zone", "Intrusion into the zone"),
        ("intrusion", "intruder"),
        ("No intruder seen", "No intrusion"),
    ),
    EventType.LOITERING: (
        ("Person loitering", "Person hanging around"),
        ("loitering", "lingering person"),
        ("No loitering seen", "No loitering"),
    ),
    EventType.CROWDING: (
        ("Dense crowd", "Crowded area"),
        ("crowding", "dense crowd"),
        ("No crowding seen", "No dense crowd"),
    ),
    EventType.ABANDONED_OBJECT: (
        ("Object left behind", "Unattended object"),
        ("abandoned object", "object left behind"),
        ("No abandoned object seen", "Nothing left behind"),
    ),
    EventType.TRAFFIC_ACCIDENT: (
        ("Vehicle crash", "Traffic accident", "Collision on the road"),
        ("crash", "traffic accident"),
        ("No crash seen", "No collision"),
    ),
    EventType.OTHER: (
        ("Unusual activity", "Incident in view"),
        ("incident", "unusual activity"),
        ("Nothing unusual", "Normal scene"),
    ),
}
"""For each event type: titles when real, what may be "possible" or "expected", titles when false."""

_OTHERS: Mapping[str, tuple[str, ...]] = {
    "fire": ("Flames are also visible", "There are flames as well"),
    "smoke": ("Smoke is also visible", "There is smoke as well"),
    "fight": ("People seem to be fighting as well", "A struggle is also visible"),
    "person_down": ("A person is on the ground as well", "Someone is also on the ground"),
    "crash": ("A crashed vehicle is also visible", "There seems to be a crash as well"),
    "crowd": ("A crowd is in view", "Many people are in view"),
    "weapon": ("An object that may be a weapon is visible", "A possible weapon is visible"),
}
_PERHAPS: Mapping[str, tuple[str, ...]] = {
    "fire": ("There may be flames as well", "Flames may be in view too"),
    "smoke": ("There may be smoke as well", "Smoke may be in view too"),
}
"""The same where the model is not sure."""


# Of what was recognised, never of the scene: what the model misses may well be there.
_NOTHING_ELSE = ("Nothing else was recognised", "Nothing more was recognised")
_ABOUT_PEOPLE = frozenset(
    {
        EventType.FALL,
        EventType.VIOLENCE,
        EventType.CROWDING,
        EventType.INTRUSION,
        EventType.LOITERING,
    }
)


def lowered(sentence: str) -> str:
    """The sentence for use inside another."""
    return sentence[:1].lower() + sentence[1:]


def raised(sentence: str) -> str:
    """The sentence for use on its own."""
    return sentence[:1].upper() + sentence[1:]


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``."""
    return " and ".join(items)


def people_phrase(count: int) -> str:
    """``one person``, ``people``, ``several people``."""
    if count >= SEVERAL:
        return "several people"
    return "one person" if count == 1 else "people"


def main_clause(facts: Facts, pick: Pick) -> str:
    """What the picture says about the alarm."""
    event = facts.told_as
    if facts.reading is Reading.FALSE:
        return pick(_FALSE[event])
    if facts.reading is Reading.UNCLEAR:
        return pick(_SUSPECTED[event])
    if facts.armed:
        return pick(_ARMED)
    if facts.reading is Reading.LIKELY:
        return pick(_LIKELY[event])
    certain = facts.main_seen and facts.reading is Reading.REAL
    if certain or event not in _REAL_UNSEEN:
        return pick(_REAL_SEEN[event])
    similar = _REAL_UNSEEN[event]
    if not facts.duration:
        # A single picture shows no movement.
        similar = tuple(text for text in similar if "movement" not in text) or similar
    return pick(similar)


def scene_clause(facts: Facts, pick: Pick) -> str:
    """Who and what else is in the picture."""
    if facts.others_seen:
        other = facts.others_seen[0]
        return pick((_PERHAPS if other in facts.perhaps else _OTHERS)[other])
    has_people, has_vehicles = "person" in facts.seen, "vehicle" in facts.seen
    if has_people and has_vehicles:
        return pick(("People and vehicles are in view", "The scene shows people and vehicles"))
    # Only the clause of a real incident has already named the person.
    named = facts.main_seen and facts.reading is Reading.REAL and facts.told_as in _ABOUT_PEOPLE
    if has_people and named and facts.people < 2:
        return pick(_NOTHING_ELSE)
    if facts.people:
        who = people_phrase(facts.people)
        are = "is" if facts.people == 1 else "are"
        return raised(pick((f"{who} {are} in view", f"{who} {are} visible", f"the detectors see {who}")))
    if has_people:
        return pick(("At least one person is in view", "Someone is in view"))
    if has_vehicles:
        return pick(("Vehicles are in view", "The scene shows vehicles", "At least one vehicle is in view"))
    if "animal" in facts.seen:
        return pick(("An animal is in view", "The scene shows an animal"))
    return pick(_NOTHING_ELSE)


def _title(facts: Facts, pick: Pick) -> str:
    real, perhaps, false = _TITLES[facts.told_as]
    if facts.armed:
        return f"Possible {pick(_ARMED_TITLES)}"
    if facts.reading is Reading.REAL:
        return (
            pick(real)
            if facts.main_seen or facts.told_as not in _REAL_UNSEEN
            else f"Possible {pick(perhaps)}"
        )
    if facts.reading is Reading.FALSE:
        return pick(false)
    if facts.reading is Reading.LIKELY:
        return f"Probable {pick(perhaps)}"
    return f"Possible {pick(perhaps)}" + (", expected here" if facts.reading is Reading.EXPECTED else "")


def _narrative(facts: Facts, main: str, scene: str, pick: Pick) -> str:
    # "Nothing else was recognised" makes no sense before what it follows.
    scene_first = scene not in _NOTHING_ELSE
    if facts.reading is Reading.FALSE and facts.others_seen:
        return pick(
            (
                f"{main}. However, {lowered(scene)}, so the pictures deserve a look.",
                f"{main}, but {lowered(scene)}. A look at the pictures is advised.",
            )
        )
    if facts.reading is Reading.FALSE:
        ways = (
            f"{main}. {scene}, and nothing recognised supports the alarm.",
            f"{main}; {lowered(scene)}. The alarm looks false.",
            f"{scene}. {main}, so the alarm looks false.",
        )
        return pick(ways if scene_first else ways[1:2])
    if facts.reading is Reading.UNCLEAR:
        ways = (
            f"{main}, but the pictures do not settle it. {scene}.",
            f"{main}, which the pictures neither prove nor rule out. {scene}.",
            f"{scene}. {main}, yet this is not certain.",
        )
        return pick(ways if scene_first else ways[:2])
    if facts.reading is Reading.EXPECTED:
        return pick(
            (
                f"{main}, which the site says is expected. {scene}.",
                f"{main}. According to the site this is expected here.",
            )
        )
    if facts.reading is Reading.LIKELY:
        ways = (
            f"{main}, though this is not certain. {scene}.",
            f"{main}. {scene}. This is likely, not certain.",
            f"{scene}. {main}, though this is not certain.",
        )
        return pick(ways if scene_first else ways[:2])
    ending = pick(
        (
            "This looks like a real incident",
            "The alarm appears to be real",
            "It should be looked at now",
        )
    )
    ways = (f"{main}. {scene}. {ending}.", f"{main}. {ending}.", f"{main}, and {lowered(scene)}. {ending}.")
    if facts.others_seen:
        # An incident that the alarm is not about must not be left out for brevity.
        return pick((ways[0], ways[2]))
    return pick(ways if scene_first else ways[:2])


def _reason(facts: Facts, pick: Pick) -> str:
    measured = listed([measure_english(measure) for measure in facts.measures])
    if facts.reading is Reading.EXPECTED:
        return pick(
            (
                "The site context says that such scenes are expected.",
                "The site itself explains what is seen.",
            )
        )
    if facts.reading is Reading.REAL:
        grounds = (
            pick(("The pictures show it directly", "It is clearly visible"))
            if facts.main_seen
            else pick(("The measurements point to it", "Movement and measurements point to it"))
        )
        if facts.armed:
            grounds = pick(("The pictures show what looks like a weapon", "The pictures point to a weapon"))
        if not measured:
            return f"{grounds}."
        return pick((f"{grounds}, with {measured}.", f"{grounds}; the detectors measured {measured}."))
    if facts.reading is Reading.LIKELY:
        grounds = pick(("The pictures point to it", "The signs are stronger than the doubts"))
        if not measured:
            return f"{grounds}."
        return pick((f"{grounds}, with {measured}.", f"{grounds}; the detectors measured {measured}."))
    if facts.reading is Reading.UNCLEAR:
        grounds = pick(("The signs are weak", "The pictures leave doubt"))
        return (
            pick((f"{grounds}, with {measured}.", f"{grounds} despite {measured}."))
            if measured
            else f"{grounds}."
        )
    known = ("The pictures do not show what the alarm says", "Nothing in the pictures supports the alarm")
    # Smoke beside a fire alarm may well support it.
    grounds = pick(known[:1] if facts.others_seen else known)
    if not measured:
        return f"{grounds}."
    return pick((f"{grounds}; the trigger saw {measured}.", f"{grounds}, only {measured}."))


def observed(facts: Facts, main: str, scene: str) -> list[str]:
    """What of the two first sentences was seen: what an unclear alarm suspects, nobody saw."""
    if facts.reading is not Reading.UNCLEAR:
        return [main, scene]
    # Alone, "nothing else" has nothing to refer to.
    nothing = scene.rstrip(".") in _NOTHING_ELSE
    return ["Nothing was recognised that settles it."] if nothing else [scene]


def write(facts: Facts, pick: Pick) -> dict[str, str]:
    """One wording of the facts, by the names in ``FIELDS``.

    Args:
        facts: What may be said.
        pick: Chooses among phrasings; take the first of each for the plainest wording.
    """
    main, scene = main_clause(facts, pick), scene_clause(facts, pick)
    again, scene_again = main_clause(facts, pick), scene_clause(facts, pick)
    return {
        "observation": f"{main}.",
        "second": f"{scene}.",
        "title": _title(facts, pick),
        "narrative": _narrative(facts, again, scene_again, pick),
        "reason": _reason(facts, pick),
    }


def plain(facts: Facts) -> dict[str, str]:
    """The plainest wording."""
    return write(facts, lambda options: options[0])
