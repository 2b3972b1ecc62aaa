"""Which triggers there are, and how a set of them is made for one stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.detect.scene import Trigger
from pipeline.detect.triggers.abandoned import AbandonedTrigger
from pipeline.detect.triggers.crowding import CrowdingTrigger
from pipeline.detect.triggers.fall import FallTrigger
from pipeline.detect.triggers.fire import FireTrigger
from pipeline.detect.triggers.presence import IntrusionTrigger, LoiteringTrigger
from pipeline.detect.triggers.smoke import SmokeTrigger
from pipeline.detect.triggers.traffic import TrafficTrigger
from pipeline.detect.triggers.violence import ViolenceTrigger

TriggerFactory = Callable[[], Trigger]

DEFAULT: tuple[TriggerFactory, ...] = (
    FallTrigger,
    FireTrigger,
    SmokeTrigger,
    ViolenceTrigger,
    TrafficTrigger,
    IntrusionTrigger,
    LoiteringTrigger,
    CrowdingTrigger,
    AbandonedTrigger,
)
"""Made anew for each stream, because triggers remember."""


def make_triggers(factories: Sequence[TriggerFactory] | None = None) -> list[Trigger]:
    """One fresh trigger of each kind."""
    return [factory() for factory in (DEFAULT if factories is None else factories)]
