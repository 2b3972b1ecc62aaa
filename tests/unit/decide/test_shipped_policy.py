"""What the shipped policy does with alarms the model cannot judge."""

from __future__ import annotations

import pytest

from pipeline.decide.policy import DEFAULT_POLICY, load_policy
from pipeline.types import EventType


@pytest.mark.parametrize("event", [EventType.ABANDONED_OBJECT, EventType.OTHER])
def test_a_neutral_score_is_no_call(event: EventType) -> None:
    rule = load_policy(DEFAULT_POLICY).events[event]

    assert rule.escalate_at is not None
    assert rule.escalate_at > 0.5
