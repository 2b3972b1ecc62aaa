"""Cameras: how each is, every gap in what it sent, and which dropped clips have been read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from pipeline.store.engine import insert, insert_ignore, read, upsert, write
from pipeline.store.schema import camera_gaps, cameras, clips, utcnow


def put(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write how cameras are: one row each, by name."""
    for row in rows:
        upsert(connection, cameras, {**row, "updated_at": utcnow()}, key="camera", keep=())


def add_gaps(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record gaps: ``camera``, ``run_id``, ``reason``, ``start_at``, ``end_at``."""
    if rows:
        connection.execute(insert(connection.dialect.name, camera_gaps), [dict(row) for row in rows])


def listing(connection: Connection) -> list[dict[str, Any]]:
    """All cameras, by name."""
    return [dict(row) for row in connection.execute(select(cameras).order_by(cameras.c.camera)).mappings()]


def gaps(connection: Connection, camera: str, since: datetime | None = None) -> list[dict[str, Any]]:
    """Gaps of one camera, oldest first."""
    query = select(camera_gaps).where(camera_gaps.c.camera == camera).order_by(camera_gaps.c.start_at)
    if since is not None:
        query = query.where(camera_gaps.c.end_at >= since)
    return [dict(row) for row in connection.execute(query).mappings()]


def clip_done(engine: Engine, identity: str, path: str, run_id: str) -> None:
    """Note that a followed clip has been read to its end and its candidates are committed."""
    with write(engine) as connection:
        insert_ignore(connection, clips, [{"identity": identity, "path": path, "run_id": run_id}])


def clip_known(engine: Engine, identity: str) -> bool:
    """Whether a followed clip of this content has been read."""
    with read(engine) as connection:
        query = select(clips.c.identity).where(clips.c.identity == identity)
        return connection.execute(query).first() is not None
