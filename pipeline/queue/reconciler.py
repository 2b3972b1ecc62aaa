"""Mends what was lost: messages the broker dropped, leases nobody extends, alerts not yet delivered.

Now and then it removes what is older than the site keeps. Any number may run; a lease in the database lets
one act.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

import structlog
from sqlalchemy import Engine, or_, select, update

from pipeline.errors import SitrepError
from pipeline.interfaces import Notifier
from pipeline.notify import build_notifiers
from pipeline.queue import work
from pipeline.queue.events import Event
from pipeline.queue.sender import Sender
from pipeline.settings import Settings
from pipeline.store import jobs, outbox, retention
from pipeline.store.engine import insert_ignore, read, write
from pipeline.store.frames import open_frame_store
from pipeline.store.jobs import Job
from pipeline.store.schema import JobState, leases, utcnow
from pipeline.store.schema import jobs as jobs_table
from pipeline.types import Lane

NAME = "reconciler"
BATCH = 500
LAST_ALERTS = 10
FIRST_SWEEP_S = 60.0
"""Not while a short-lived command has better things to do."""
SWEEP_EVERY_S = 3600.0
QUICK_S = 0.5
"""How often jobs whose pause is over and alerts are looked for: two indexed queries."""
log = structlog.get_logger(__name__)


class Reconciler:
    """Acts every ``reconcile_every_s`` in a thread of its own, or once by :meth:`act`."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        sender: Sender,
        notifiers: Sequence[Notifier] = (),
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._sender = sender
        self._notifiers = list(notifiers) or build_notifiers(settings)
        self._next_sweep = time.monotonic() + FIRST_SWEEP_S
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Act in the background until :meth:`stop`."""
        self._thread = threading.Thread(target=self._loop, name=NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and let another one act at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None
        try:
            # The last verdict of a scan must not wait for the next start to be told; a receiver that hangs
            # must not keep the scan from ending, so only a few are tried.
            if self.on_duty():
                outbox.deliver(self._engine, self._notifiers, limit=LAST_ALERTS)
            with write(self._engine) as connection:
                mine = (leases.c.name == NAME) & (leases.c.holder == self.holder)
                connection.execute(update(leases).where(mine).values(until=utcnow()))
        except SitrepError as error:
            log.warning(Event.RECONCILE_FAILED, error=error.message)

    def _loop(self) -> None:
        every = self._settings.reconcile_every_s
        quick = min(QUICK_S, every)
        since_full = every
        while True:
            try:
                if self.on_duty():
                    if since_full >= every:
                        since_full = 0.0
                        self.act()
                    else:
                        self.act_quickly()
            except SitrepError as error:
                # The database is away: there is nothing to mend until it is back.
                log.error(Event.RECONCILE_FAILED, error=error.message)
            if self._stop.wait(quick):
                return
            since_full += quick

    def on_duty(self) -> bool:
        """Take or keep the lease; whether it is ours."""
        now = utcnow()
        until = now + timedelta(seconds=max(5.0, 2 * self._settings.reconcile_every_s))
        renew_from = now + (until - now) / 2
        with read(self._engine) as connection:
            row = connection.execute(select(leases).where(leases.c.name == NAME)).first()
        if row is not None and row.until > now:
            if row.holder != self.holder:
                return False
            if row.until > renew_from:
                return True
        with write(self._engine) as connection:
            values = {"name": NAME, "holder": self.holder, "until": until}
            if insert_ignore(connection, leases, [values]):
                return True
            free = or_(leases.c.holder == self.holder, leases.c.until <= now)
            statement = update(leases).where(leases.c.name == NAME, free).values(values)
            return bool(connection.execute(statement).rowcount)

    def act(self) -> dict[str, int]:
        """One full round; how many of what it mended."""
        released = work.release(
            self._engine, self._settings, jobs.expired(), error="the worker stopped extending its lease"
        )
        mended = {"released": len(released), **self.act_quickly(), "resent": self._resend_lost()}
        if any(mended.values()):
            log.info(Event.RECONCILED, **mended)
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_EVERY_S
            frame_store = open_frame_store(self._settings)
            removed = retention.sweep(self._engine, frame_store, self._settings.retention_days)
            log.info(Event.RETENTION, **asdict(removed))
        return mended

    def act_quickly(self) -> dict[str, int]:
        """Send what was never sent or whose pause is over, deliver alerts."""
        now = utcnow()
        due = or_(jobs_table.c.not_before.is_(None), jobs_table.c.not_before <= now)
        sent = self._send(self._pending(jobs_table.c.sent_at.is_(None) & due))
        return {"sent": sent, "alerts": outbox.deliver(self._engine, self._notifiers)}

    def _resend_lost(self) -> int:
        """Send again what waits in the database but not on the broker.

        Only lanes whose list on the broker is shorter than their jobs in the database can have lost any;
        otherwise a long backlog would be sent again and again.
        """
        before = utcnow() - timedelta(seconds=self._settings.reconcile_every_s)
        count = 0
        for lane in Lane:
            mine = jobs_table.c.lane == str(lane)
            with read(self._engine) as connection:
                waiting = connection.execute(
                    select(jobs_table.c.job_id)
                    .where(jobs_table.c.state == JobState.PENDING, mine, jobs_table.c.sent_at.is_not(None))
                    .limit(BATCH * 100)
                ).all()
            if not waiting:
                continue
            on_broker = self._sender.depth(lane)
            if on_broker is None or on_broker >= len(waiting):
                continue
            count += self._send(self._pending(mine & (jobs_table.c.sent_at < before)))
        return count

    def _pending(self, where: object) -> list[Job]:
        query = (
            select(jobs_table)
            .where(jobs_table.c.state == JobState.PENDING, where)  # type: ignore[arg-type]
            .order_by(jobs_table.c.created_at)
            .limit(BATCH)
        )
        with read(self._engine) as connection:
            return [jobs.from_row(row) for row in connection.execute(query).mappings()]

    def _send(self, waiting: Sequence[Job]) -> int:
        return send_all(self._engine, self._sender, waiting)


def send_all(engine: Engine, sender: Sender, waiting: Sequence[Job]) -> int:
    """Send the messages of jobs and note it; how many the broker took."""
    sent: list[str] = []
    for job in waiting:
        if not sender.send(job.job_id, job.lane):
            break
        sent.append(job.job_id)
    if sent:
        with write(engine) as connection:
            jobs.sent(connection, sent, utcnow())
    return len(sent)
