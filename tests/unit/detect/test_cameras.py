from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.detect.cameras import load_cameras
from pipeline.detect.catalog import KINDS
from pipeline.detect.triggers.fall import FallTrigger
from pipeline.detect.triggers.presence import IntrusionTrigger
from pipeline.errors import ConfigError

FILE = """
[default.triggers]
crowding = { people = 20 }
[yard.zones]
gate = [[0.1, 0.5], [0.6, 0.5], [0.6, 1.0]]
[yard.lines]
fence = [[0.5, 0.0], [0.5, 1.0]]
[yard.triggers]
smoke = false
intrusion = { zones = ["gate"], lines = ["fence"], direction = 1 }
fall = { descent = 1 }
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    return path


def test_a_camera_has_its_own_zones_and_thresholds(tmp_path: Path) -> None:
    cameras = load_cameras(write(tmp_path, FILE))
    yard = [factory() for factory in cameras.triggers("yard")]
    assert len(yard) == len(KINDS) - 1
    assert "smoke" not in {trigger.event_type.value for trigger in yard}
    fall = next(trigger for trigger in yard if isinstance(trigger, FallTrigger))
    assert fall.params.descent == 1.0 and isinstance(fall.params.descent, float)
    intrusion = next(trigger for trigger in yard if isinstance(trigger, IntrusionTrigger))
    assert intrusion.params.zones[0].name == "gate" and intrusion.params.lines[0].name == "fence"
    other = [factory() for factory in cameras.triggers("roof")]
    assert len(other) == len(KINDS)
    assert next(t.params.people for t in other if t.event_type.value == "crowding") == 20


def test_every_stream_gets_fresh_triggers() -> None:
    factories = load_cameras(None).triggers("any")
    assert len(factories) == len(KINDS)
    assert factories[0]() is not factories[0]()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[yard.zones]\ngate = [[0.1, 0.5]]", "gate"),
        ("[yard.zones]\ngate = [[0.1, 50], [1, 1], [0, 0]]", "gate"),
        ("[yard.triggers]\nfalls = false", "falls"),
        ("[yard.triggers]\nfall = { speed = 1 }", "speed"),
        ("[yard.triggers]\nfall = { descent = 'fast' }", "fast"),
        ("[yard.triggers]\nintrusion = { zones = ['gate'] }", "gate"),
        ("[yard]\ncolour = 1", "colour"),
        ("yard = [", "cannot be read"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_cameras(write(tmp_path, text))
    assert said in caught.value.one_line() and "\n" not in caught.value.one_line()
    with pytest.raises(ConfigError):
        load_cameras(tmp_path / "absent.toml")
