"""What operators answer about incidents."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select, update

from pipeline.errors import StoreError
from pipeline.store import audit
from pipeline.store.codec import clean
from pipeline.store.engine import write
from pipeline.store.schema import Answer, Deed, feedback, incidents, utcnow


def give(engine: Engine, incident_id: str, answer: Answer, *, operator: str, note: str = "") -> int:
    """Store an answer; the incident takes its state from the newest one. Earlier answers are kept.

    Returns:
        The answer's id.

    Raises:
        StoreError: There is no such incident.
    """
    with write(engine) as connection:
        query = select(incidents.c.verdict_id, incidents.c.merged_into)
        row = connection.execute(query.where(incidents.c.incident_id == incident_id)).first()
        if row is not None and row.merged_into is not None:
            incident_id = row.merged_into
            row = connection.execute(query.where(incidents.c.incident_id == incident_id)).first()
        if row is None:
            raise StoreError(f"there is no incident {incident_id[:40]}", hint="it may have been removed")
        values = {
            "incident_id": incident_id,
            "verdict_id": row.verdict_id,
            "operator": clean(operator),
            "answer": str(answer),
            "note": clean(note),
        }
        made = connection.execute(insert(feedback).values(values).returning(feedback.c.feedback_id))
        feedback_id = int(made.scalar_one())
        changed = {"state": str(answer), "updated_at": utcnow()}
        connection.execute(update(incidents).where(incidents.c.incident_id == incident_id).values(changed))
        detail = {"answer": str(answer), "feedback_id": feedback_id}
        audit.record(connection, Deed.FEEDBACK_GIVEN, incident_id, who=operator, detail=detail)
    return feedback_id
