"""How the queue is: depth, and age, which says more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select

from pipeline.queue.sender import Sender
from pipeline.store.engine import read
from pipeline.store.schema import JobState, jobs, outbox, utcnow, workers
from pipeline.types import Lane

WORKER_SILENT_S = 20.0


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane.

    Attributes:
        by_state: Jobs by state; all states, zeros too.
        oldest_s: Age of the longest waiting pending job in seconds, 0 when none waits.
        on_broker: Messages on the broker; ``None`` when it does not answer.
    """

    by_state: Mapping[str, int]
    oldest_s: float
    on_broker: int | None


@dataclass(frozen=True, slots=True)
class Stats:
    """The whole queue; ``alerts`` by outbox state, ``workers`` that gave a sign of life lately."""

    lanes: Mapping[str, LaneStats]
    alerts: Mapping[str, int]
    workers: int
    broker_up: bool

    def total(self, state: JobState) -> int:
        """Jobs in a state over all lanes."""
        return sum(lane.by_state[state] for lane in self.lanes.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "lanes": {
                name: {**lane.by_state, "oldest_s": round(lane.oldest_s, 3), "on_broker": lane.on_broker}
                for name, lane in self.lanes.items()
            },
            "total": {str(state): self.total(state) for state in JobState},
            "alerts": dict(self.alerts),
            "workers": self.workers,
            "broker_up": self.broker_up,
        }


def collect(engine: Engine, sender: Sender) -> Stats:
    """Count. Raises StoreError."""
    now = utcnow()
    with read(engine) as connection:
        counted = connection.execute(
            select(jobs.c.lane, jobs.c.state, func.count(), func.min(jobs.c.created_at)).group_by(
                jobs.c.lane, jobs.c.state
            )
        ).all()
        alerts = connection.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state)).all()
        seen = connection.execute(select(workers.c.seen_at).where(workers.c.stopped_at.is_(None))).scalars()
        alive = sum((now - moment).total_seconds() < WORKER_SILENT_S for moment in seen)
    table = {(lane, state): (count, first) for lane, state, count, first in counted}
    lanes = {str(lane): _lane(str(lane), table, now, sender.depth(lane)) for lane in Lane}
    return Stats(
        lanes=lanes,
        alerts={str(row[0]): int(row[1]) for row in alerts},
        workers=alive,
        broker_up=all(lane.on_broker is not None for lane in lanes.values()),
    )


def _lane(
    name: str, table: Mapping[tuple[str, str], tuple[int, datetime]], now: datetime, on_broker: int | None
) -> LaneStats:
    by_state = {str(state): table.get((name, state), (0, now))[0] for state in JobState}
    oldest = table.get((name, JobState.PENDING), (0, now))[1]
    return LaneStats(by_state, max(0.0, (now - oldest).total_seconds()), on_broker)
