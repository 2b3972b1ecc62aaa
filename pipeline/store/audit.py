"""The audit trail: append-only, and what live pages follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from pipeline.store.schema import Deed, audit

SYSTEM = "sitrep"
"""Who, when no person did it."""


def record(
    connection: Connection,
    what: Deed,
    subject: str,
    *,
    who: str = SYSTEM,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry in the caller's transaction: what is recorded happened, and the other way round."""
    values = {"who": who, "what": str(what), "subject": subject, "detail": dict(detail or {})}
    connection.execute(insert(audit).values(values))
