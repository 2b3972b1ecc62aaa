"""Names of log events of the queue: few, fixed, and the ones to search logs for."""

from enum import StrEnum


class Event(StrEnum):
    """What may be logged."""

    BROKER_STARTED = "broker.started"
    BROKER_REUSED = "broker.reused"
    BROKER_STOPPED = "broker.stopped"
    BROKER_DOWN = "broker.down"
    BROKER_RESTARTED = "broker.restarted"
    BROKER_BACK = "broker.back"
    WORKER_STARTED = "worker.started"
    WORKER_DIED = "worker.died"
    WORKER_DEAF = "worker.deaf"
    WORKER_STOPPED = "worker.stopped"
    MODEL_LOADED = "model.loaded"
    JOB_SHED = "job.shed"
    JOB_CLAIMED = "job.claimed"
    JOB_DONE = "job.done"
    JOB_RETRY = "job.retry"
    JOB_DEAD = "job.dead"
    JOB_FAILED = "job.failed"
    JOB_RELEASED = "job.released"
    RESULT_REFUSED = "result.refused"
    HEARTBEAT_FAILED = "heartbeat.failed"
    STORE_AWAY = "store.away"
    RETENTION = "retention.swept"
    RECONCILED = "reconciler.acted"
    RECONCILE_FAILED = "reconciler.failed"
