"""One group of cameras as a process: ``python -m pipeline.watch.process``, started by :class:`Watch`.

It is told its sources on standard input, one JSON object a line (addresses hold passwords, which have no
place on a command line), and says on standard output what happens. When its input ends, it lets the sources
go.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from datetime import timedelta
from typing import Any

import structlog

from pipeline import settings as settings_module
from pipeline.detect import build_stage1
from pipeline.errors import SitrepError
from pipeline.queue.api import Queue
from pipeline.store import cameras
from pipeline.store.engine import open_store, write
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import utcnow
from pipeline.types import Candidate, Lane
from pipeline.watch.group import CameraGroup, CameraReport

REPORT_S = 2.0
RETRY_S = 1.0
log = structlog.get_logger(__name__)


class _Outlet:
    """Candidates on their way into the queue; those the database refuses are kept and tried again."""

    def __init__(self, queue: Queue, run_id: str) -> None:
        self._queue, self._run_id = queue, run_id
        self._waiting: deque[Candidate] = deque()
        self._tried_at = 0.0

    def submit(self, candidate: Candidate) -> None:
        self._waiting.append(candidate)
        self.flush()

    def flush(self, *, force: bool = False) -> bool:
        """Whether nothing waits any more."""
        if self._waiting and (force or time.monotonic() - self._tried_at > RETRY_S or not self._tried_at):
            try:
                while self._waiting:
                    params = {"run": self._run_id}
                    job = self._queue.submit(
                        self._waiting[0], lane=Lane.LIVE, run_id=self._run_id, params=params
                    )
                    self._waiting.popleft()
                    say(job=job.job_id, candidate=job.candidate_id)
                self._tried_at = 0.0
            except SitrepError as error:
                log.warning("candidate.waits", waiting=len(self._waiting), error=str(error))
                self._tried_at = time.monotonic()
        return not self._waiting


def say(**what: Any) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def camera_row(report: CameraReport, run_id: str) -> dict[str, Any]:
    """A report as a row of ``cameras``."""
    health, now = report.health, utcnow()
    return {
        "camera": report.camera[:200],
        "run_id": run_id,
        "uri": report.uri,
        "state": health.state,
        "reason": health.reason,
        "frame_at": now - timedelta(seconds=report.frame_age_s) if health.received else None,
        "frames": health.received,
        "sampled": health.sampled,
        "dropped": health.dropped,
        "looks": report.looks,
        "skipped": report.skipped,
        "reconnects": health.reconnects,
        "gaps": health.gaps,
        "gap_s": round(health.gap_s, 3),
        "lag_s": round(report.lag_s, 3),
    }


def gap_rows(report: CameraReport, run_id: str) -> list[dict[str, Any]]:
    """The gaps of a report as rows of ``camera_gaps``."""
    now = utcnow()
    return [
        {
            "camera": report.camera[:200],
            "run_id": run_id,
            "reason": gap.reason,
            "start_at": now - timedelta(seconds=age_s + gap.end_s - gap.start_s),
            "end_at": now - timedelta(seconds=age_s),
        }
        for gap, age_s in report.gaps
    ]


class _Books:
    """Writes reports to the database; what it refuses is written later."""

    def __init__(self, queue: Queue, run_id: str) -> None:
        self._queue, self._run_id = queue, run_id
        self._gaps: list[dict[str, Any]] = []
        self._written_at = 0.0
        self._states: dict[str, str] = {}

    def write(self, group: CameraGroup, *, force: bool = False) -> None:
        if not force and time.monotonic() - self._written_at < REPORT_S:
            return
        self._written_at = time.monotonic()
        reports = group.reports()
        for report in reports:
            self._gaps += gap_rows(report, self._run_id)
            if self._states.get(report.camera, "opening") != report.health.state:
                say(camera=report.camera, state=report.health.state, reason=report.health.reason)
            self._states[report.camera] = report.health.state
        try:
            with write(self._queue.engine) as connection:
                cameras.put(connection, [camera_row(report, self._run_id) for report in reports])
                cameras.add_gaps(connection, self._gaps)
            self._gaps = []
        except SitrepError as error:
            log.warning("cameras.unwritten", error=str(error))


def main() -> None:
    """Watch until told to stop or nothing is left to watch."""
    from pipeline.ingest.quiet import cv2
    from pipeline.queue.logs import configure

    settings = settings_module.current()
    configure(settings.log_level)
    threads = settings.detect_threads or 1
    cv2.setNumThreads(threads)
    first = json.loads(sys.stdin.readline())
    run_id, stopping, last = str(first["run_id"]), threading.Event(), threading.Event()
    queue = Queue(settings, open_store(settings, migrate=False))
    outlet, books = _Outlet(queue, run_id), _Books(queue, run_id)
    group = CameraGroup(
        build_stage1(settings, open_frame_store(settings)),
        settings.detect_fps,
        submit=outlet.submit,
        on_fault=lambda key, error: say(fault=str(error), hint=error.hint, source=key),
        on_end=lambda key, good: say(ended=key, good=good and outlet.flush(force=True)),
    )

    def listen() -> None:
        for line in sys.stdin:
            told = json.loads(line)
            if "add" in told:
                group.add(*told["add"])
            if told.get("last"):
                last.set()
        stopping.set()

    threading.Thread(target=listen, name="orders", daemon=True).start()
    while not stopping.is_set() and not (last.is_set() and group.empty):
        group.turn()
        outlet.flush()
        books.write(group)
    books.write(group, force=True)
    group.close()
    deadline = time.monotonic() + 30
    while not outlet.flush(force=True) and time.monotonic() < deadline:
        time.sleep(RETRY_S)
    queue.close()
    queue.engine.dispose()
    sys.stdout.flush()
    # Reading threads may hang in a camera's time-out; nothing they do matters any more.
    os._exit(0)


if __name__ == "__main__":
    main()
