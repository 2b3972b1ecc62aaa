"""Dead letters: listed, requeued; and runs cancelled."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, select, update

from pipeline.errors import JobError
from pipeline.store import audit, jobs
from pipeline.store.engine import read, write
from pipeline.store.jobs import Job
from pipeline.store.schema import Deed, JobState, RunState, runs, utcnow
from pipeline.store.schema import jobs as jobs_table


def listing(engine: Engine, limit: int = 1000) -> list[Job]:
    """Dead letters, newest first."""
    query = (
        select(jobs_table)
        .where(jobs_table.c.state == JobState.DEAD)
        .order_by(jobs_table.c.finished_at.desc())
        .limit(limit)
    )
    with read(engine) as connection:
        return [jobs.from_row(row) for row in connection.execute(query).mappings()]


def requeue(engine: Engine, job_ids: Sequence[str] | None, *, who: str = audit.SYSTEM) -> list[Job]:
    """Make dead letters (all when ``None``) pending, attempts counted anew; those to send.

    Raises:
        JobError: One of the ids is not a dead letter; then none is touched.
    """
    with write(engine) as connection:
        if job_ids is None:
            query = select(jobs_table.c.job_id).where(jobs_table.c.state == JobState.DEAD)
            job_ids = list(connection.execute(query).scalars())
        for job_id in job_ids:
            if not jobs.reopen(connection, job_id, [JobState.DEAD], {"error": None, "error_source": None}):
                raise JobError(f"job {job_id[:40]} is not a dead letter", hint="see: sitrep queue dead list")
            audit.record(connection, Deed.JOB_REQUEUED, job_id, who=who)
        return jobs.get_many(connection, list(dict.fromkeys(job_ids)))


def cancel(engine: Engine, run_id: str, *, who: str = audit.SYSTEM) -> int:
    """Cancel a run's pending jobs; how many."""
    with write(engine) as connection:
        pending = (jobs_table.c.run_id == run_id) & (jobs_table.c.state == JobState.PENDING)
        values = {"state": JobState.CANCELLED, "finished_at": utcnow(), "error": f"cancelled by {who}"}
        count = connection.execute(update(jobs_table).where(pending).values(values)).rowcount
        closed = {"state": RunState.CANCELLED, "finished_at": utcnow()}
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(closed))
        audit.record(connection, Deed.RUN_CANCELLED, run_id, who=who, detail={"jobs": count})
    return count
