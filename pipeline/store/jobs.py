"""Jobs: asked for, claimed under a lease, finished behind a fence.

A job is claimed by one UPDATE that counts the attempt before any work is done, so that a job which
kills its worker stops after ``max_attempts``. Whoever finishes must still hold the attempt it claimed;
the result of a worker that was thought dead is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    String,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from pipeline.store import audit
from pipeline.store.codec import clean
from pipeline.store.engine import insert_ignore
from pipeline.store.schema import FINISHED, Deed, JobState, UtcDateTime, jobs, utcnow
from pipeline.types import Candidate, Lane

BACKOFF_S = (2.0, 8.0, 30.0)
"""Wait before the 2nd, 3rd and every further attempt after a retryable failure."""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of ``jobs``; the columns are described in :mod:`pipeline.store.schema`."""

    job_id: str
    job_key: str
    candidate_id: str
    run_id: str | None
    camera: str
    lane: Lane
    state: JobState
    live: bool
    model: str
    prompt: str
    prompt_sha256: str
    params: Mapping[str, Any]
    attempts: int
    lease_until: datetime | None
    not_before: datetime | None
    worker_id: str | None
    error: str | None
    error_source: str | None
    created_at: datetime
    sent_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in FINISHED

    @property
    def queued_ms(self) -> float | None:
        """From committed to claimed (last time), once it was claimed."""
        return (self.claimed_at - self.created_at).total_seconds() * 1e3 if self.claimed_at else None


_COLUMNS = tuple(field.name for field in fields(Job))


def from_row(row: Mapping[Any, Any]) -> Job:
    """The job of a row mapping."""
    values = {name: row[name] for name in _COLUMNS}
    return Job(**{**values, "lane": Lane(values["lane"]), "state": JobState(values["state"])})


