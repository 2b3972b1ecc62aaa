"""Worker groups and their signs of life."""

from __future__ import annotations

import socket

from sqlalchemy import Connection, Engine, select, update

from pipeline.store.engine import upsert, write
from pipeline.store.schema import utcnow, workers


def seen(engine: Engine, worker_id: str, *, model: str, pid: int) -> None:
    """Note that a worker group is alive."""
    now = utcnow()
    values = {
        "worker_id": worker_id,
        "host": socket.gethostname(),
        "pid": pid,
        "model": model,
        "started_at": now,
        "seen_at": now,
        "stopped_at": None,
    }
    with write(engine) as connection:
        upsert(connection, workers, values, key="worker_id", keep=("started_at",))


def is_known(connection: Connection, worker_id: str) -> bool:
    """Whether a worker group ever gave a sign of life."""
    query = select(workers.c.worker_id).where(workers.c.worker_id == worker_id)
    return connection.execute(query).first() is not None


def stopped(engine: Engine, worker_id: str) -> None:
    """Note that a worker group is gone."""
    with write(engine) as connection:
        connection.execute(
            update(workers).where(workers.c.worker_id == worker_id).values(stopped_at=utcnow())
        )
