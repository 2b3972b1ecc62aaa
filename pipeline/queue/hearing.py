"""Tells a deaf worker, to which no message gets through any more, from one that is busy or has no work.

A consumer can lose its connection in ways that neither it nor its libraries notice, and a process can hang
before it takes its first job: the worker lives and does nothing while jobs wait. Whatever the cause, it shows
from outside, and a new worker mends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from pipeline.queue.sender import Sender
from pipeline.store import jobs, workers
from pipeline.store.engine import read

LOOK_S = 1.0
DEAF_S = 20.0
"""Longer than the transport takes to notice by itself that a connection has gone silent (11 s)."""
SHARED_S = 60.0
"""The same while others take messages: between two short jobs a worker may be seen idle by chance."""
GAP_S = 5.0
"""After so long without a look everything was asleep, the workers too: begin anew."""
BOOT_S = 120.0
"""The same for a worker that has never yet given a sign of life."""


class Hearing:
    """Looks at workers from outside, one look every :data:`LOOK_S` seconds.

    A worker is deaf when at every look over a long time the broker held messages and the worker held no job:
    either the next message was the same one all the time, or the time is too long for chance.

    Args:
        engine: The store.
        sender: To look at the broker.
        clock: Seconds that never go back.
    """

    def __init__(self, engine: Engine, sender: Sender, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._sender = sender
        self._clock = clock
        self._next: bytes | None = None
        self._next_since = 0.0
        self._looked = 0.0
        self._idle_since: dict[str, float] = {}

    def deaf(self, groups: Sequence[str]) -> list[str]:
        """Look once; those of the worker groups that are deaf.

        Raises:
            StoreError: The database is away.
        """
        waiting = self._sender.next_message()
        now = self._clock()
        if waiting is None or now - self._looked > GAP_S:
            # Nothing waits, or the broker is away: no worker can be blamed for doing nothing.
            self._next = None
            self._idle_since.clear()
        self._looked = now
        if waiting is None:
            return []
        if waiting != self._next:
            self._next, self._next_since = waiting, now
        with read(self._engine) as connection:
            idle = [group for group in groups if not jobs.any_running(connection, jobs.of_group(group))]
            ready = {group for group in idle if workers.is_known(connection, group)}
        self._idle_since = {group: self._idle_since.get(group, now) for group in idle}
        return [group for group in idle if self._is_deaf(group, group in ready, now)]

    def _is_deaf(self, group: str, ready: bool, now: float) -> bool:
        idle = now - self._idle_since[group]
        if not ready:
            return idle >= BOOT_S
        return idle >= SHARED_S or min(idle, now - self._next_since) >= DEAF_S
