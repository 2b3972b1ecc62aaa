"""Admission: how many jobs may wait before new ones are shed, openly and with the reason."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.settings import Settings
from pipeline.store import jobs
from pipeline.types import Lane


def refusal(connection: Connection, settings: Settings, lane: Lane, camera: str) -> str | None:
    """Why a job may not come in now, or ``None``.

    Only lanes at least as urgent count, so that a long archive run never sheds a live alarm.
    """
    waiting = jobs.waiting(connection, lane=lane)
    if waiting >= settings.max_pending:
        return f"{waiting} jobs wait already (max_pending)"
    # Fewer in all than one camera may have: its own need not be counted.
    if waiting < settings.max_pending_per_camera:
        return None
    of_camera = jobs.waiting(connection, lane=lane, camera=camera)
    if of_camera >= settings.max_pending_per_camera:
        return f"{of_camera} jobs of camera {camera} wait already (max_pending_per_camera)"
    return None
