"""What became of a candidate: its job, its verdict, as the scan row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from pipeline.rows import scan_row
from pipeline.store import candidates, verdicts
from pipeline.store import jobs as store_jobs
from pipeline.store.engine import read
from pipeline.store.jobs import Job
from pipeline.store.schema import candidates as candidates_table
from pipeline.store.schema import jobs


@dataclass(frozen=True, slots=True)
class Status:
    """A candidate with its newest live judgement.

    Attributes:
        job: The newest job whose verdict counts on the incident page.
        incident_id: The incident it belongs to, if it reached a person.
        row: Its scan row; verdict fields are ``None`` as long as there is none.
    """

    job: Job
    incident_id: str | None
    row: dict[str, Any]


def latest_job(connection: Connection, candidate_id: str) -> Job | None:
    """The newest job of a candidate that is no re-scoring; ``None`` when it has none."""
    query = (
        select(jobs)
        .where(jobs.c.candidate_id == candidate_id, jobs.c.live)
        .order_by(jobs.c.created_at.desc(), jobs.c.job_id)
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return store_jobs.from_row(row) if row else None


def status(engine: Engine, candidate_id: str) -> Status | None:
    """Look a candidate up; ``None`` when there is none by this id. Raises StoreError."""
    with read(engine) as connection:
        candidate = candidates.get(connection, candidate_id)
        job = latest_job(connection, candidate_id) if candidate else None
        incident = connection.execute(
            select(candidates_table.c.incident_id).where(candidates_table.c.candidate_id == candidate_id)
        ).scalar()
    if candidate is None or job is None:
        return None
    verdict = verdicts.of_jobs(engine, [job.job_id]).get(job.job_id)
    waited = {"queued": job.queued_ms} if job.queued_ms is not None else {}
    return Status(job, incident, scan_row(candidate, verdict, timings_ms=waited))
