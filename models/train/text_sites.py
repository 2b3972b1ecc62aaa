"""What sites say about themselves: contexts that explain an alarm away, and contexts that must not.

All of it is written by us. Braced places are filled from lists, so that one sentence has many forms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.types import EventType

Random = np.random.Generator

_STAGED: Mapping[EventType, tuple[str, ...]] = {
    EventType.VIOLENCE: (
        "film set, {staged} fights are expected",
        "this is a {set}; {staged} fight scenes are shot here",
        "{set} with stunt fighters at work",
        "{club}, sparring is normal here",
        "{club}: people train to fight on the mats",
        "gym with boxing ring, sparring every evening",
        "theatre stage, actors rehearse a fight",
        "self-defence course, mock attacks are part of the lesson",
        "police academy, arrest and combat training in this hall",
        "wrestling match tonight, the fighters in the ring are athletes",
        "actors will stage a brawl in front of this camera",
        "expect {staged} violence, a movie is being filmed",
    ),
    EventType.FIRE: (
        "{festival}, a large bonfire is lit on purpose",
        "{kitchen}, open flames are normal",
        "blacksmith forge, the fire burns all day",
        "fire brigade training ground, fires are lit for practice",
        "welding shop, sparks and flames are expected",
        "waste gas flare of the refinery, it always burns",
        "camp site with fire pits, camp fires are allowed",
        "film set, {staged} fire effects today",
        "fireplace in the lobby is lit in winter",
        "controlled burning of stubble on this field today",
    ),
    EventType.SMOKE: (
        "{kitchen}, smoke from the grill is normal",
        "stage with fog machine, smoke effects are expected",
        "power plant, steam from the cooling towers is normal",
        "fire brigade training ground, smoke is made for practice",
        "{festival}, smoke from the bonfire is expected",
        "smokehouse, smoke comes out all day",
        "film set, {staged} smoke is used",
        "controlled burning on this field today, smoke is expected",
        "designated smoking area",
        "steam from the laundry vents is normal here",
    ),
    EventType.FALL: (
        "{club}, falls on the mats are normal",
        "yoga studio, people lie on mats",
        "first aid course, people lie on the floor for practice",
        "gymnastics hall, falling and rolling are part of training",
        "film set, stunt falls are expected",
        "ice rink, beginners fall all the time",
        "children's soft play area, tumbling is normal",
        "physiotherapy room, patients lie down for exercises",
        "judo club, throws and falls are expected",
        "public lawn where people lie in the sun",
        "acting class, pretended falls are rehearsed here",
    ),
    EventType.CROWDING: (
        "{festival}, large crowds are planned and guarded",
        "concert tonight, a full house is expected",
        "stadium gate on match day, crowds are planned for",
        "fire drill today, everybody gathers in this yard",
        "market day, the square is always full",
        "demonstration announced here, a crowd is expected",
    ),
    EventType.TRAFFIC_ACCIDENT: (
        "crash test track, collisions are planned",
        "film set, {staged} car crashes today",
        "scrap yard, wrecked cars stand here",
        "bumper cars at the fair, bumping is the point",
        "driving school skid pad, spins are normal",
        "fire brigade exercise with wrecked cars today",
    ),
    EventType.INTRUSION: (
        "night shift works in this zone until six",
        "cleaners are inside the zone until nine",
        "zone is open to visitors today",
        "contractors work in the fenced area all week",
        "maintenance staff are expected in the zone",
        "guards patrol this zone on foot",
    ),
    EventType.LOITERING: (
        "bus stop, people wait here",
        "smoking area of the staff, people stand around",
        "waiting room, long stays are normal",
        "street musicians play here all day",
        "security guard stands at this door",
        "taxi rank, drivers wait here",
    ),
    EventType.ABANDONED_OBJECT: (
        "luggage storage, bags stand here alone",
        "cleaning trolley is parked here every night",
        "delivery point, parcels are left here on purpose",
        "art installation of suitcases in the hall",
        "building site, material lies around",
        "school yard, children put their bags by the wall",
    ),
    EventType.OTHER: (
        "safety exercise today, unusual scenes are expected",
        "film set, {staged} scenes of all kinds",
        "test day, alarms are set off on purpose",
        "camera is being installed and tested",
    ),
}
_ANY = (
    "safety drill today, everything is {staged}",
    "alarm test, all events are {staged}",
    "exercise for emergency services, scenes are {staged}",
)
_PLAIN = (
    "car park of a shopping centre",
    "loading dock behind the warehouse",
    "school entrance, quiet after four",
    "main hall of the railway station",
    "residential street with shops",
    "hospital corridor",
    "office lobby with two lifts",
    "camera was moved last week",
    "platform of an underground line",
    "bank branch, cash point to the left",
    "petrol station with four pumps",
    "night bus terminal",
    "hotel reception, open all night",
    "underpass near the river",
    "factory hall, three shifts",
    "care home, residents are frail",
    "playground in a park",
    "road junction with tram lines",
    "supermarket checkout",
    "bar district, busy at weekends",
    "dry forest at the edge of town",
    "tunnel entrance, two lanes",
    "high value goods are kept here",
    "public square, street lamps on until two",
    "library reading room",
    "apartment block entrance",
)
_WARNING = (
    "fights are common here at weekends, take them seriously",
    "elderly people live here, every fall matters",
    "fire risk is very high this week",
    "no filming and no training takes place here",
    "not a film set, treat every fight as real",
    "no drill is planned today",
    "no open fire is allowed anywhere on the site",
    "accidents have happened at this junction before",
    "nobody may be in this zone at night",
    "the exercise is over, all alarms are real again",
    "there were two break-ins last month",
    "last year's bonfire festival is over, fires are not allowed",
)
_FILL = {
    "{staged}": ("simulated", "staged", "acted", "fake", "pretended", "rehearsed"),
    "{set}": ("movie set", "film set", "television studio", "film location"),
    "{club}": ("martial arts school", "boxing club", "judo hall", "karate dojo", "fight club gym with mats"),
    "{festival}": ("bonfire festival", "midsummer festival", "street festival", "harvest festival"),
    "{kitchen}": ("restaurant kitchen", "barbecue area", "open-air grill", "street food kitchen"),
}
HELD_OUT: Mapping[EventType, tuple[str, ...]] = {
    EventType.VIOLENCE: (
        "this is a film set, simulated fights are expected",
        "Stunt team practises brawls here until Friday",
        "kick boxing gym, members spar all evening",
        "drama students act out a street fight",
    ),
    EventType.FIRE: (
        "bonfire night in the village, the fire is lit by the council",
        "pizzeria with a wood oven, flames are normal",
        "glass blowers work with open flames here",
        "firefighters practise with burning cars today",
    ),
    EventType.SMOKE: (
        "theatre with smoke machine, stage fog is expected",
        "sausage grill at the fair, smoke is normal",
        "steam locomotive depot, steam and smoke all day",
    ),
    EventType.FALL: (
        "aikido class, people fall on mats all the time",
        "pilates room, people lie on the floor",
        "rescue course, volunteers play victims on the floor",
    ),
    EventType.CROWDING: ("open-air concert, ten thousand guests are planned for",),
    EventType.TRAFFIC_ACCIDENT: ("stunt drivers crash old cars here for a television show",),
}
"""Contexts that training never sees, for testing."""
HELD_OUT_PLAIN = (
    "pharmacy on the corner, open until eight",
    "school gym, used by no one after six",
    "ferry landing with ticket office",
    "no shooting of films here, real fights have happened",
    "fire engine access, keep clear",
    "judge every alarm strictly, no exercises are planned",
    "old people's home, first floor",
)
# What explains one event may explain another too; such pairs say nothing about either.
_KIN: Mapping[EventType, frozenset[EventType]] = {
    EventType.FIRE: frozenset({EventType.SMOKE}),
    EventType.SMOKE: frozenset({EventType.FIRE}),
    EventType.VIOLENCE: frozenset({EventType.FALL}),
    EventType.FALL: frozenset({EventType.VIOLENCE}),
    EventType.INTRUSION: frozenset({EventType.LOITERING}),
    EventType.LOITERING: frozenset({EventType.INTRUSION}),
}


def _one(random: Random, options: tuple[str, ...]) -> str:
    text = options[int(random.integers(len(options)))]
    for place, words in _FILL.items():
        if place in text:
            text = text.replace(place, words[int(random.integers(len(words)))])
    if random.random() < 0.3:
        text = text[:1].upper() + text[1:]
    return text + "." * (random.random() < 0.2)


def excusing(event: EventType, random: Random) -> str:
    """A context in which this event is expected and harmless."""
    return _joined(random, _one(random, _ANY if random.random() < 0.06 else _STAGED[event]))


def irrelevant(event: EventType, random: Random) -> str:
    """A context that explains nothing: a plain place, a warning, or what is expected of another event."""
    kind = random.random()
    if kind < 0.45:
        return _one(random, _PLAIN)
    if kind < 0.65:
        return _joined(random, _one(random, _WARNING))
    kin = _KIN.get(event, frozenset()) | {event, EventType.OTHER}
    others = [other for other in _STAGED if other not in kin]
    text = _one(random, _STAGED[others[int(random.integers(len(others)))]])
    # "Film set" promises more than the event it goes on to name.
    return irrelevant(event, random) if "film" in text.lower() or "movie" in text.lower() else text


def _joined(random: Random, text: str) -> str:
    if random.random() < 0.25:
        return f"{_one(random, _PLAIN)}; {text}"
    return text
