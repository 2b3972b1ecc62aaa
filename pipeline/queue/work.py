"""What changes a job's fate, each as one transaction: finish, give up, put back, bury, release."""

from __future__ import annotations

import structlog
from sqlalchemy import ColumnElement, Connection, Engine

from pipeline.queue.events import Event
from pipeline.queue.failed import failed_verdict
from pipeline.settings import Settings
from pipeline.store import candidates, incidents, jobs, verdicts
from pipeline.store.engine import read, write
from pipeline.store.jobs import Job
from pipeline.store.schema import JobState
from pipeline.types import Candidate, Verdict

log = structlog.get_logger(__name__)


def claim(
    store: Engine | Connection, settings: Settings, job_id: str, worker_id: str
) -> tuple[Job, Candidate] | None:
    """Take a job for one attempt; ``None`` when there is nothing to do. Buries a job out of attempts."""
    with write(store) as connection:
        job = jobs.claim(connection, job_id, worker_id, settings.lease_s, settings.max_attempts)
        if job is not None:
            candidate = candidates.get(connection, job.candidate_id)
            return (job, candidate) if candidate is not None else None
        spent = jobs.exhausted(connection, job_id, worker_id, settings.max_attempts)
        if spent is not None:
            bury(connection, settings, spent)
    return None


def finish(store: Engine | Connection, job: Job, candidate: Candidate, verdict: Verdict) -> bool:
    """Verdict, incident, alert and ``done`` in one transaction; ``False`` when the attempt is fenced off."""
    with write(store) as connection:
        held = jobs.close(
            connection,
            job.job_id,
            job.attempts,
            JobState.DONE,
            error=verdict.error,
            error_source=verdict.error_source,
        )
        if not held:
            log.warning(Event.RESULT_REFUSED, job_id=job.job_id, attempt=job.attempts)
            return False
        _publish(connection, job, candidate, verdict)
    return True


def _publish(connection: Connection, job: Job, candidate: Candidate, verdict: Verdict) -> None:
    verdicts.put(connection, job, verdict)
    if job.live:
        incidents.record(connection, candidate, verdict)


def give_back(
    store: Engine | Connection,
    settings: Settings,
    job: Job,
    candidate: Candidate,
    *,
    error: str,
    error_source: str,
) -> JobState | None:
    """After a retryable failure: pending with a pause, or dead when that was the last attempt."""
    with write(store) as connection:
        if job.attempts < settings.max_attempts:
            held = jobs.put_back(connection, job.job_id, job.attempts, error=error, error_source=error_source)
            return JobState.PENDING if held else None
        if jobs.bury(connection, job, error=error, error_source=error_source):
            verdict = failed_verdict(settings, job, candidate, error=error, error_source=error_source)
            _publish(connection, job, candidate, verdict)
            log.error(Event.JOB_DEAD, job_id=job.job_id, attempts=job.attempts, error=error)
            return JobState.DEAD
    return None


def bury(connection: Connection, settings: Settings, job: Job) -> None:
    """Make a job dead that used up its attempts without ever reporting, and show it to a person."""
    error = job.error or f"the worker died {job.attempts} times while judging it"
    source = job.error_source or "worker"
    if not jobs.bury(connection, job, error=error, error_source=source):
        return
    log.error(Event.JOB_DEAD, job_id=job.job_id, attempts=job.attempts, error=error)
    candidate = candidates.get(connection, job.candidate_id)
    if candidate is not None:
        verdict = failed_verdict(settings, job, candidate, error=error, error_source=source)
        _publish(connection, job, candidate, verdict)


def release(engine: Engine, settings: Settings, where: ColumnElement[bool], *, error: str) -> list[Job]:
    """Free running jobs whose worker is gone, bury those out of attempts; those to send again."""
    with read(engine) as connection:
        if not jobs.any_running(connection, where):
            return []
    free: list[Job] = []
    with write(engine) as connection:
        for job in jobs.release(connection, where, error=error):
            if job.attempts >= settings.max_attempts:
                bury(connection, settings, job)
            else:
                free.append(job)
                log.warning(Event.JOB_RELEASED, job_id=job.job_id, attempt=job.attempts, error=error)
    return free
