"""What the incident page writes: answers, and who looked at what, each with its row of the audit trail."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, Engine, insert, select, update

from pipeline.store import audit
from pipeline.store import feedback as store_feedback
from pipeline.store import incidents as store_incidents
from pipeline.store.engine import lock, write
from pipeline.store.schema import Answer, Deed, candidates, incidents, verdicts


def answered(engine: Engine, page_id: str, operator: str, answer: Answer, *, note: str = "") -> str | None:
    """Store an operator's answer to an incident, or to a dismissed candidate, which opens an incident.

    Returns:
        The incident's id, or ``None`` when there is nothing by this id.

    Raises:
        StoreError: The database refused.
    """
    with write(engine) as connection:
        incident_id = _incident_of(connection, page_id, operator)
    if incident_id is None:
        return None
    words = " ".join(note.split())
    store_feedback.give(engine, incident_id, answer, operator=operator, note=words)
    return incident_id


def _incident_of(connection: Connection, page_id: str, operator: str) -> str | None:
    known = connection.execute(
        select(incidents.c.incident_id, incidents.c.merged_into).where(incidents.c.incident_id == page_id)
    ).first()
    if known is not None:
        return str(known.merged_into or known.incident_id)
    lock(connection, f"candidate {page_id}")
    found = connection.execute(
        select(candidates, verdicts.c.action, verdicts.c.priority)
        .join(verdicts, verdicts.c.candidate_id == candidates.c.candidate_id)
        .where(candidates.c.candidate_id == page_id, verdicts.c.live)
    ).first()
    if found is None or found.incident_id is not None:
        return None if found is None else str(found.incident_id)
    incident_id = uuid.uuid4().hex
    values = {
        "incident_id": incident_id,
        "camera": found.camera,
        "source": found.source,
        "event_type": found.event_type,
        "zone": found.zone,
        "start_s": found.start_s,
        "end_s": found.end_s,
        "action": found.action,
        "priority": found.priority,
        "priority_rank": store_incidents.PRIORITY_RANK[found.priority],
    }
    connection.execute(insert(incidents).values(values))
    connection.execute(
        update(candidates).where(candidates.c.candidate_id == page_id).values(incident_id=incident_id)
    )
    store_incidents.refresh(connection, incident_id)
    detail = {"candidate_id": page_id, "why": "answered"}
    audit.record(connection, Deed.INCIDENT_OPENED, incident_id, who=operator, detail=detail)
    return incident_id


def viewed(engine: Engine, operator: str, page_id: str) -> None:
    """Record that somebody looked at an incident. Raises StoreError."""
    _recorded(engine, Deed.INCIDENT_VIEWED, page_id, operator)


def exported(engine: Engine, operator: str, page_id: str) -> None:
    """Record that somebody saved a report of an incident. Raises StoreError."""
    _recorded(engine, Deed.REPORT_SAVED, page_id, operator)


def signed_in(engine: Engine, operator: str) -> None:
    """Record that somebody signed in. Raises StoreError."""
    _recorded(engine, Deed.SIGNED_IN, "desk", operator)


def _recorded(engine: Engine, deed: Deed, subject: str, operator: str) -> None:
    with write(engine) as connection:
        audit.record(connection, deed, subject, who=operator)
