"""Retention: what is older than the site keeps is removed, rows first and then files nobody refers to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import Engine, delete, exists, select, update

from pipeline.store import audit
from pipeline.store.engine import read, write
from pipeline.store.frames import FileFrameStore
from pipeline.store.schema import (
    Deed,
    IncidentState,
    JobState,
    camera_gaps,
    candidate_frames,
    candidates,
    clips,
    frames,
    incidents,
    jobs,
    utcnow,
    workers,
)

BATCH = 200


@dataclass(frozen=True, slots=True)
class Removed:
    """What a sweep removed."""

    candidates: int = 0
    incidents: int = 0
    frames: int = 0


def sweep(engine: Engine, frame_store: FileFrameStore, days: int) -> Removed:
    """Remove candidates, their verdicts and their frames older than ``days``.

    Kept whatever their age: candidates with an unfinished job, and those of incidents that a person
    confirmed. Works in small transactions; safe to stop and repeat at any moment.
    """
    before = utcnow() - timedelta(days=days)
    unfinished = exists().where(
        jobs.c.candidate_id == candidates.c.candidate_id,
        jobs.c.state.in_((JobState.PENDING, JobState.RUNNING)),
    )
    confirmed = exists().where(
        incidents.c.incident_id == candidates.c.incident_id,
        incidents.c.state == IncidentState.CONFIRMED,
    )
    old = (candidates.c.created_at < before) & ~unfinished & ~confirmed
    gone = 0
    while True:
        with write(engine) as connection:
            query = select(candidates.c.candidate_id).where(old).limit(BATCH)
            ids = list(connection.execute(query).scalars())
            connection.execute(delete(candidates).where(candidates.c.candidate_id.in_(ids)))
        gone += len(ids)
        if len(ids) < BATCH:
            break
    with write(engine) as connection:
        empty = ~exists().where(candidates.c.incident_id == incidents.c.incident_id)
        orphaned = delete(incidents).where(empty, incidents.c.updated_at < before)
        closed = connection.execute(orphaned).rowcount
        connection.execute(delete(camera_gaps).where(camera_gaps.c.end_at < before))
        connection.execute(delete(clips).where(clips.c.read_at < before))
        # Worker groups have new names at every start.
        connection.execute(delete(workers).where(workers.c.seen_at < utcnow() - timedelta(days=1)))
    removed = Removed(gone, closed, _remove_frames(engine, frame_store, before))
    if any(asdict(removed).values()):
        with write(engine) as connection:
            audit.record(connection, Deed.RETENTION, "store", detail=asdict(removed))
    return removed


def _remove_frames(engine: Engine, frame_store: FileFrameStore, before: object) -> int:
    unused = ~exists().where(candidate_frames.c.sha256 == frames.c.sha256)
    query = select(frames.c.sha256).where(unused, frames.c.created_at < before, frames.c.removed_at.is_(None))
    with read(engine) as connection:
        names = list(connection.execute(query).scalars())
    for sha256 in names:
        with write(engine) as connection:
            # Asked again inside the transaction: a candidate may have come back to the frame meanwhile.
            mark = update(frames).where(frames.c.sha256 == sha256, unused).values(removed_at=utcnow())
            if connection.execute(mark).rowcount:
                frame_store.remove(sha256)
    return len(names)
