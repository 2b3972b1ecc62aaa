"""Sends the news of a job. Failing is allowed: the job is committed, the reconciler sends again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from pipeline.queue.events import Event
from pipeline.settings import Settings
from pipeline.types import Lane

if TYPE_CHECKING:
    from celery import Celery

PAUSE_S = 2.0
"""After a failure nothing is tried for so long: a broker that is away must not slow ingest down."""
log = structlog.get_logger(__name__)


class Sender:
    """Sends job ids; threads may share one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None
        self._lock = threading.Lock()
        self._closed_until = 0.0

    @property
    def app(self) -> Celery:
        """The Celery application, made when first needed."""
        with self._lock:
            if self._app is None:
                from pipeline.queue.app import create_app

                self._app = create_app(self._settings)
            return self._app

    def send(self, job_id: str, lane: Lane) -> bool:
        """Send the message of a job; whether the broker took it. Never raises for a broker that is away."""
        from pipeline.queue.app import JUDGE, queue_name

        if time.monotonic() < self._closed_until:
            return False
        try:
            self.app.send_task(JUDGE, args=[job_id], queue=queue_name(lane), retry=False, ignore_result=True)
        except Exception as error:
            # Client, transport and socket each have their own errors for "away"; all mean: not sent.
            if not self._closed_until:
                log.warning(Event.BROKER_DOWN, error=type(error).__name__)
            self._closed_until = time.monotonic() + PAUSE_S
            return False
        if self._closed_until:
            log.warning(Event.BROKER_BACK)
            self._closed_until = 0.0
        return True

    def depth(self, lane: Lane) -> int | None:
        """How many messages wait on the broker in a lane; ``None`` when it does not answer."""
        from pipeline.queue.app import queue_name

        if time.monotonic() < self._closed_until:
            return None
        try:
            with self.app.pool.acquire(block=True) as connection:
                return int(connection.default_channel.client.llen(queue_name(lane)))
        except Exception as error:
            log.warning(Event.BROKER_DOWN, error=type(error).__name__)
            self._closed_until = time.monotonic() + PAUSE_S
            return None

    def next_message(self) -> bytes | None:
        """The message a worker would get next; ``None`` when none waits or the broker does not answer."""
        from pipeline.queue.app import queue_name

        if time.monotonic() < self._closed_until:
            return None
        try:
            with self.app.pool.acquire(block=True) as connection:
                client = connection.default_channel.client
                # Messages go in on the left and come out on the right, the most urgent lane first.
                found = (client.lindex(queue_name(lane), -1) for lane in Lane)
                return next((message for message in found if message is not None), None)
        except Exception as error:
            if not self._closed_until:
                log.warning(Event.BROKER_DOWN, error=type(error).__name__)
            self._closed_until = time.monotonic() + PAUSE_S
            return None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._app is not None:
                self._app.close()
                self._app = None
