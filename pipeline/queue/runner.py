"""The worker's side of one job: claim, judge under a heartbeat, finish behind the fence."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from pipeline.errors import ConfigError, JobError, SitrepError, StoreError
from pipeline.interfaces import FrameStore, Reasoner
from pipeline.queue import work
from pipeline.queue.events import Event
from pipeline.queue.failed import failed_verdict
from pipeline.settings import Settings
from pipeline.store import jobs
from pipeline.store.engine import open_store, write, writer
from pipeline.store.frames import open_frame_store
from pipeline.store.jobs import Job
from pipeline.types import Candidate, Verdict

REASONER = "pipeline.reason:build_reasoner"
"""Where reasoners come from: ``MODULE:FUNCTION`` taking settings and frame store."""
KEEP_REASONERS = 2
"""A worker judges for its own model and, at most, one more prompt or model at a time."""
PAUSES_S = (0.2, 1.0, 4.0)
"""Between tries of a transaction, each of which waits for a busy database by itself."""
_T = TypeVar("_T")
log = structlog.get_logger(__name__)


class Heart:
    """One thread that extends the lease of whatever job is being worked on."""

    def __init__(self, engine: Engine, lease_s: float) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._job: Job | None = None
        self._thread: threading.Thread | None = None

    def start(self, job: Job) -> None:
        """Beat for ``job`` from now on."""
        self._job = job
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Beat for nothing."""
        self._job = None

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._lease_s / 3):
            job = self._job
            if job is None:
                continue
            try:
                with write(self._engine) as connection:
                    held = jobs.heartbeat(connection, job.job_id, job.attempts, self._lease_s)
            except StoreError as error:
                log.warning(Event.HEARTBEAT_FAILED, job_id=job.job_id, error=error.message)
                continue
            if not held and self._job is job:
                log.warning(Event.HEARTBEAT_FAILED, job_id=job.job_id, error="the lease was lost")


class Runner:
    """Works on jobs, one at a time, in one process."""

    def __init__(self, settings: Settings, group: str, reasoner: str = REASONER) -> None:
        self.settings = settings
        self.worker_id = f"{group}/{os.getpid()}"
        self._reasoner_path = reasoner
        self._reasoners: dict[tuple[str, str], Reasoner] = {}
        self._engine = open_store(settings, migrate=False)
        self._frames: FrameStore = open_frame_store(settings)
        self._heart = Heart(self._engine, settings.lease_s)
        self._store: Connection | None = None

    def run(self, job_id: str) -> None:
        """Do one job, if it is there to be done. Every outcome is in the database when this returns."""
        claimed = self._insist(lambda store: work.claim(store, self.settings, job_id, self.worker_id))
        if claimed is None:
            return
        job, candidate = claimed
        log.debug(Event.JOB_CLAIMED, job_id=job_id, attempt=job.attempts)
        self._heart.start(job)
        try:
            self._work_on(job, candidate)
        finally:
            self._heart.stop()

    def _work_on(self, job: Job, candidate: Candidate) -> None:
        try:
            verdict = self._judge(job, candidate)
        except Exception as error:
            self._failed(job, candidate, error)
            return
        if self._insist(lambda store: work.finish(store, job, candidate, verdict)):
            log.debug(Event.JOB_DONE, job_id=job.job_id, action=str(verdict.action))

    def _insist(self, transaction: Callable[[Connection], _T]) -> _T:
        """Run a transaction on this thread's own connection, again when the database was away or busy.

        A judgement is dear and its lease is being extended: waiting a little beats judging anew.
        """
        for pause in (*PAUSES_S, None):
            try:
                if self._store is None:
                    self._store = writer(self._engine)
                return transaction(self._store)
            except StoreError as error:
                if self._store is not None:
                    self._store.close()
                    self._store = None
                if pause is None:
                    raise
                log.warning(Event.STORE_AWAY, error=error.message)
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _judge(self, job: Job, candidate: Candidate) -> Verdict:
        verdicts = self._reasoner(job).judge([candidate])
        if len(verdicts) != 1:
            raise JobError(f"one candidate was given, {len(verdicts)} verdicts came back", job_id=job.job_id)
        timings = dict(verdicts[0].timings_ms)
        if job.queued_ms is not None:
            timings["queued"] = job.queued_ms
        return dataclasses.replace(verdicts[0], timings_ms=timings)

    def _reasoner(self, job: Job) -> Reasoner:
        key = (job.model, job.prompt)
        if key not in self._reasoners:
            while len(self._reasoners) >= KEEP_REASONERS:
                self._let_go(next(iter(self._reasoners)))
            wanted = self.settings.model_copy(update={"model": job.model, "prompt": job.prompt})
            self._reasoners[key] = factory(self._reasoner_path)(wanted, self._frames)
            log.info(Event.MODEL_LOADED, model=job.model, prompt=job.prompt)
        return self._reasoners[key]

    def _let_go(self, key: tuple[str, str]) -> None:
        close = getattr(self._reasoners.pop(key), "close", None)
        if close is not None:
            close()

    def _failed(self, job: Job, candidate: Candidate, error: Exception) -> None:
        """Retryable and unforeseen errors are tried again; deliberate final ones go to a person at once."""
        if isinstance(error, SitrepError):
            said, source, again = error.one_line(), error.stage, error.retryable
        else:
            said, source, again = f"{type(error).__name__}: {error}", "model", True
            log.error(Event.JOB_FAILED, job_id=job.job_id, exc_info=error)
        said = " ".join(said.split())[:2000]
        if not again:
            log.error(Event.JOB_FAILED, job_id=job.job_id, error=said, error_source=source)
            verdict = failed_verdict(self.settings, job, candidate, error=said, error_source=source)
            self._insist(lambda store: work.finish(store, job, candidate, verdict))
            return
        state = self._insist(
            lambda store: work.give_back(
                store, self.settings, job, candidate, error=said, error_source=source
            )
        )
        log.warning(Event.JOB_RETRY, job_id=job.job_id, attempt=job.attempts, state=state, error=said)

    def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            self._store.close()
        self._engine.dispose()


def factory(path: str) -> Callable[[Settings, FrameStore], Reasoner]:
    """The function that ``MODULE:FUNCTION`` names.

    Raises:
        ConfigError: There is no such module or function.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"reasoner '{path}' cannot be loaded: {error}") from error
    return found  # type: ignore[no-any-return]
