"""Frigate's payload shapes and the rules over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.frigate import event, review

from pipeline.errors import ConfigError, InboundError
from pipeline.inbound.frigate.messages import Config, read_event, read_review
from pipeline.inbound.frigate.rules import Rules, load_rules
from pipeline.types import EventType


def test_messages_are_read_and_unknown_keys_ignored() -> None:
    read = read_event(json.dumps(event("update", "1795560000.25-abc", at_s=2.0, velocity_angle=180)).encode())
    assert (read.type, read.after.camera, read.after.best_score) == ("update", "garden", 0.8125)
    assert read.after.zones == ("lawn",) and read.after.end_time is None
    item = read_review(json.dumps(review("end", "1795560000.5-x", ["1795560000.25-abc"], ended_s=3)).encode())
    assert item.after.data.detections == ("1795560000.25-abc",)
    assert item.after.end_time == pytest.approx(1795560003.5)
    sizes = Config.model_validate({"cameras": {"a": {"detect": {"width": 640, "height": 480}}, "b": {}}})
    assert sizes.size("a") == (640, 480) and sizes.size("b") is None and sizes.size("c") is None


@pytest.mark.parametrize(
    "payload",
    [b"", b"online", b"[]", b'{"type": "new"}', json.dumps(event("new", "1.5-x", camera="../x")).encode()],
)
def test_other_payloads_are_one_line(payload: bytes) -> None:
    with pytest.raises(InboundError) as caught:
        read_event(payload)
    assert "\n" not in caught.value.one_line() and "frigate/events" in caught.value.one_line()


def test_defaults_and_the_first_rule_that_matches() -> None:
    shipped = Rules()
    person = shipped.match("yard", "person", ("gate",), 0.7)
    assert person is not None and person.event_type is EventType.INTRUSION
    assert shipped.match("yard", "person", (), 0.9) is None
    fire = shipped.match("yard", "fire", (), 0.2)
    assert fire is not None and fire.event_type is EventType.FIRE
    assert shipped.match("yard", "dog", ("gate",), 0.9) is None


def test_a_rules_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules:\n"
        "  - {labels: [person], cameras: ['roof-*'], zones: [edge], event_type: intrusion, min_score: 0.6}\n"
        "  - {labels: ['*'], event_type: other}\n"
    )
    rules = load_rules(file)
    found = [
        rules.match(camera, "person", zones, score)
        for camera, zones, score in (
            ("roof-1", ("edge",), 0.7),
            ("roof-1", ("edge",), 0.5),
            ("x", ("edge",), 0.9),
        )
    ]
    assert [rule.event_type if rule else None for rule in found] == ["intrusion", "other", "other"]
    for text, said in (
        ("rule: []", "rule: Extra inputs"),
        ("rules: []", "at least 1"),
        ("rules: [{labels: [x], event_type: flood}]", "event_type"),
        ("rules: [", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_rules(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
