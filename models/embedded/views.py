"""Which of a candidate's views the model looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.base import Inquiry
from pipeline.types import EventType, Evidence, KeyFrame, Moment, View

FLICKERING = frozenset({EventType.FIRE, EventType.SMOKE})
"""What comes and goes from frame to frame: one moment alone may miss it."""
_REPORTED = "reported"
"""Fact of an alarm that another detector raised (``pipeline.detect.facts``)."""


def is_reported(evidence: Evidence) -> bool:
    """Whether another detector raised the alarm: its peak is when that one spoke, not when it happened."""
    return evidence.facts.get(_REPORTED) is True


def looked_at(key_frames: Sequence[KeyFrame], event_type: EventType, evidence: Evidence) -> list[int]:
    """Places of the views of the peak; of all views where none is of the peak.

    The moments before and after are for people: judged with them the model ranks alarms no better, and takes
    twice as long (``python -m evaluation.keyframe_choice``). For what flickers, and where another detector
    said when it was, they are looked at as well, without their motion views.
    """
    peak = {index for index, frame in enumerate(key_frames) if frame.moment is Moment.PEAK}
    if not peak:
        return list(range(len(key_frames)))
    if event_type in FLICKERING or is_reported(evidence):
        peak |= {i for i, frame in enumerate(key_frames) if frame.view in (View.FULL, View.REGION)}
    return sorted(peak)


def at_its_peak(inquiry: Inquiry) -> Inquiry:
    """The inquiry with the views that are looked at, mostly those of its peak."""
    if len(inquiry.images) != len(inquiry.key_frames):
        return inquiry
    chosen = looked_at(inquiry.key_frames, inquiry.event_type, inquiry.evidence)
    return replace(
        inquiry,
        key_frames=tuple(inquiry.key_frames[index] for index in chosen),
        images=tuple(inquiry.images[index] for index in chosen),
    )


def without(inquiry: Inquiry, unread: Sequence[bool]) -> Inquiry:
    """The inquiry without some of its views."""
    kept = [index for index, drop in enumerate(unread) if not drop]
    return replace(
        inquiry,
        key_frames=tuple(inquiry.key_frames[index] for index in kept),
        images=tuple(inquiry.images[index] for index in kept),
    )
