"""The sizing simulation against queueing theory, and the city's figures against the published ones."""

from __future__ import annotations

import math

import pytest

from pipeline.bench import sizing
from pipeline.bench.sizing import DAY_S, MONTH_DAYS, SPREAD, Load, seoul, simulate


def test_the_profile_averages_one():
    assert len(sizing.PROFILE) == 24
    assert sum(sizing.PROFILE) / 24 == pytest.approx(1)


def test_published_figures_become_alarm_rates():
    before, after = seoul(1.0), seoul(1.0, before=False)
    assert before.alarms_a_month * 0.64 == pytest.approx(4.54e6)
    assert after.alarms_a_month * 0.19 == pytest.approx(0.35e6)
    assert before.mean_rate == pytest.approx(2.70, abs=0.01)


def test_one_worker_waits_as_pollaczek_and_khinchine_say(monkeypatch):
    # Given a steady Poisson stream that keeps one worker 70 % busy
    monkeypatch.setattr(sizing, "PROFILE", (1.0,) * 24)
    seconds, busy = 1.0, 0.7
    load = Load(1, busy / seconds * MONTH_DAYS * DAY_S, seconds, burst=1.0)
    waits = []

    def keep(arrivals_waits, quantiles):
        waits.append(arrivals_waits.mean())
        return sizing_quantile(arrivals_waits, quantiles)

    sizing_quantile = sizing.np.quantile
    monkeypatch.setattr(sizing.np, "quantile", keep)
    for seed in range(4):
        day = simulate(load, 1, seed=seed)
        assert day.busy == pytest.approx(busy, abs=0.03)
    # Then the mean wait is rate x E[S^2] / (2 (1 - busy)), E[S^2] of the log-normal
    square = seconds**2 * math.exp(SPREAD**2)
    expected = (busy / seconds) * square / (2 * (1 - busy))
    assert sum(waits[::2]) / 4 == pytest.approx(expected, rel=0.12)


def test_more_workers_never_wait_longer_and_the_same_seed_is_the_same_day():
    load = seoul(1.0, before=False)
    few, many = simulate(load, load.workers()), simulate(load, 3 * load.workers())
    assert few.alarms == many.alarms
    assert many.wait_p99 <= few.wait_p99
    assert simulate(load, 2, seed=5) == simulate(load, 2, seed=5)


def test_the_rule_is_the_published_one():
    load = Load(10, 3.0 * MONTH_DAYS * DAY_S / max(sizing.PROFILE), 2.0)
    assert load.peak_rate == pytest.approx(3.0)
    assert load.workers() == math.ceil(3.0 * 2.0 * 1.4)
