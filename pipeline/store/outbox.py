"""The outbox: alerts are written with the verdict, in one transaction, and delivered afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, or_, select, update

from pipeline.interfaces import Notifier
from pipeline.store.engine import insert_ignore, read, write
from pipeline.store.schema import OutboxState, outbox, utcnow

MAX_ATTEMPTS = 10
HOLD_S = 60.0
"""How long an alert is reserved for the process that delivers it."""
LONGEST_PAUSE_S = 600.0
log = structlog.get_logger(__name__)


def add(connection: Connection, alert_key: str, incident_id: str, payload: Mapping[str, Any]) -> bool:
    """Put an alert into the outbox unless its key is there already; whether it is new."""
    values = {"alert_key": alert_key, "incident_id": incident_id, "payload": dict(payload)}
    return bool(insert_ignore(connection, outbox, [values]))


def deliver(engine: Engine, notifiers: Sequence[Notifier], limit: int = 100) -> int:
    """Hand waiting alerts to every notifier; how many went out.

    An alert is marked sent after the last notifier took it. A crash in between repeats it: outside this
    process an alert is delivered at least once, with its ``alert_key`` to tell.
    """
    now = utcnow()
    due = (outbox.c.state == OutboxState.PENDING) & or_(
        outbox.c.not_before.is_(None), outbox.c.not_before <= now
    )
    with read(engine) as connection:
        waiting = connection.execute(select(outbox).where(due).order_by(outbox.c.outbox_id).limit(limit))
        rows = waiting.mappings().all()
    delivered = 0
    for row in rows:
        mine = (outbox.c.outbox_id == row["outbox_id"]) & due & (outbox.c.attempts == row["attempts"])
        reserved = {"attempts": row["attempts"] + 1, "not_before": now + timedelta(seconds=HOLD_S)}
        with write(engine) as connection:
            if not connection.execute(update(outbox).where(mine).values(reserved)).rowcount:
                continue
        error = _notify(notifiers, {**row["payload"], "alert_key": row["alert_key"]})
        with write(engine) as connection:
            values = _outcome(error, row["attempts"] + 1)
            connection.execute(update(outbox).where(outbox.c.outbox_id == row["outbox_id"]).values(values))
        delivered += error is None
    return delivered


def _notify(notifiers: Sequence[Notifier], alert: dict[str, object]) -> str | None:
    for notifier in notifiers:
        try:
            notifier.notify(alert)
        except Exception as error:
            # A notifier is foreign code; whatever it raises, the alert is tried again.
            log.warning("alert.failed", notifier=notifier.name, error=type(error).__name__)
            return f"{notifier.name}: {type(error).__name__}: {error}"
    return None


def _outcome(error: str | None, attempts: int) -> dict[str, Any]:
    if error is None:
        return {"state": OutboxState.SENT, "sent_at": utcnow(), "error": None}
    if attempts >= MAX_ATTEMPTS:
        return {"state": OutboxState.DEAD, "error": error}
    pause = min(2.0**attempts, LONGEST_PAUSE_S)
    return {"error": error, "not_before": utcnow() + timedelta(seconds=pause)}
