from __future__ import annotations

import itertools
import math

import pytest

from pipeline.ingest.clock import Sampler, StreamClock, believable_fps


def test_missing_timestamps_fall_back_to_the_frame_rate() -> None:
    clock = StreamClock(10.0)
    assert [clock.tick(0.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    clock = StreamClock(10.0)
    assert [clock.tick(raw) for raw in (0.0, math.nan, math.inf)] == pytest.approx([0.0, 0.1, 0.2])


def test_late_frame_is_bridged_and_the_next_is_believed() -> None:
    clock = StreamClock(10.0)
    times = [clock.tick(raw) for raw in (5.0, 5.1, 5.05, 5.3)]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_clock_that_starts_again_goes_on() -> None:
    clock = StreamClock(10.0)
    times = [clock.tick(raw) for raw in (0.0, 5.0, 0.0, 0.1, 0.2)]
    assert times == pytest.approx([0.0, 5.0, 5.1, 5.2, 5.3])


def test_times_always_rise() -> None:
    clock = StreamClock(25.0)
    raws = [0, 1, 1, 0.5, 9, 2, 2.04, 2.04, 2.0, 100, 3, math.nan, 3.1]
    times = [clock.tick(raw) for raw in raws]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


def test_sampler_keeps_the_rate_after_a_gap() -> None:
    sampler = Sampler(5.0)
    picked = [t for t in (0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 5.2, 5.3, 5.4) if sampler.wants(t)]
    assert picked == [0.0, 0.2, 5.0, 5.1, 5.3] or picked == [0.0, 0.2, 5.0, 5.2, 5.4]


def test_unbelievable_rates() -> None:
    assert believable_fps(0.0) == believable_fps(math.nan) == believable_fps(90000.0) == 25.0
    assert believable_fps(29.97) == 29.97