def job_key(
    candidate: Candidate, model: str, prompt: str, prompt_sha256: str, params: Mapping[str, Any]
) -> str:
    """What makes two judgements the same: candidate, frame bytes, prompt text, model, parameters."""
    identity = {
        "candidate": candidate.candidate_id,
        "event": str(candidate.event_type),
        "frames": [frame.sha256 for frame in candidate.key_frames],
        "model": model,
        "prompt": prompt,
        "prompt_sha256": prompt_sha256,
        "params": dict(params),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def get(connection: Connection, job_id: str) -> Job | None:
    """One job, or ``None``."""
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().first()
    return from_row(row) if row else None


def by_key(connection: Connection, key: str) -> Job | None:
    """The job of a key, or ``None``."""
    row = connection.execute(_BY_KEY, {"p_key": key}).mappings().first()
    return from_row(row) if row else None


_BY_KEY = select(jobs).where(jobs.c.job_key == bindparam("p_key"))


def get_many(connection: Connection, job_ids: Sequence[str]) -> list[Job]:
    """Jobs that exist of those named, in no order."""
    found: list[Job] = []
    # Databases limit the number of parameters of one statement.
    for start in range(0, len(job_ids), 500):
        query = select(jobs).where(jobs.c.job_id.in_(job_ids[start : start + 500]))
        found += [from_row(row) for row in connection.execute(query).mappings()]
    return found


def finished_of(connection: Connection, job_ids: Sequence[str]) -> list[Job]:
    """Those of the named jobs that are finished, in order of finishing."""
    found: list[Job] = []
    for start in range(0, len(job_ids), 500):
        query = select(jobs).where(
            jobs.c.job_id.in_(job_ids[start : start + 500]), jobs.c.state.in_(FINISHED)
        )
        found += [from_row(row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda job: job.finished_at or job.created_at)


def create(connection: Connection, values: dict[str, Any]) -> bool:
    """Insert a job row unless its key is there already; whether it is new."""
    return bool(insert_ignore(connection, jobs, [values]))


def reopen(
    connection: Connection, job_id: str, states: Sequence[JobState], values: Mapping[str, Any]
) -> bool:
    """Make a finished job pending again, from any of ``states``, with a fresh count of attempts."""
    fresh = {
        "state": JobState.PENDING,
        "attempts": 0,
        "lease_until": None,
        "not_before": None,
        "worker_id": None,
        "sent_at": None,
        "claimed_at": None,
        "finished_at": None,
        **values,
    }
    statement = update(jobs).where(jobs.c.job_id == job_id, jobs.c.state.in_(states)).values(fresh)
    return bool(connection.execute(statement).rowcount)


def claim(
    connection: Connection, job_id: str, worker_id: str, lease_s: float, max_attempts: int
) -> Job | None:
    """Take a job for one attempt, in one UPDATE.

    A worker id is ``GROUP/PROCESS`` and a group runs one process at a time, so a job that another process
    of one's own group holds is held by nobody: it may be taken over at once, without waiting for the lease.

    Returns:
        The job as claimed, its ``attempts`` being the number that fences the result; or ``None`` when it
        is finished, somebody else's, backing off, or out of attempts.
    """
    now = utcnow()
    values = {
        **_free_values(job_id, worker_id, now),
        "p_max": max_attempts,
        "p_lease": now + timedelta(seconds=lease_s),
    }
    row = connection.execute(_CLAIM, values).mappings().first()
    return from_row(row) if row else None


# Statements of the hot path are built once: building one costs more than running it.
_NOW: BindParameter[datetime] = bindparam("p_now", type_=UtcDateTime())
_GROUP: BindParameter[str] = bindparam("p_group", type_=String())
_JOB: BindParameter[str] = bindparam("p_job", type_=String())
_ATTEMPT: BindParameter[int] = bindparam("p_attempt", type_=Integer())
_LEASE: BindParameter[datetime] = bindparam("p_lease", type_=UtcDateTime())
_IN_GROUP = func.substr(jobs.c.worker_id, 1, func.length(_GROUP)) == _GROUP
_FREE = or_(
    and_(jobs.c.state == JobState.PENDING, or_(jobs.c.not_before.is_(None), jobs.c.not_before <= _NOW)),
    and_(jobs.c.state == JobState.RUNNING, or_(jobs.c.lease_until < _NOW, _IN_GROUP)),
)
_CLAIM = (
    update(jobs)
    .where(jobs.c.job_id == _JOB, jobs.c.attempts < bindparam("p_max"), _FREE)
    .values(
        state=JobState.RUNNING,
        attempts=jobs.c.attempts + 1,
        lease_until=_LEASE,
        worker_id=bindparam("p_worker"),
        claimed_at=_NOW,
        not_before=None,
    )
    .returning(jobs)
)
_EXHAUSTED = (
    select(jobs).where(jobs.c.job_id == _JOB, jobs.c.attempts >= bindparam("p_max"), _FREE).with_for_update()
)
_HELD = and_(jobs.c.job_id == _JOB, jobs.c.attempts == _ATTEMPT, jobs.c.state == JobState.RUNNING)
_HEARTBEAT = update(jobs).where(_HELD).values(lease_until=_LEASE)
_CLOSE = (
    update(jobs)
    .where(_HELD)
    .values(
        state=bindparam("p_state"),
        finished_at=_NOW,
        lease_until=None,
        error=bindparam("p_error"),
        error_source=bindparam("p_source"),
    )
)


def _free_values(job_id: str, worker_id: str, now: datetime) -> dict[str, Any]:
    group = worker_id.rpartition("/")[0] + "/"
    return {"p_job": job_id, "p_now": now, "p_group": group, "p_worker": worker_id}


def exhausted(connection: Connection, job_id: str, worker_id: str, max_attempts: int) -> Job | None:
    """The job, if it is free but out of attempts: whoever finds it buries it."""
    values = {**_free_values(job_id, worker_id, utcnow()), "p_max": max_attempts}
    row = connection.execute(_EXHAUSTED, values).mappings().first()
    return from_row(row) if row else None


def heartbeat(connection: Connection, job_id: str, attempt: int, lease_s: float) -> bool:
    """Extend the lease; ``False`` when the attempt is no longer the holder's."""
    values = {"p_job": job_id, "p_attempt": attempt, "p_lease": utcnow() + timedelta(seconds=lease_s)}
    return bool(connection.execute(_HEARTBEAT, values).rowcount)


def close(
    connection: Connection,
    job_id: str,
    attempt: int,
    state: JobState,
    *,
    error: str | None = None,
    error_source: str | None = None,
) -> bool:
    """Finish a claimed job; ``False`` when the attempt was fenced off in the meantime."""
    values = {
        "p_job": job_id,
        "p_attempt": attempt,
        "p_state": state,
        "p_now": utcnow(),
        "p_error": clean(error),
        "p_source": error_source,
    }
    return bool(connection.execute(_CLOSE, values).rowcount)


def bury(connection: Connection, job: Job, *, error: str, error_source: str) -> bool:
    """Make a job that is out of attempts a dead letter; ``False`` when somebody else moved it."""
    statement = (
        update(jobs)
        .where(
            jobs.c.job_id == job.job_id,
            jobs.c.attempts == job.attempts,
            jobs.c.state.in_((JobState.RUNNING, JobState.PENDING)),
        )
        .values(
            state=JobState.DEAD,
            finished_at=utcnow(),
            lease_until=None,
            error=clean(error),
            error_source=error_source,
        )
    )
    if not connection.execute(statement).rowcount:
        return False
    detail = {"error": clean(error), "error_source": error_source, "attempts": job.attempts}
    audit.record(connection, Deed.JOB_DEAD, job.job_id, detail=detail)
    return True


def put_back(connection: Connection, job_id: str, attempt: int, *, error: str, error_source: str) -> bool:
    """Back to pending after a retryable failure, not to be claimed before a growing pause is over."""
    pause = BACKOFF_S[min(attempt, len(BACKOFF_S)) - 1]
    values = {
        "state": JobState.PENDING,
        "lease_until": None,
        "worker_id": None,
        "sent_at": None,
        "not_before": utcnow() + timedelta(seconds=pause),
        "error": clean(error),
        "error_source": error_source,
    }
    held = {"p_job": job_id, "p_attempt": attempt}
    return bool(connection.execute(update(jobs).where(_HELD).values(values), held).rowcount)


def release(connection: Connection, where: ColumnElement[bool], *, error: str) -> list[Job]:
    """Make running jobs pending whose worker is gone; the attempt stays counted. Gives those released."""
    values = {
        "state": JobState.PENDING,
        "lease_until": None,
        "worker_id": None,
        "sent_at": None,
        "error": clean(error),
        "error_source": "worker",
    }
    statement = update(jobs).where(jobs.c.state == JobState.RUNNING, where).values(values).returning(jobs)
    return [from_row(row) for row in connection.execute(statement).mappings()]


def any_running(connection: Connection, where: ColumnElement[bool]) -> bool:
    """Whether any running job meets a condition."""
    query = select(jobs.c.job_id).where(jobs.c.state == JobState.RUNNING, where).limit(1)
    return connection.execute(query).first() is not None


def of_group(group: str) -> ColumnElement[bool]:
    """Condition: held by a process of this worker group."""
    return jobs.c.worker_id.startswith(group + "/", autoescape=True)


def expired() -> ColumnElement[bool]:
    """Condition: the lease ran out."""
    return jobs.c.lease_until < utcnow()


def sent(connection: Connection, job_ids: Sequence[str], at: datetime | None) -> None:
    """Note when the messages of jobs were sent; ``None``: they were not."""
    connection.execute(update(jobs).where(jobs.c.job_id.in_(job_ids)).values(sent_at=at))


def waiting(connection: Connection, lane: Lane | None = None, camera: str | None = None) -> int:
    """How many jobs are pending, in the lanes at least as urgent as ``lane``, of ``camera``."""
    urgent = list(Lane)[: list(Lane).index(lane) + 1] if lane is not None else list(Lane)
    values: dict[str, Any] = {"p_lanes": [str(one) for one in urgent]}
    if camera is None:
        return int(connection.execute(_WAITING, values).scalar_one())
    return int(connection.execute(_WAITING_OF_CAMERA, {**values, "p_camera": camera}).scalar_one())


# The state is written out and not bound: SQLite uses a partial index only for what it can see.
_WAITING = (
    select(func.count())
    .select_from(jobs)
    .where(jobs.c.state == literal_column("'pending'"), jobs.c.lane.in_(bindparam("p_lanes", expanding=True)))
)
_WAITING_OF_CAMERA = _WAITING.where(jobs.c.camera == bindparam("p_camera"))
