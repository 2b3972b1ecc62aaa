"""Candidates in, verdicts out: a scan through the queue, with services that stay up between scans."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from models import registry
from pipeline.errors import SitrepError
from pipeline.queue.api import Queue
from pipeline.queue.broker import expect_answer
from pipeline.reason import build_reasoner
from pipeline.rows import scan_row
from pipeline.scan.candidates import expand, find_candidates
from pipeline.scan.results import ClipResult, ScanListener, ScanResult, Silent
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import RunKind, RunState
from pipeline.types import Candidate, Lane

LOOK_S = 0.5


def shared_cores(settings: Settings) -> Settings:
    """Split the cores between stage 1 and the model where nobody has said how.

    Both at full width on the same cores fight and take longer than one after the other.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    half = max(1, cores // 2)
    changes = {
        "detect_threads": settings.detect_threads or half,
        "model_threads": settings.model_threads or half,
    }
    return settings.model_copy(update=changes)


def new_run_id() -> str:
    """A name for one run, unique."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


class ScanSession:
    """Services that stay up for several scans: broker, workers, reconciler. A context manager.

    Args:
        settings: What to run with; the cores are split between stage 1 and the model where nobody said how.
        kind: What the runs are recorded as.
        lane: Which queue the jobs go to.
        live: Whether verdicts open incidents and send alerts.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kind: RunKind = RunKind.SCAN,
        lane: Lane = Lane.INTERACTIVE,
        live: bool = True,
    ) -> None:
        self.settings = shared_cores(settings)
        self._kind, self._lane, self._live = kind, lane, live
        self.frame_store = open_frame_store(self.settings)
        self.supervisor = Supervisor(self.settings)

    def __enter__(self) -> ScanSession:
        """Start the services.

        Raises:
            ConfigError: Model, prompt or policy of the settings do not exist or are wrong.
            BrokerError: The broker that the settings name does not answer.
            StoreError: The database cannot be opened.
        """
        registry.check(self.settings.model)
        build_reasoner(self.settings, self.frame_store).check()
        # Jobs would be kept and wait, but somebody sits before a scan and waits as well.
        expect_answer(self.settings)
        self.supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()

    def scan(
        self,
        given: Iterable[str | Path],
        *,
        camera: str | None = None,
        listener: ScanListener | None = None,
        on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> ScanResult:
        """Find candidates in clips, have each judged, and wait for all verdicts.

        Args:
            given: Clips and folders.
            camera: Name for all of them; the clip's file name when omitted.
            listener: Is told how far it is.
            on_row: Gets each row as soon as it is judged, in no order.

        Raises:
            BrokerError: The services cannot be kept running.
            StoreError: The database cannot be written.
        """
        started = time.monotonic()
        listener = listener or Silent()
        clips = expand(given)
        run_id = new_run_id()
        queue = self.supervisor.queue
        queue.start_run(run_id, self._kind, sources=clips.paths)
        waiting: dict[str, Candidate] = {}
        results: list[ClipResult] = []
        with _Progress(queue, run_id, listener):
            found = find_candidates(
                clips.paths,
                self.settings,
                self.frame_store,
                camera=camera,
                listener=listener,
                results=results,
            )
            for candidate in found:
                # Every run judges anew: an older verdict of the same clip may come from other weights.
                job = queue.submit(
                    candidate, lane=self._lane, run_id=run_id, params={"run": run_id}, live=self._live
                )
                waiting[job.job_id] = candidate
                self.supervisor.check()
            stage1_seconds = time.monotonic() - started
        rows: dict[str, dict[str, Any]] = {}

        def look_after(done: int, total: int) -> None:
            self.supervisor.check()
            listener.judged(done, total)

        unjudged = 0
        for finished in queue.wait(list(waiting), on_progress=look_after):
            unjudged += finished.verdict is None
            row = scan_row(waiting[finished.job.job_id], finished.verdict)
            rows[finished.job.job_id] = row
            on_row(row)
        queue.finish_run(run_id, RunState.DONE)
        ordered = [rows[job_id] for job_id in waiting]
        seconds = time.monotonic() - started
        return ScanResult(ordered, [*clips.faults, *results], run_id, seconds, unjudged, stage1_seconds)


class _Progress:
    """Tells the listener about verdicts that come in while stage 1 still runs."""

    def __init__(self, queue: Queue, run_id: str, listener: ScanListener) -> None:
        self._queue, self._run_id, self._listener = queue, run_id, listener
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="scan-progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                states = self._queue.progress(self._run_id)
            except SitrepError:
                # A display must not end a scan; the scan itself meets the same fault and says so.
                continue
            self._listener.judged(states.get("done", 0), sum(states.values()))


def scan(
    given: Iterable[str | Path],
    settings: Settings,
    *,
    camera: str | None = None,
    listener: ScanListener | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
) -> ScanResult:
    """One scan with services of its own; see :class:`ScanSession`."""
    with ScanSession(settings) as session:
        return session.scan(given, camera=camera, listener=listener, on_row=on_row)
