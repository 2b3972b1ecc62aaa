"""The Celery application: a factory, no global, with every setting that delivery depends on.

Celery's acknowledgement over Redis is an emulation that can lose a message when the broker dies. That is
harmless here, because a message says only "look at this job": the database is the queue of record.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from pipeline.errors import BrokerError
from pipeline.settings import Settings
from pipeline.types import Lane

JUDGE = "sitrep.judge"
PING = "sitrep.ping"
BARE = "sitrep.bare"
CONNECT_TIMEOUT_S = 2.0
SOFT_LIMIT = 0.9
"""The soft limit as a part of the hard one: time enough left to put the job back in good order."""


def queue_name(lane: Lane) -> str:
    """The broker's list of a lane."""
    return f"sitrep.{lane}"


def visibility_timeout_s(settings: Settings) -> int:
    """How long the broker waits for an acknowledgement; always beyond the hard limit of a task."""
    return int(settings.task_time_limit_s * 1.5) + 60


def create_app(settings: Settings) -> Celery:
    """A Celery application for producers and workers alike.

    Raises:
        BrokerError: ``redis_url`` is not set: start the services first, or take their settings.
    """
    if settings.redis_url is None:
        raise BrokerError("no broker is running for this data directory", hint="start one: sitrep up")
    visibility = {"visibility_timeout": visibility_timeout_s(settings)}
    app = Celery("sitrep", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(
        # json only: a broker that somebody else can write to must not be able to run code here.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        # Safe because attempts are counted in the database before the work starts.
        task_reject_on_worker_lost=True,
        task_time_limit=settings.task_time_limit_s,
        task_soft_time_limit=settings.task_time_limit_s * SOFT_LIMIT,
        task_create_missing_queues=False,
        task_queues=[_queue(lane) for lane in Lane],
        task_default_queue=queue_name(Lane.INTERACTIVE),
        task_send_sent_event=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # What a lost child did is in the database: nothing to wait for before its message goes back.
        worker_lost_wait=0.1,
        # No soft shutdown: it sleeps its whole time-out even when the work is done. SIGTERM lets the running
        # judgement finish; what is broken off later is released in the database, not by the broker.
        worker_soft_shutdown_timeout=0.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # The shortest of these three wins, so they are one.
        broker_transport_options={**visibility, **_transport_options()},
        result_backend_transport_options=visibility,
        visibility_timeout=visibility["visibility_timeout"],
    )
    return app


def _queue(lane: Lane) -> Queue:
    name = queue_name(lane)
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def _transport_options() -> dict[str, Any]:
    return {
        # Lists are asked for in the order the worker names them: live, then interactive, then archive.
        "queue_order_strategy": "priority",
        # Looked at every second instead of about every hundred.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        # A broker that vanished without a word must not hang a producer.
        "socket_timeout": 5.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
        # A producer gives up at once: the reconciler sends what could not be sent.
        "max_retries": 1,
        "interval_start": 0.0,
        "interval_step": 0.1,
        "interval_max": 0.1,
    }
