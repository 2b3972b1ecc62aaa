"""What a worker's event loop does beside its work: signs of life, a look after its child and its credit."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from pipeline.settings import Settings

SIGN_OF_LIFE_S = 5.0
CHECK_S = 0.2


def add_pulse(app: Celery, settings: Settings, group: str) -> None:
    """Have the worker's event loop give signs of life, look after its child and notice lost acknowledgements.

    On the event loop and not in a thread: a thread could hold one of SQLite's locks in the moment a child is
    forked, and the child would wait for it for ever. As a step of the consumer and not by the
    ``worker_ready`` signal: timers are cleared whenever the broker was away, and steps are started again.
    """
    from celery import bootsteps

    from pipeline.errors import StoreError
    from pipeline.store import workers
    from pipeline.store.engine import open_store

    engine = open_store(settings, migrate=False)

    def beat() -> None:
        # The next sign of life will do; the queue itself does not depend on this one.
        with contextlib.suppress(StoreError):
            workers.seen(engine, group, model=settings.model, pid=os.getpid())

    class Pulse(bootsteps.StartStopStep):  # type: ignore[misc,unused-ignore]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            beat()
            consumer.timer.call_repeatedly(SIGN_OF_LIFE_S, beat)
            # By itself the pool returns the message of a dead child only at its next round, in five seconds.
            consumer.timer.call_repeatedly(CHECK_S, consumer.pool.maintain_pool)
            consumer.timer.call_repeatedly(CHECK_S, Credit(consumer).check)

    app.steps["consumer"].add(Pulse)


class Credit:
    """Notices that a consumer waits for ever for room which only a lost acknowledgement would have made.

    When the broker goes away while a task runs, its acknowledgement fails, and Celery only logs that. The
    message then counts as being worked on for as long as the connection lives: with room for one message
    nothing is asked for any more, so nothing tells that the connection is gone either, and the worker is
    idle for ever. A new connection begins with a clean count.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._was_spent = False

    def check(self) -> None:
        """Look; to be called from the event loop, which takes the error for a lost connection.

        Raises:
            ConnectionResetError: Twice in a row nothing was being worked on, and yet there was no room.
        """
        spent = self._spent()
        # Twice, since an acknowledgement may just be on its way.
        if spent and self._was_spent:
            raise ConnectionResetError("an acknowledgement was lost with the connection")
        self._was_spent = spent

    def _spent(self) -> bool:
        from celery.worker import state

        tasks = self._consumer.task_consumer
        if tasks is None or state.reserved_requests or state.active_requests:
            return False
        return not tasks.channel.qos.can_consume()
