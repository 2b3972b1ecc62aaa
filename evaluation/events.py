"""Event-level scoring: are incidents found when they happen?

After the KISA certification of intelligent CCTV: an alarm counts for an event of its type when it
starts from 2 s before to 10 s after the annotated start. Every event needs one alarm and every alarm
counts for one event: in order of time, an alarm takes the event that started first among those still
waiting, one of exactly its type before one of a type that goes with it. More alarms during an event
that has its alarm are the same alarm again and neither right nor wrong. All others are false, late
ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.dataset import Event
from evaluation.outcomes import Clip, Judged
from evaluation.truth import KISA_AFTER_S, KISA_BEFORE_S, compatible, overlaps


@dataclass(frozen=True, slots=True)
class EventMatch:
    """What became of one clip's events and alarms.

    Attributes:
        found: Events with their alarm.
        missed: Events without one.
        false: Alarms that count for no event.
        repeated: Alarms during an event that already has one.
    """

    found: tuple[tuple[Event, Judged], ...]
    missed: tuple[Event, ...]
    false: tuple[Judged, ...]
    repeated: tuple[Judged, ...]


def scorable(clip: Clip) -> bool:
    """Whether event times are known: always for benign clips, else when they are annotated."""
    return not clip.truth.escalate or bool(clip.truth.events)


def match_events(events: Sequence[Event], alarms: Sequence[Judged]) -> EventMatch:
    """Pair the events of one clip with alarms."""
    waiting = list(events)
    found: list[tuple[Event, Judged]] = []
    left: list[Judged] = []
    for alarm in sorted(alarms, key=lambda one: (one.start_s, one.end_s, one.event_type)):
        fitting = [event for event in waiting if _in_time(alarm, event)]
        if not fitting:
            left.append(alarm)
            continue
        # The alarm's own type first, so that a smoke alarm does not use up a fire event beside a smoke event.
        chosen = min(fitting, key=lambda event: (alarm.event_type != event.type, event.start_s, event.end_s))
        waiting.remove(chosen)
        found.append((chosen, alarm))
    repeated = tuple(
        alarm
        for alarm in left
        if any(
            compatible(alarm.event_type, event.type) and overlaps(alarm.start_s, alarm.end_s, event)
            for event, _ in found
        )
    )
    again = {id(alarm) for alarm in repeated}
    return EventMatch(
        found=tuple(found),
        missed=tuple(waiting),
        false=tuple(alarm for alarm in left if id(alarm) not in again),
        repeated=repeated,
    )


def _in_time(alarm: Judged, event: Event) -> bool:
    return (
        compatible(alarm.event_type, event.type)
        and event.start_s - KISA_BEFORE_S <= alarm.start_s <= event.start_s + KISA_AFTER_S
    )
