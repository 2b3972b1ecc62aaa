"""Incidents: candidates of one camera and event type whose times overlap are one real-world event."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, insert, or_, select, update

from pipeline.store import audit, outbox
from pipeline.store.codec import moment
from pipeline.store.engine import lock
from pipeline.store.schema import (
    Deed,
    IncidentState,
    candidates,
    feedback,
    incidents,
    utcnow,
    verdicts,
)
from pipeline.store.schema import outbox as outbox_table
from pipeline.types import Action, Candidate, Priority, Verdict

MERGE_GAP_S = 10.0
"""Candidates of one event may lie this far apart: a trigger pauses while people are hidden."""
PRIORITY_RANK = {str(priority): rank for rank, priority in enumerate(Priority)}
_TOLD = ("incident_id", "camera", "event_type", "zone", "priority", "score", "title", "summary", "start_s")
_ACTION_RANK = {str(action): rank for rank, action in enumerate(Action)}


_INCIDENT_OF = select(candidates.c.incident_id).where(candidates.c.candidate_id == bindparam("p_candidate"))


def record(connection: Connection, candidate: Candidate, verdict: Verdict) -> str | None:
    """Take a live verdict into the incident of its candidate, in the caller's transaction.

    Opens an incident, joins an overlapping one, or joins several that turn out to be one event. An
    incident whose live verdicts are escalated gets its alert, once.

    Returns:
        The incident's id; ``None`` when the candidate was dismissed and belongs to none.
    """
    me = {"p_candidate": candidate.candidate_id}
    # Most candidates are dismissed and belong to no incident: they need neither lock nor search.
    if verdict.action is Action.DISMISS and connection.execute(_INCIDENT_OF, me).scalar() is None:
        return None
    lock(connection, f"incident {candidate.camera} {candidate.event_type}")
    mine = connection.execute(_INCIDENT_OF, me).scalar()
    found = _overlapping(connection, candidate, mine)
    if not found:
        mine = _open(connection, candidate, verdict)
        deed = Deed.INCIDENT_OPENED
    else:
        mine = found[0]["incident_id"]
        for other in found[1:]:
            _merge(connection, other, mine)
        deed = Deed.INCIDENT_CHANGED
    connection.execute(
        update(candidates).where(candidates.c.candidate_id == candidate.candidate_id).values(incident_id=mine)
    )
    shown = refresh(connection, mine)
    audit.record(connection, deed, mine, detail={"action": shown["action"], "priority": shown["priority"]})
    if shown["action"] == Action.ESCALATE:
        outbox.add(connection, f"incident:{mine}", mine, _alert(shown))
    return mine


def _overlapping(connection: Connection, candidate: Candidate, mine: str | None) -> list[Mapping[Any, Any]]:
    wall = moment(candidate.wall_time)
    same_time: ColumnElement[bool]
    if wall is not None:
        gap = timedelta(seconds=MERGE_GAP_S)
        end = wall + timedelta(seconds=candidate.end_s - candidate.start_s)
        same_time = and_(incidents.c.started_at <= end + gap, incidents.c.ended_at >= wall - gap)
    else:
        # Without a wall clock, stream time only means something within one source.
        same_time = and_(
            incidents.c.started_at.is_(None),
            incidents.c.source == candidate.source,
            incidents.c.start_s <= candidate.end_s + MERGE_GAP_S,
            incidents.c.end_s >= candidate.start_s - MERGE_GAP_S,
        )
    query = (
        select(incidents)
        .where(
            incidents.c.camera == candidate.camera,
            incidents.c.event_type == str(candidate.event_type),
            incidents.c.merged_into.is_(None),
            or_(incidents.c.incident_id == (mine or ""), same_time),
        )
        .order_by(incidents.c.created_at, incidents.c.incident_id)
    )
    return list(connection.execute(query).mappings())


def _open(connection: Connection, candidate: Candidate, verdict: Verdict) -> str:
    incident_id = uuid.uuid4().hex
    wall = moment(candidate.wall_time)
    values = {
        "incident_id": incident_id,
        "camera": candidate.camera,
        "source": candidate.source,
        "event_type": str(candidate.event_type),
        "zone": candidate.zone,
        "start_s": candidate.start_s,
        "end_s": candidate.end_s,
        "started_at": wall,
        "ended_at": wall + timedelta(seconds=candidate.end_s - candidate.start_s) if wall else None,
        "action": str(verdict.action),
        "priority": str(verdict.priority),
        "priority_rank": PRIORITY_RANK[str(verdict.priority)],
    }
    connection.execute(insert(incidents).values(values))
    return incident_id


def _merge(connection: Connection, other: Mapping[Any, Any], into: str) -> None:
    gone = other["incident_id"]
    for table in (candidates, feedback, outbox_table):
        connection.execute(update(table).where(table.c.incident_id == gone).values(incident_id=into))
    now = utcnow()
    connection.execute(
        update(incidents)
        .where(incidents.c.incident_id == gone)
        .values(merged_into=into, candidate_count=0, updated_at=now)
    )
    if other["state"] != IncidentState.NEW:
        # What a person said about the younger one stands, unless somebody answered the older one too.
        unanswered = and_(incidents.c.incident_id == into, incidents.c.state == IncidentState.NEW)
        connection.execute(update(incidents).where(unanswered).values(state=other["state"]))
    audit.record(connection, Deed.INCIDENT_MERGED, gone, detail={"into": into})


def refresh(connection: Connection, incident_id: str) -> Mapping[Any, Any]:
    """Recompute an incident from its candidates and their live verdicts; the row as it is now.

    The representative is the verdict with the strongest action, then the highest priority, then score. An
    incident whose candidates are all dismissed is itself ``dismiss`` and leaves the desk.
    """
    span = connection.execute(
        select(
            func.min(candidates.c.start_s),
            func.max(candidates.c.end_s),
            func.min(candidates.c.occurred_at),
            func.count(),
        ).where(candidates.c.incident_id == incident_id)
    ).one()
    strongest = case(_ACTION_RANK, value=verdicts.c.action, else_=len(_ACTION_RANK))
    soonest = case(PRIORITY_RANK, value=verdicts.c.priority, else_=len(PRIORITY_RANK))
    shown = (
        connection.execute(
            select(verdicts)
            .join(candidates, candidates.c.candidate_id == verdicts.c.candidate_id)
            .where(candidates.c.incident_id == incident_id, verdicts.c.live)
            .order_by(strongest, soonest, func.coalesce(verdicts.c.score, 0.0).desc(), verdicts.c.verdict_id)
            .limit(1)
        )
        .mappings()
        .one()
    )
    said = shown["narrative"] or {}
    values = {
        "start_s": span[0],
        "end_s": span[1],
        "candidate_count": span[3],
        "action": shown["action"],
        "priority": shown["priority"],
        "priority_rank": PRIORITY_RANK[shown["priority"]],
        "score": shown["score"],
        "title": said.get("title", ""),
        "summary": said.get("summary") or shown["reason"],
        "verdict_id": shown["verdict_id"],
        "candidate_id": shown["candidate_id"],
        "updated_at": utcnow(),
    }
    values |= _wall_span(connection, incident_id)
    statement = (
        update(incidents).where(incidents.c.incident_id == incident_id).values(values).returning(incidents)
    )
    return connection.execute(statement).mappings().one()


def _wall_span(connection: Connection, incident_id: str) -> dict[str, datetime | None]:
    query = select(candidates.c.occurred_at, candidates.c.start_s, candidates.c.end_s).where(
        candidates.c.incident_id == incident_id, candidates.c.wall_time.is_not(None)
    )
    spans = [
        (begun, begun + timedelta(seconds=end - start)) for begun, start, end in connection.execute(query)
    ]
    return {
        "started_at": min((begun for begun, _ in spans), default=None),
        "ended_at": max((ended for _, ended in spans), default=None),
    }


def _alert(incident: Mapping[Any, Any]) -> dict[str, Any]:
    named = (
        "incident_id",
        "camera",
        "event_type",
        "zone",
        "priority",
        "score",
        "title",
        "summary",
        "start_s",
    )
    begun = incident["started_at"]
    return {**{name: incident[name] for name in named}, "started_at": begun.isoformat() if begun else None}
