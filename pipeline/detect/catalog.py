"""Which triggers there are, and how a set of them is made for one stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.detect.scene import Trigger
from pipeline.detect.triggers.abandoned import AbandonedParams, AbandonedTrigger
from pipeline.detect.triggers.crowding import CrowdingParams, CrowdingTrigger
from pipeline.detect.triggers.fall import FallParams, FallTrigger
from pipeline.detect.triggers.fire import FireParams, FireTrigger
from pipeline.detect.triggers.presence import (
    IntrusionParams,
    IntrusionTrigger,
    LoiteringParams,
    LoiteringTrigger,
)
from pipeline.detect.triggers.smoke import SmokeParams, SmokeTrigger
from pipeline.detect.triggers.traffic import TrafficParams, TrafficTrigger
from pipeline.detect.triggers.violence import ViolenceParams, ViolenceTrigger
from pipeline.types import EventType

TriggerFactory = Callable[[], Trigger]
"""Makes a fresh trigger: triggers remember, so each stream has its own."""


@dataclass(frozen=True, slots=True)
class TriggerKind:
    """A trigger class and the dataclass of its thresholds."""

    event_type: EventType
    trigger: Callable[[Any], Trigger]
    params: type[Any]


KINDS: tuple[TriggerKind, ...] = (
    TriggerKind(EventType.FALL, FallTrigger, FallParams),
    TriggerKind(EventType.FIRE, FireTrigger, FireParams),
    TriggerKind(EventType.SMOKE, SmokeTrigger, SmokeParams),
    TriggerKind(EventType.VIOLENCE, ViolenceTrigger, ViolenceParams),
    TriggerKind(EventType.TRAFFIC_ACCIDENT, TrafficTrigger, TrafficParams),
    TriggerKind(EventType.INTRUSION, IntrusionTrigger, IntrusionParams),
    TriggerKind(EventType.LOITERING, LoiteringTrigger, LoiteringParams),
    TriggerKind(EventType.CROWDING, CrowdingTrigger, CrowdingParams),
    TriggerKind(EventType.ABANDONED_OBJECT, AbandonedTrigger, AbandonedParams),
)
"""All triggers Sitrep ships."""


def make_triggers(factories: Sequence[TriggerFactory] | None = None) -> list[Trigger]:
    """One fresh trigger of each kind; all that are shipped when nothing is chosen."""
    if factories is None:
        return [kind.trigger(kind.params()) for kind in KINDS]
    return [factory() for factory in factories]
