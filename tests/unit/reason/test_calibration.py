from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.decide import Thresholds
from pipeline.errors import ConfigError
from pipeline.reason.calibration import (
    Calibrations,
    belongs,
    load_calibrations,
    read_calibration,
    sigmoid,
)
from pipeline.types import EventType


def load(tmp_path: Path, **entry: object) -> Calibrations:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"model": "m", "types": {"fall": {"n": 100, **entry}}}))
    return load_calibrations(path)


def test_platt_and_thresholds(tmp_path: Path) -> None:
    fit = load(tmp_path, a=2.0, b=-1.0, escalate_at=0.7, dismiss_below=0.3)
    read = fit.read(0.5, "m@abc", "incident@1.0.0", EventType.FALL)
    assert (read.probability, read.calibrated) == (0.5, True)
    assert read.thresholds == Thresholds(0.7, 0.3)


def test_a_candidate_without_motion_has_a_fit_of_its_own(tmp_path: Path) -> None:
    """Given a second fit for stills, when one is read, then it is used for those alone."""
    moving = {"a": 1.0, "b": 0.0, "n": 50, "escalate_at": 0.6, "dismiss_below": 0.3}
    still = {"a": 0.5, "b": -1.0, "n": 80, "escalate_at": 0.8, "dismiss_below": 0.1}
    path = tmp_path / "fit.json"
    path.write_text(
        json.dumps({"model": "m", "types": {"violence": {**moving, "still": still}, "fire": moving}})
    )
    found = load_calibrations(path)

    def read(event: EventType, still: bool) -> tuple[float, Thresholds | None]:
        one = found.read(2.0, "m", "p", event, still=still)
        return round(one.probability, 4), one.thresholds

    assert read(EventType.VIOLENCE, False) == (0.8808, Thresholds(0.6, 0.3))
    assert read(EventType.VIOLENCE, True) == (0.5, Thresholds(0.8, 0.1))
    assert read(EventType.FIRE, True) == read(EventType.FIRE, False)


def test_isotonic_rises_and_stays_in_range(tmp_path: Path) -> None:
    fit = load(tmp_path, x=[-2, 0, 3], y=[0.1, 0.2, 0.9])
    values = [fit.read(float(x), "m", "p", EventType.FALL).probability for x in np.linspace(-9, 9, 50)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.1, 0.9)


def test_without_one_the_plain_sigmoid_is_used(tmp_path: Path) -> None:
    fit = load(tmp_path, a=2.0, b=-1.0)
    for model, event in (("other", EventType.FALL), ("m2", EventType.FALL), ("m", EventType.FIRE)):
        read = fit.read(1.0, model, "p", event)
        assert (read.probability, read.calibrated, read.thresholds) == (sigmoid(1.0), False, None)


def test_a_prompts_calibration_is_for_that_prompt(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    types = {"fall": {"a": 1, "b": 0, "n": 9}}
    path.write_text(json.dumps({"model": "m", "prompt": "incident@1.0.0", "types": types}))
    fit = load_calibrations(path)
    assert fit.read(1.0, "m", "incident@1.0.0", EventType.FALL).calibrated
    assert not fit.read(1.0, "m", "incident@1.1.0", EventType.FALL).calibrated


@pytest.mark.parametrize(
    "entry",
    [
        {"a": 1.0},
        {"a": -1.0, "b": 0.0},
        {"a": 1.0, "b": 0.0, "x": [0, 1], "y": [0, 1]},
        {"x": [1, 0], "y": [0, 1]},
        {"x": [0, 1], "y": [1, 0]},
        {"x": [0, 1], "y": [0, 2]},
        {"a": 1.0, "b": 0.0, "n": 0},
        {"a": float("nan"), "b": 0.0},
    ],
)
def test_a_senseless_calibration_is_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"calibration\.json"):
        load(tmp_path, **entry)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"types": {}}'])
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_calibration(path)


def test_sigmoid_does_not_overflow() -> None:
    assert (sigmoid(1e9), sigmoid(0.0)) == (1.0, 0.5)
    assert 0 <= sigmoid(-1e9) < 1e-300


@pytest.mark.parametrize(
    ("named", "model", "holds"),
    [
        ("embedded:vlm@vision-1+heads-2", "embedded:vlm@vision-1+heads-2", True),
        ("embedded:vlm", "embedded:vlm@vision-1+heads-2", True),
        ("heads-2", "embedded:vlm@vision-1+heads-2", True),
        ("vision-1", "embedded:vlm@vision-1+heads-2", True),
        ("heads-3", "embedded:vlm@vision-1+heads-2", False),
        ("embedded:vlm@vision-1", "embedded:vlm@vision-1+heads-2", False),
        ("embedded", "embedded:vlm@vision-1+heads-2", False),
        ("openai:http://a/v1#m", "openai:http://a/v1#m2", False),
    ],
)
def test_which_model_a_calibration_is_for(named: str, model: str, holds: bool) -> None:
    assert belongs(named, model) is holds
