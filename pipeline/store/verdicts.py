"""Verdicts: every judgement ever made, versions side by side, one of them live for its candidate."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, bindparam, select, update

from pipeline.store import audit
from pipeline.store.codec import plain, verdict_from, verdict_row
from pipeline.store.engine import read, upsert, write
from pipeline.store.jobs import Job
from pipeline.store.schema import Deed, incidents, utcnow, verdicts
from pipeline.types import Narrative, Verdict

_SUPERSEDE = (
    update(verdicts)
    .where(verdicts.c.candidate_id == bindparam("p_candidate"), verdicts.c.live)
    .values(live=False)
)


def put(connection: Connection, job: Job, verdict: Verdict) -> int:
    """Store the verdict of a job, replacing what an earlier attempt left; its id."""
    if job.live:
        connection.execute(_SUPERSEDE, {"p_candidate": job.candidate_id})
    values = {
        **verdict_row(verdict),
        "candidate_id": job.candidate_id,
        "job_id": job.job_id,
        "attempt": job.attempts,
        "live": job.live,
        "created_at": utcnow(),
    }
    return int(upsert(connection, verdicts, values, key="job_id"))


def of_jobs(engine: Engine, job_ids: Sequence[str]) -> dict[str, Verdict]:
    """Verdicts by job id, of those jobs that have one."""
    found: dict[str, Verdict] = {}
    with read(engine) as connection:
        for start in range(0, len(job_ids), 500):
            query = select(verdicts).where(verdicts.c.job_id.in_(job_ids[start : start + 500]))
            for row in connection.execute(query).mappings():
                found[row["job_id"]] = verdict_from(row)
    return found


def of_candidate(engine: Engine, candidate_id: str) -> list[Verdict]:
    """All verdicts of a candidate, oldest first."""
    query = (
        select(verdicts)
        .where(verdicts.c.candidate_id == candidate_id)
        .order_by(verdicts.c.created_at, verdicts.c.verdict_id)
    )
    with read(engine) as connection:
        return [verdict_from(row) for row in connection.execute(query).mappings()]


def live(engine: Engine, candidate_id: str) -> Verdict | None:
    """The verdict that counts for a candidate, or ``None``."""
    query = select(verdicts).where(verdicts.c.candidate_id == candidate_id, verdicts.c.live)
    with read(engine) as connection:
        row = connection.execute(query).mappings().first()
    return verdict_from(row) if row else None


def add_narrative(
    engine: Engine,
    verdict_id: int,
    narrative: Narrative,
    *,
    grounded: bool | None,
    elapsed_ms: float,
    who: str = audit.SYSTEM,
) -> bool:
    """Give a verdict the narrative it was stored without; ``False`` when it has one or is not there."""
    with write(engine) as connection:
        query = select(verdicts.c.timings_ms).where(
            verdicts.c.verdict_id == verdict_id, verdicts.c.narrative.is_(None)
        )
        timings = connection.execute(query).scalar()
        if timings is None:
            return False
        connection.execute(
            update(verdicts)
            .where(verdicts.c.verdict_id == verdict_id)
            .values(
                narrative=plain(narrative),
                grounded=grounded,
                timings_ms={**timings, "narrative": elapsed_ms},
            )
        )
        shown = {"title": narrative.title, "summary": narrative.summary, "updated_at": utcnow()}
        connection.execute(update(incidents).where(incidents.c.verdict_id == verdict_id).values(shown))
        audit.record(connection, Deed.NARRATIVE_ADDED, str(verdict_id), who=who)
    return True
