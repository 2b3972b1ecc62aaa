"""How the installation is: queue, workers, broker. For the strip on top, the JSON answer and metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from pipeline.desk import queries

QUEUE_OLD_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Health:
    """What the strip shows.

    Attributes:
        queue: Counts and ages.
        broker_up: ``False`` when it does not answer.
        worker_silent: No worker gave a sign of life within a minute.
        queue_old: Somebody's job has waited for more than two minutes.
        now: When this was read.
    """

    queue: queries.QueueState
    broker_up: bool
    worker_silent: bool
    queue_old: bool
    now: datetime

    @property
    def degraded(self) -> bool:
        """Whether the strip must warn."""
        return not self.broker_up or self.worker_silent or self.queue_old or self.queue.dead > 0

    @property
    def queue_age_s(self) -> float:
        """Seconds the oldest waiting job of people's lanes has waited; 0 when none waits."""
        return max((self.now - self.queue.oldest).total_seconds(), 0.0) if self.queue.oldest else 0.0


class BrokerProbe:
    """Asks the broker for a sign of life, at most every few seconds, never in the way of a page.

    Args:
        ping: Returns whether the broker answers; may block for a second or two.
        every_s: How long an answer is good for.
    """

    def __init__(self, ping: Callable[[], bool], every_s: float = 4.0) -> None:
        self._ping = ping
        self._every_s = every_s
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._up = True

    def up(self) -> bool:
        """The last known answer, renewed when it is old."""
        if self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._asked >= self._every_s:
                    self._up = self._ping()
                    self._asked = time.monotonic()
            finally:
                self._lock.release()
        return self._up


def look(connection: Connection, broker: BrokerProbe) -> Health:
    """Read the state of the installation."""
    now = datetime.now(UTC)
    queue = queries.queue_state(connection)
    return Health(
        queue=queue,
        broker_up=broker.up(),
        worker_silent=queue.workers == 0,
        queue_old=queue.oldest is not None and now - queue.oldest > QUEUE_OLD_AFTER,
        now=now,
    )
