"""Candidates and the index of their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, delete, select

from pipeline.store.codec import candidate_from, candidate_row
from pipeline.store.engine import insert, insert_ignore, read, upsert
from pipeline.store.schema import candidate_frames, candidates, frames, utcnow
from pipeline.types import Candidate, EventType

PAGE = 500


def put(connection: Connection, candidate: Candidate, run_id: str | None = None) -> None:
    """Store a candidate and index its frames. Seen again, its newest evidence and frames count."""
    values = {**candidate_row(candidate), "run_id": run_id}
    # occurred_at falls back to the time of storing, so it may only move when the source told a time.
    keep = ("created_at", "run_id") if candidate.wall_time else ("created_at", "run_id", "occurred_at")
    upsert(connection, candidates, values, key="candidate_id", keep=keep)
    now = utcnow()
    index: dict[str, dict[str, Any]] = {
        frame.sha256: {
            "sha256": frame.sha256,
            "width": frame.width,
            "height": frame.height,
            "created_at": now,
            "removed_at": None,
        }
        # In one order for everybody: two transactions that lock the same rows crosswise would never end.
        for frame in sorted(candidate.key_frames, key=lambda frame: frame.sha256)
    }
    connection.execute(_UNLINK, {"p_candidate": candidate.candidate_id, "p_frames": list(index)})
    if index:
        connection.execute(_put_frames(connection.dialect.name), list(index.values()))
        links = [{"candidate_id": candidate.candidate_id, "sha256": sha256} for sha256 in index]
        insert_ignore(connection, candidate_frames, links)


@cache
def _put_frames(dialect: str) -> Any:
    # A frame that retention removed and stage 1 wrote again is there again.
    return insert(dialect, frames).on_conflict_do_update(index_elements=["sha256"], set_={"removed_at": None})


_UNLINK = delete(candidate_frames).where(
    candidate_frames.c.candidate_id == bindparam("p_candidate"),
    candidate_frames.c.sha256.not_in(bindparam("p_frames", expanding=True)),
)
_GET = select(candidates).where(candidates.c.candidate_id == bindparam("p_candidate"))


def get(connection: Connection, candidate_id: str) -> Candidate | None:
    """One candidate, or ``None``."""
    row = connection.execute(_GET, {"p_candidate": candidate_id}).mappings().first()
    return candidate_from(row) if row else None


def find(
    engine: Engine,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    camera: str | None = None,
    event_types: Sequence[EventType] = (),
    run_id: str | None = None,
) -> Iterator[Candidate]:
    """Stored candidates in order of their id, a page at a time so that an archive of any size fits.

    Args:
        engine: The store.
        since: Only those that occurred at or after this moment.
        until: Only those before this moment.
        camera: Only this camera.
        event_types: Only these; all when empty.
        run_id: Only those that this run saw first.
    """
    filters: list[ColumnElement[bool]] = []
    if since:
        filters.append(candidates.c.occurred_at >= since)
    if until:
        filters.append(candidates.c.occurred_at < until)
    if camera:
        filters.append(candidates.c.camera == camera)
    if event_types:
        filters.append(candidates.c.event_type.in_([str(one) for one in event_types]))
    if run_id:
        filters.append(candidates.c.run_id == run_id)
    last = ""
    while True:
        query = (
            select(candidates)
            .where(candidates.c.candidate_id > last, *filters)
            .order_by(candidates.c.candidate_id)
            .limit(PAGE)
        )
        with read(engine) as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            yield candidate_from(row)
        if len(rows) < PAGE:
            return
        last = rows[-1]["candidate_id"]
