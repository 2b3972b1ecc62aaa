"""Reads plain statements of what is expected out of the site context.

The site context is written by whoever runs the site, in settings or overrides, never by the scene. A sentence
like "simulated fights are expected" is therefore an instruction, and it must hold with every model, not only
with one that understands it. Only a clause that names an event and calls it expected counts; a denial
("fights are not expected") does not.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipeline.types import EventType

_CLAUSE = re.compile(r"[.;!?\n。]|, (?=and |but |or )| but |지만 |으나 ")
_EXPECTED = re.compile(
    r"\b(?:(?:is|are|be) (?:\w+ )?(?:expected|normal|usual|common|staged|part of)|"
    r"(?:expect|expects|expecting|expected|staged|simulated|acted|rehearsed)\b)|예상|예정|정상적|연출|촬영"
)
_DENIED = re.compile(
    r"\b(?:not|no|never|none|without|unexpected|rarely|isn't|aren't|nor)\b|않|없|아니|아닌|금지",
    re.IGNORECASE,
)
_EVENTS: dict[EventType, re.Pattern[str]] = {
    EventType.VIOLENCE: re.compile(
        r"\b(?:fight|fights|fighting|violence|brawl|brawls|combat|sparring|stunts?|boxing|wrestling|"
        r"martial arts)\b|싸움|격투|폭력|난투|대련|액션"
    ),
    EventType.FALL: re.compile(r"\b(?:fall|falls|falling|tumbles?|tumbling)\b|넘어|쓰러|낙상"),
    EventType.FIRE: re.compile(
        r"\b(?:fire|fires|flames?|bonfires?|pyrotechnics?|campfires?|fireworks)\b|불꽃|화염|모닥불|화재"
    ),
    EventType.SMOKE: re.compile(r"\b(?:smoke|steam|dry ice|fog machines?)\b|연기|수증기"),
    EventType.CROWDING: re.compile(r"\b(?:crowds?|crowding|crowded)\b|인파|군중|밀집|혼잡"),
    EventType.TRAFFIC_ACCIDENT: re.compile(r"\b(?:crash|crashes|collisions?|accidents?)\b|충돌|추돌"),
    EventType.LOITERING: re.compile(r"\b(?:loitering|waiting|queues?|queueing)\b|배회|대기"),
    EventType.INTRUSION: re.compile(r"\b(?:intrusions?|night staff|cleaners|contractors)\b|출입|침입"),
    EventType.ABANDONED_OBJECT: re.compile(r"\b(?:left (?:bags?|luggage)|deliveries|parcels?)\b|택배|방치"),
}


@lru_cache(maxsize=256)
def expected_by_context(text: str) -> frozenset[EventType]:
    """Event types that the site context calls expected."""
    found: set[EventType] = set()
    for clause in _CLAUSE.split(text.lower()):
        if clause and _EXPECTED.search(clause) and not _DENIED.search(clause):
            found |= {event for event, words in _EVENTS.items() if words.search(clause)}
    return frozenset(found)
