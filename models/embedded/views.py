"""Which of a candidate's views the model looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.base import Inquiry
from pipeline.types import KeyFrame, Moment


def looked_at(key_frames: Sequence[KeyFrame]) -> list[int]:
    """Places of the views of the peak; of all views where none is of the peak.

    The moments before and after are for people: judged with them the model ranks alarms no better, and takes
    twice as long (``python -m evaluation.keyframe_choice``).
    """
    peak = [index for index, frame in enumerate(key_frames) if frame.moment is Moment.PEAK]
    return peak or list(range(len(key_frames)))


def at_its_peak(inquiry: Inquiry) -> Inquiry:
    """The inquiry with the views that are looked at."""
    if len(inquiry.images) != len(inquiry.key_frames):
        return inquiry
    chosen = looked_at(inquiry.key_frames)
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
