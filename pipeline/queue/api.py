"""What callers use: submit candidates, wait for their verdicts, look into the queue, mend dead letters."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from pipeline.errors import JobError
from pipeline.queue import dead, stats
from pipeline.queue.admission import refusal
from pipeline.queue.broker import with_running_broker
from pipeline.queue.events import Event
from pipeline.queue.reconciler import send_all
from pipeline.queue.sender import Sender
from pipeline.settings import Settings
from pipeline.store import audit, candidates, jobs, runs, verdicts
from pipeline.store.engine import insert_ignore, open_store, read, write
from pipeline.store.jobs import Job
from pipeline.store.schema import Deed, JobState, RunKind, RunState, utcnow
from pipeline.store.schema import runs as runs_table
from pipeline.types import Candidate, Lane, Verdict

POLL_S = (0.02, 0.25)
"""Pause between looks while waiting: short at first, then longer."""
REOPEN = (JobState.SHED, JobState.CANCELLED)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that came to its end, and its verdict: ``None`` when it was shed or cancelled."""

    job: Job
    verdict: Verdict | None


class Queue:
    """The queue of one installation. Threads may share one.

    Args:
        settings: Where database and broker are. With ``redis_url`` unset, the embedded broker that runs
            for this data directory is used; without one, jobs are stored and wait.
        engine: A store that is open already; left open by :meth:`close`.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = with_running_broker(settings)
        self.engine = engine or open_store(settings)
        self._owns_engine = engine is None
        self.sender = Sender(self.settings)
        self._known_runs: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to broker and database."""
        self.sender.close()
        if self._owns_engine:
            self.engine.dispose()

    def start_run(
        self,
        run_id: str,
        kind: RunKind,
        *,
        sources: Sequence[str] = (),
        label: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> bool:
        """Record a run, so that its jobs can be counted; ``False`` when it is being resumed."""
        return runs.start(self.engine, run_id, kind, sources=sources, label=label, params=params)

    def finish_run(self, run_id: str, state: RunState = RunState.DONE) -> dict[str, int]:
        """Close a run; its jobs by state."""
        return runs.finish(self.engine, run_id, state)

    def submit(
        self,
        candidate: Candidate,
        *,
        lane: Lane = Lane.INTERACTIVE,
        model: str | None = None,
        prompt: str | None = None,
        prompt_sha256: str = "",
        params: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        live: bool | None = None,
    ) -> Job:
        """Have a candidate judged: commit it with its job, then send the news.

        The same candidate, frames, prompt, model and parameters are one job however often and from how
        many threads they are submitted; a job that was shed or cancelled is tried again.

        Args:
            candidate: Its frames must be in the frame store.
            lane: Which queue.
            model: ``BACKEND[:NAME]``; the settings' when omitted.
            prompt: Prompt pack ``ID@VERSION``; the settings' when omitted.
            prompt_sha256: Hash of the pack's text.
            params: What else distinguishes this judgement.
            run_id: The run it belongs to; recorded if unknown.
            live: Whether the verdict makes incidents and alerts; ``None``: unless ``lane`` is archive.

        Returns:
            The job as stored: pending, or ``shed`` with the reason when too many wait, or whatever became
            of it when it was known already.

        Raises:
            StoreError: The database refused; nothing was stored.
        """
        model, prompt = model or self.settings.model, prompt or self.settings.prompt
        params = dict(params or {})
        key = jobs.job_key(candidate, model, prompt, prompt_sha256, params)
        identity = {
            "job_key": key,
            "candidate_id": candidate.candidate_id,
            "run_id": run_id,
            "camera": candidate.camera,
            "lane": str(lane),
            "live": lane is not Lane.ARCHIVE if live is None else live,
            "model": model,
            "prompt": prompt,
            "prompt_sha256": prompt_sha256,
            "params": params,
        }
        with write(self.engine) as connection:
            job, send = self._commit(connection, candidate, identity)
        if run_id is not None:
            # Only now: before the commit, no other thread may rely on the run being there.
            with self._lock:
                self._known_runs.add(run_id)
        if send and not self.sender.send(job.job_id, lane):
            with write(self.engine) as connection:
                jobs.sent(connection, [job.job_id], None)
        return job

    def _commit(
        self, connection: Connection, candidate: Candidate, identity: dict[str, Any]
    ) -> tuple[Job, bool]:
        known = jobs.by_key(connection, identity["job_key"])
        if known is not None and known.state not in REOPEN:
            return known, False
        self._ensure_run(connection, identity["run_id"], Lane(identity["lane"]))
        candidates.put(connection, candidate, identity["run_id"])
        refused = refusal(connection, self.settings, Lane(identity["lane"]), candidate.camera)
        now = utcnow()
        fate: dict[str, Any] = {
            "state": JobState.SHED if refused else JobState.PENDING,
            "error": refused,
            "error_source": "admission" if refused else None,
            "finished_at": now if refused else None,
            # Written as sent before it is: one transaction less, and taken back when sending fails.
            "sent_at": None if refused else now,
            "created_at": now,
        }
        if known is None:
            values = {"job_id": uuid.uuid4().hex, **identity, **fate}
            if not jobs.create(connection, values):
                known = jobs.by_key(connection, identity["job_key"])
                assert known is not None
                return known, False
            job = jobs.from_row({**_EMPTY, **values})
        else:
            jobs.reopen(connection, known.job_id, REOPEN, {**identity, **fate})
            job = jobs.from_row({**_EMPTY, "job_id": known.job_id, **identity, **fate})
        if refused:
            log.warning(Event.JOB_SHED, job_id=job.job_id, camera=candidate.camera, reason=refused)
            detail = {"reason": refused, "camera": candidate.camera}
            audit.record(connection, Deed.JOB_SHED, job.job_id, detail=detail)
        return job, refused is None

    def _ensure_run(self, connection: Connection, run_id: str | None, lane: Lane) -> None:
        if run_id is None or run_id in self._known_runs:
            return
        kind = {Lane.LIVE: RunKind.WATCH, Lane.INTERACTIVE: RunKind.SCAN, Lane.ARCHIVE: RunKind.ARCHIVE}[lane]
        insert_ignore(connection, runs_table, [{"run_id": run_id, "kind": str(kind)}])

    def wait(
        self,
        job_ids: Sequence[str],
        timeout: float | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Finished]:
        """Yield jobs as they finish, each once.

        Args:
            job_ids: What to wait for; ids that do not exist are an error.
            timeout: Seconds in which nothing at all finishes before giving up; ``None``: for ever.
            on_progress: Called with how many of how many are finished, also while nothing happens, so that
                it may look after the services or stop by raising.

        Raises:
            JobError: An id is unknown, or nothing finished for ``timeout`` seconds.
        """
        open_ids = list(dict.fromkeys(job_ids))
        total, pause, last = len(open_ids), POLL_S[0], time.monotonic()
        first = True
        while open_ids:
            with read(self.engine) as connection:
                if first:
                    _expect_all(jobs.get_many(connection, open_ids), open_ids)
                    first = False
                ended = {job.job_id: job for job in jobs.finished_of(connection, open_ids)}
            if ended:
                said = verdicts.of_jobs(self.engine, list(ended))
                open_ids = [job_id for job_id in open_ids if job_id not in ended]
                pause, last = POLL_S[0], time.monotonic()
            if on_progress is not None:
                on_progress(total - len(open_ids), total)
            for job in ended.values():
                yield Finished(job, said.get(job.job_id))
            if not open_ids:
                return
            if timeout is not None and time.monotonic() - last > timeout:
                raise JobError(
                    f"{len(open_ids)} of {total} jobs did not finish: nothing happened for {timeout:g} s"
                )
            if not ended:
                time.sleep(pause)
                pause = min(pause * 1.5, POLL_S[1])

    def job(self, job_id: str) -> Job | None:
        """One job, or ``None``."""
        with read(self.engine) as connection:
            return jobs.get(connection, job_id)

    def verdict(self, job_id: str) -> Verdict | None:
        """The verdict of a job, or ``None`` as long as there is none."""
        return verdicts.of_jobs(self.engine, [job_id]).get(job_id)

    def progress(self, run_id: str) -> dict[str, int]:
        """A run's jobs by state."""
        return runs.progress(self.engine, run_id)

    def stats(self) -> stats.Stats:
        """Depth and age of the queue, by lane and state."""
        return stats.collect(self.engine, self.sender)

    def dead_list(self, limit: int = 1000) -> list[Job]:
        """Dead letters, newest first."""
        return dead.listing(self.engine, limit)

    def requeue(self, job_ids: Sequence[str] | None = None, *, who: str = audit.SYSTEM) -> int:
        """Give dead letters (all when ``None``) another round of attempts; how many.

        Raises:
            JobError: One of the ids is not a dead letter; then none is requeued.
        """
        waiting = dead.requeue(self.engine, job_ids, who=who)
        send_all(self.engine, self.sender, waiting)
        return len(waiting)

    def cancel(self, run_id: str, *, who: str = audit.SYSTEM) -> int:
        """Cancel the pending jobs of a run; how many. Running ones end by themselves."""
        return dead.cancel(self.engine, run_id, who=who)


_EMPTY: dict[str, Any] = {
    "attempts": 0,
    "lease_until": None,
    "not_before": None,
    "worker_id": None,
    "claimed_at": None,
}


def _expect_all(found: Sequence[Job], job_ids: Sequence[str]) -> None:
    missing = set(job_ids) - {job.job_id for job in found}
    if missing:
        raise JobError(f"there is no job {sorted(missing)[0][:40]}")
