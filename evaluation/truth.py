"""What a candidate is in truth: the rules that join labels and candidates, in one place.

A label says what a clip shows; a trigger says what it suspects. Two pairs cannot be told apart by
a person either and count as the same thing: fire and smoke, intrusion and loitering. A weapon has no event
type of its own; alarms of violence are about it. ``other`` (an external detector's alarm, or another label
without an event type) goes with everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.dataset import DatasetRow, Event
from pipeline.types import EventType

KISA_BEFORE_S = 2.0
"""An alarm may come this long before the annotated start (KISA intelligent-CCTV certification)."""
KISA_AFTER_S = 10.0
"""... and this long after it."""

_FAMILIES = (
    frozenset({str(EventType.FIRE), str(EventType.SMOKE)}),
    frozenset({str(EventType.INTRUSION), str(EventType.LOITERING)}),
)


_RAISED_BY = {"weapon": str(EventType.VIOLENCE)}
"""By label without an event type, whose alarms are about it: a smoke alarm is not about a weapon."""


def compatible(suspected: str, true_type: str) -> bool:
    """Whether an alarm of one event type is about an incident of the other."""
    if suspected == true_type or str(EventType.OTHER) in (suspected, true_type):
        return True
    return any(suspected in family and true_type in family for family in _FAMILIES)


def overlaps(start_s: float, end_s: float, event: Event) -> bool:
    """Whether a candidate's span touches an event, with the certification's tolerance before it."""
    latest = max(event.end_s, event.start_s + KISA_AFTER_S)
    return start_s <= latest and end_s >= event.start_s - KISA_BEFORE_S


def candidate_truth(row: DatasetRow, event_type: str, start_s: float, end_s: float) -> bool | None:
    """Whether a candidate is real.

    Returns:
        ``False`` in a benign clip; ``True`` when it is about the incident of its clip (compatible type,
        and touching an annotated event where times are annotated); ``None`` when the clip has an
        incident but this candidate is about something else, which nobody has labelled.
    """
    if not row.escalate:
        return False
    if not row.events:
        about = _RAISED_BY.get(row.label) or row.scored_type or ""
        return True if compatible(event_type, about) else None
    touched = any(
        compatible(event_type, str(event.type)) and overlaps(start_s, end_s, event) for event in row.events
    )
    return True if touched else None


def true_types(row: DatasetRow) -> Sequence[str]:
    """Event types of a clip's incidents: of its events, else of its label; none when benign."""
    if not row.escalate:
        return ()
    return tuple({str(event.type): None for event in row.events}) or (row.scored_type or "",)
