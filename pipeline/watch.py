"""Cameras, watched until they end or somebody stops: candidates into the live lane, verdicts as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.detect import build_stage1
from pipeline.errors import SitrepError, SourceError
from pipeline.ingest import find_clips, is_live, open_source, without_credentials
from pipeline.rows import scan_row
from pipeline.scan.session import new_run_id, shared_cores
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import RunKind
from pipeline.types import Candidate, Lane

LOOK_S = 0.5


class Watch:
    """Stage 1 on each source in a thread of its own, one queue for all.

    Args:
        settings: What to run with.
        sources: Camera addresses, clips (played as if they were cameras) or folders of them.
        on_row: Gets each judged row.
        on_fault: Gets what ended a source.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[str],
        *,
        on_row: Callable[[dict[str, Any]], None],
        on_fault: Callable[[SitrepError], None],
    ) -> None:
        self.settings = shared_cores(settings)
        self._sources = [one for source in sources for one in _expanded(source)]
        self._on_row, self._on_fault = on_row, on_fault
        self._frames = open_frame_store(self.settings)
        self._supervisor = Supervisor(self.settings)
        self._run_id = new_run_id()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, Candidate] = {}
        self.faults = 0

    def stop(self) -> None:
        """Ask it to end: sources are let go, what was submitted stays in the queue."""
        self._stop.set()

    def run(self) -> None:
        """Watch until every source has ended and its candidates are judged, or :meth:`stop`.

        Raises:
            BrokerError: The services cannot be kept running.
            StoreError: The database cannot be reached.
        """
        with self._supervisor as services:
            shown = [without_credentials(source) for source in self._sources]
            services.queue.start_run(self._run_id, RunKind.WATCH, sources=shown)
            threads = [
                threading.Thread(target=self._watch, args=(source,), name=f"camera-{number}", daemon=True)
                for number, source in enumerate(self._sources, 1)
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) or self._waiting:
                if self._stop.wait(LOOK_S):
                    break
                services.check()
                self._collect()
            services.queue.finish_run(self._run_id)

    def _watch(self, uri: str) -> None:
        try:
            # Detectors keep state between calls, so each camera has its own.
            stage1 = build_stage1(self.settings, self._frames)
            source = open_source(uri, fps=self.settings.detect_fps)
            try:
                for candidate in stage1.run(source, camera=source.info.name):
                    self._submit(candidate)
                    if self._stop.is_set():
                        return
            finally:
                source.close()
        except SitrepError as error:
            self.faults += 1
            self._on_fault(error)

    def _submit(self, candidate: Candidate) -> None:
        params = {"run": self._run_id}
        queue = self._supervisor.queue
        job = queue.submit(candidate, lane=Lane.LIVE, run_id=self._run_id, params=params)
        with self._lock:
            self._waiting[job.job_id] = candidate

    def _collect(self) -> None:
        with self._lock:
            waiting = dict(self._waiting)
        for job_id, candidate in waiting.items():
            job = self._supervisor.queue.job(job_id)
            if job is None or not job.finished:
                continue
            verdict = self._supervisor.queue.verdict(job_id)
            with self._lock:
                del self._waiting[job_id]
            self._on_row(scan_row(candidate, verdict))


def _expanded(source: str) -> list[str]:
    if is_live(source):
        return [source]
    found = find_clips(source)
    if not found:
        raise SourceError(f"{source} holds no clip", hint="name a camera address or clips")
    return found
