"""How many workers a city needs: the rule of thumb, and a simulation of a day that checks it.

Rule (published with NVIDIA's alert verification service): workers = peak candidates a second x seconds a
candidate x 1.4. The simulation draws a day of alarms (a Poisson stream whose rate follows the hour, with a
rain burst), serves them first come first served by equal workers, and reports how old a candidate is
when it is claimed and when its verdict is there.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADROOM = 1.4
DAY_S = 86_400
MONTH_DAYS = 30.4
SPREAD = 0.35
"""Spread of the time a candidate takes, as the sigma of a log-normal."""

PROFILE = (
    0.45, 0.35, 0.30, 0.30, 0.40, 0.60, 0.85, 1.10, 1.25, 1.20, 1.15, 1.15,
    1.20, 1.20, 1.20, 1.25, 1.35, 1.55, 1.70, 1.60, 1.40, 1.20, 0.85, 0.40,
)  # fmt: skip
"""Assumed alarms by hour over the day's mean; they average 1. No city publishes its own."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in and what it takes.

    Attributes:
        cameras: Cameras with detectors.
        alarms_a_month: Alarms of all of them together.
        seconds: Mean seconds a worker spends on a candidate.
        burst: Factor on the rate while it lasts (rain, snow, a firework).
        burst_s: How long it lasts.
    """

    cameras: int
    alarms_a_month: float
    seconds: float
    burst: float = 2.0
    burst_s: float = 1800.0

    @property
    def mean_rate(self) -> float:
        """Alarms a second over the month."""
        return self.alarms_a_month / (MONTH_DAYS * DAY_S)

    @property
    def peak_rate(self) -> float:
        """Alarms a second in the busiest hour."""
        return self.mean_rate * max(PROFILE)

    def workers(self) -> int:
        """Workers by the rule, from the busiest hour."""
        return max(1, math.ceil(self.peak_rate * self.seconds * HEADROOM))


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day: alarms, busy share of the workers, seconds waited and to the verdict."""

    alarms: int
    workers: int
    busy: float
    wait_p50: float
    wait_p95: float
    wait_p99: float
    wait_max: float
    verdict_p95: float


def seoul(seconds: float, *, before: bool = True) -> Load:
    """The city's published figures: 4.54 M false alerts a month at 36 % accuracy, then 0.35 M at 81 %.

    Reading accuracy as the share of alerts that were right, alerts = false / (1 - accuracy).
    """
    false, accuracy = (4.54e6, 0.36) if before else (0.35e6, 0.81)
    return Load(57_000, false / (1 - accuracy), seconds)


def simulate(load: Load, workers: int, *, seed: int = 0) -> Day:
    """One day, first come first served."""
    source = np.random.default_rng(seed)
    arrivals = _arrivals(load, source)
    sigma = SPREAD
    took = source.lognormal(math.log(load.seconds) - sigma**2 / 2, sigma, len(arrivals))
    free = [0.0] * workers
    waits = np.empty(len(arrivals))
    for number, (arrival, service) in enumerate(zip(arrivals.tolist(), took.tolist(), strict=True)):
        begin = max(arrival, free[0])
        waits[number] = begin - arrival
        heapq.heapreplace(free, begin + service)
    p50, p95, p99 = np.quantile(waits, [0.5, 0.95, 0.99])
    return Day(
        alarms=len(arrivals),
        workers=workers,
        busy=float(took.sum() / (workers * DAY_S)),
        wait_p50=float(p50),
        wait_p95=float(p95),
        wait_p99=float(p99),
        wait_max=float(waits.max()),
        verdict_p95=float(np.quantile(waits + took, 0.95)),
    )


def _arrivals(load: Load, source: np.random.Generator) -> NDArray[np.float64]:
    """Times of a day's alarms: thinning of a Poisson stream of the highest rate (Lewis & Shedler 1979)."""
    highest = load.peak_rate * load.burst
    times = np.sort(source.uniform(0, DAY_S, source.poisson(highest * DAY_S)))
    hour = (times // 3600).astype(int)
    rate = load.mean_rate * np.array(PROFILE)[hour]
    begins = int(np.argmax(PROFILE)) * 3600.0
    raining = (times >= begins) & (times < begins + load.burst_s)
    rate = np.where(raining, rate * load.burst, rate)
    return np.asarray(times[source.uniform(0, highest, len(times)) < rate], np.float64)


def run(
    seconds: Sequence[float] = (0.4, 1.0, 1.8),
    cores_a_worker: float = 2.0,
    price_a_core_hour: float = 0.04,
    seed: int = 0,
) -> dict[str, Any]:
    """A table of loads: by the rule, and simulated with half, all and 1.5 times the rule's workers."""
    rows = []
    for before in (True, False):
        for one in seconds:
            load = seoul(one, before=before)
            for share in (0.5, 1.0, 1.5):
                workers = max(1, round(load.workers() * share))
                day = simulate(load, workers, seed=seed)
                cores = workers * cores_a_worker
                rows.append(
                    {
                        "alarms_a_month": round(load.alarms_a_month),
                        "mean_rate": round(load.mean_rate, 3),
                        "peak_rate": round(load.peak_rate, 3),
                        "seconds": one,
                        "workers": workers,
                        "of_rule": share,
                        "busy": round(day.busy, 3),
                        "wait_p50_s": round(day.wait_p50, 2),
                        "wait_p95_s": round(day.wait_p95, 2),
                        "wait_p99_s": round(day.wait_p99, 2),
                        "wait_max_s": round(day.wait_max, 1),
                        "verdict_p95_s": round(day.verdict_p95, 2),
                        "cores": cores,
                        "machines_of_16_cores": math.ceil(cores / 16),
                        "cost_a_month": round(cores * price_a_core_hour * 24 * MONTH_DAYS),
                    }
                )
    return {"rows": rows, "cores_a_worker": cores_a_worker, "price_a_core_hour": price_a_core_hour}


__all__ = ["Day", "Load", "run", "seoul", "simulate"]
