"""The probability below which alarms are dismissed, and what it promises."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.embedded.report_facts import LIKELY_PROBABILITY
from models.embedded.vision import WEIGHTS_DIR
from models.train.vision_calibrate import (
    CEILING,
    CONFIDENCE,
    KEEP,
    LEARN,
    calibrate,
    dismiss_point,
    own_point,
)


def names(count: int, start: int = 0) -> list[str]:
    return [f"scene {start + index}" for index in range(count)]


def test_few_scenes_allow_no_miss() -> None:
    """13 scenes cannot promise to keep 95 %, at even odds, with one miss: the least score is the point."""
    scores = np.linspace(0.1, 0.4, 13)
    assert dismiss_point([(scores, names(13))]) == pytest.approx(0.1)
    assert dismiss_point([(np.linspace(0.1, 0.4, 58), names(58))]) > 0.1


def test_the_point_keeps_what_it_promises_of_scenes_never_seen() -> None:
    """Drawn many times from one kind of scene, points keep 95 % of it as often as promised, or oftener."""
    random = np.random.default_rng(3)
    points = np.array([dismiss_point([(random.uniform(0, CEILING, 300), names(300))]) for _ in range(400)])
    kept_enough = np.mean(points / CEILING <= 1 - KEEP)
    assert CONFIDENCE - 0.07 <= kept_enough < CONFIDENCE + 0.15


def test_a_scene_counts_once_however_often_it_was_flagged() -> None:
    scores = np.linspace(0.1, 0.4, 200)
    once = dismiss_point([(scores, names(200))])
    often = np.concatenate([scores, np.full(500, 0.4)])
    assert dismiss_point([(often, [*names(200), *["scene 199"] * 500])]) == pytest.approx(once)


def test_types_share_the_point_and_nothing_likely_is_dismissed() -> None:
    low, high = np.linspace(0.1, 0.4, 200), np.linspace(0.6, 0.9, 200)
    both = dismiss_point([(low, names(200)), (high, names(200, 200))])
    assert dismiss_point([(low, names(200))]) < both < CEILING
    assert dismiss_point([(high, names(200))]) == CEILING


def test_no_type_pays_for_the_others() -> None:
    """Given a dozen scenes of one type, then its least real alarm stays; of forty, two may go."""
    few, many = np.linspace(0.2, 0.9, 12), np.linspace(0.2, 0.9, 40)
    assert own_point(few, names(12)) == pytest.approx(0.2)
    assert own_point(many, names(40)) == pytest.approx(many[2])
    assert own_point(np.array([0.2, 0.3, 0.9]), ["a", "a", "b"]) == pytest.approx(0.2)


def test_nobody_is_called_for_what_reports_leave_unclear() -> None:
    """Given well separated alarms, then a person is called from where reports say "probable", not before."""
    random = np.random.default_rng(5)
    rows = [
        {"split": LEARN, "truth": real, "log_odds": float(random.normal(5 if real else -5)), "group": f"{i}"}
        for i, real in enumerate([True, False] * 40)
    ]
    assert calibrate(rows)["escalate_at"] == LIKELY_PROBABILITY
    shipped = json.loads((WEIGHTS_DIR / "calibration.json").read_text())["types"]
    taught = [entry for entry in shipped.values() if f"auc_{LEARN}" in entry]
    points = [part["escalate_at"] for entry in taught for part in (entry, entry.get("still", entry))]
    assert len(points) >= 12 and min(points) >= LIKELY_PROBABILITY
