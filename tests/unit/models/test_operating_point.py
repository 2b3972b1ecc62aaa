"""The probability below which alarms are dismissed."""

from __future__ import annotations

import numpy as np
import pytest

from models.train.vision_calibrate import CEILING, KEEP, dismiss_point


def names(count: int, start: int = 0) -> list[str]:
    return [f"scene {start + index}" for index in range(count)]


def test_the_point_keeps_what_it_promises_and_cuts_as_much_as_it_may() -> None:
    scores = np.random.default_rng(3).uniform(0, CEILING, 400)
    point = dismiss_point([(scores, names(400))])
    assert np.mean(scores >= point) == pytest.approx(KEEP, abs=1 / 400)
    assert np.mean(scores > point) < KEEP


def test_few_scenes_allow_no_miss() -> None:
    scores = np.linspace(0.1, 0.4, 19)
    assert dismiss_point([(scores, names(19))]) == pytest.approx(0.1)


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
