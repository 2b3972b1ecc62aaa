"""What the incident page reads. Every function takes an open connection and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, and_, func, literal, not_, select

from pipeline.store.schema import (
    IncidentState,
    JobState,
    audit,
    candidates,
    feedback,
    frames,
    incidents,
    jobs,
    utcnow,
    verdicts,
    workers,
)
from pipeline.types import Action

PAGE = 50
COUNT_CAP = 1000
WORKER_SILENT_AFTER = timedelta(seconds=60)
_NEIGHBOUR_LIMIT = 2000


class Tab(StrEnum):
    """A part of the list."""

    OPEN = "open"
    """Meant for a person, and nobody has answered yet."""
    ANSWERED = "answered"
    DISMISSED = "dismissed"
    """Judged false and not answered: kept so that anybody can check what was stopped."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a line of the list is about: an incident, or a dismissed candidate that belongs to none.

    The names are the columns of ``incidents``. For a dismissed candidate ``incident_id`` is the
    candidate's id: its page can be looked at and answered all the same, and answering opens an incident.
    """

    incident_id: str
    camera: str
    source: str
    event_type: str
    zone: str | None
    start_s: float
    end_s: float
    started_at: datetime | None
    state: str
    action: str
    priority: str
    score: float | None
    title: str
    summary: str
    verdict_id: int | None
    candidate_id: str | None
    candidate_count: int
    merged_into: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list with its candidate, its verdict and the last answer."""

    incident: Head
    candidate: Row[Any] | None
    verdict: Row[Any] | None
    answer: Row[Any] | None


@dataclass(frozen=True, slots=True)
class Whole(Listed):
    """One incident with all that belongs to it.

    Attributes:
        members: Candidate and live verdict (``None`` while it waits) of every alarm that was joined.
        answers: Answers, newest first.
        previous: Incident before it in its tab, if any.
        next: Incident after it in its tab, if any.
    """

    members: tuple[tuple[Row[Any], Row[Any] | None], ...]
    answers: tuple[Row[Any], ...]
    previous: str | None
    next: str | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """How the queue is: counts by state, the oldest waiting job of people's lanes, workers that live."""

    waiting: int
    running: int
    dead: int
    shed: int
    oldest: datetime | None
    worker_seen: datetime | None
    workers: int
    by_lane: dict[tuple[str, str], int]
    oldest_by_lane: dict[str, datetime]


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the audit trail."""

    audit_id: int
    what: str
    subject: str
    at: datetime


def _in_tab(tab: Tab) -> ColumnElement[bool]:
    dismissed = incidents.c.action == Action.DISMISS
    new = incidents.c.state == IncidentState.NEW
    listed = incidents.c.merged_into.is_(None)
    wanted = {
        Tab.OPEN: and_(new, not_(dismissed)),
        Tab.ANSWERED: not_(new),
        Tab.DISMISSED: and_(new, dismissed),
    }[tab]
    return and_(listed, wanted)


_ORPHAN = and_(
    candidates.c.candidate_id == verdicts.c.candidate_id,
    verdicts.c.live,
    verdicts.c.action == Action.DISMISS,
    candidates.c.incident_id.is_(None),
)
"""A dismissed candidate that belongs to no incident."""


def _ids(tab: Tab) -> Select[Any]:
    """Ids of a tab in its order, with a column that tells incidents from candidates."""
    found = select(literal(True).label("opened"), incidents.c.incident_id.label("id")).where(_in_tab(tab))
    newest = (incidents.c.created_at.desc(), incidents.c.incident_id)
    if tab is Tab.OPEN:
        # Alphabetical order puts "escalate" before "review" within one priority.
        return found.order_by(incidents.c.priority_rank, incidents.c.action, *newest)
    if tab is Tab.ANSWERED:
        return found.order_by(incidents.c.updated_at.desc(), incidents.c.incident_id)
    orphans = select(
        literal(False).label("opened"),
        candidates.c.candidate_id.label("id"),
        verdicts.c.created_at.label("at"),
    ).where(_ORPHAN)
    both = found.add_columns(incidents.c.updated_at.label("at")).union_all(orphans).subquery()
    return select(both.c.opened, both.c.id).order_by(both.c.at.desc(), both.c.id)


def tab_of(incident: Head) -> Tab:
    """The tab an incident is listed under."""
    if incident.state != IncidentState.NEW:
        return Tab.ANSWERED
    return Tab.DISMISSED if incident.action == Action.DISMISS else Tab.OPEN


def tab_counts(connection: Connection) -> dict[Tab, int]:
    """How many lines each tab holds; of dismissed ones no more than ``COUNT_CAP`` are counted."""
    counts = {tab: connection.execute(select(func.count()).where(_in_tab(tab))).scalar_one() for tab in Tab}
    orphans = select(candidates.c.candidate_id).where(_ORPHAN).limit(COUNT_CAP).subquery()
    counts[Tab.DISMISSED] += connection.execute(select(func.count()).select_from(orphans)).scalar_one()
    return counts


def decision_counts(connection: Connection) -> list[tuple[str, str, int]]:
    """Incidents by decision and by state of the answer."""
    rows = connection.execute(
        select(incidents.c.action, incidents.c.state, func.count())
        .where(incidents.c.merged_into.is_(None))
        .group_by(incidents.c.action, incidents.c.state)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def list_incidents(connection: Connection, tab: Tab, limit: int = PAGE, offset: int = 0) -> list[Listed]:
    """One page of a tab, in its order."""
    order = connection.execute(_ids(tab).limit(limit).offset(offset)).all()
    opened = _by(connection, incidents.c.incident_id, [row.id for row in order if row.opened])
    orphans = [row.id for row in order if not row.opened]
    seen = _by(connection, candidates.c.candidate_id, [row.candidate_id for row in opened.values()] + orphans)
    said = _by(connection, verdicts.c.verdict_id, [row.verdict_id for row in opened.values()])
    dismissed = _by(connection, verdicts.c.candidate_id, orphans, verdicts.c.live)
    given = _last_answers(connection, list(opened))
    listed = []
    for row in order:
        if row.opened and row.id in opened:
            found = opened[row.id]
            listed.append(
                Listed(
                    _head(found), seen.get(found.candidate_id), said.get(found.verdict_id), given.get(row.id)
                )
            )
        elif row.id in seen and row.id in dismissed:
            listed.append(_orphan(seen[row.id], dismissed[row.id]))
    return listed


def _head(row: Row[Any]) -> Head:
    return Head(**{field.name: getattr(row, field.name) for field in fields(Head)})


def _orphan(candidate: Row[Any], verdict: Row[Any]) -> Listed:
    said = verdict.narrative or {}
    head = Head(
        incident_id=candidate.candidate_id,
        camera=candidate.camera,
        source=candidate.source,
        event_type=candidate.event_type,
        zone=candidate.zone,
        start_s=candidate.start_s,
        end_s=candidate.end_s,
        started_at=candidate.occurred_at if candidate.wall_time else None,
        state=IncidentState.NEW,
        action=verdict.action,
        priority=verdict.priority,
        score=verdict.score,
        title=said.get("title", ""),
        summary=said.get("summary") or verdict.reason,
        verdict_id=verdict.verdict_id,
        candidate_id=candidate.candidate_id,
        candidate_count=1,
        merged_into=None,
        created_at=candidate.created_at,
        updated_at=verdict.created_at,
    )
    return Listed(head, candidate, verdict, None)


def _by(
    connection: Connection, key: Column[Any], values: Sequence[Any], *more: ColumnElement[bool]
) -> dict[Any, Row[Any]]:
    """Rows of the table of ``key`` by that key."""
    wanted = [value for value in values if value is not None]
    if not wanted:
        return {}
    rows = connection.execute(select(key.table).where(key.in_(wanted), *more)).all()
    return {getattr(row, key.name): row for row in rows}


def _last_answers(connection: Connection, incident_ids: Sequence[str]) -> dict[str, Row[Any]]:
    latest = (
        select(func.max(feedback.c.feedback_id))
        .where(feedback.c.incident_id.in_(incident_ids))
        .group_by(feedback.c.incident_id)
    )
    rows = connection.execute(select(feedback).where(feedback.c.feedback_id.in_(latest))).all()
    return {row.incident_id: row for row in rows}


def incident(connection: Connection, page_id: str) -> Whole | None:
    """One incident, or a candidate by its id, or ``None``.

    A merged incident is returned too, and so is a candidate that belongs to an incident by now:
    ``incident.merged_into`` then says where to look.
    """
    row = connection.execute(select(incidents).where(incidents.c.incident_id == page_id)).one_or_none()
    if row is None:
        return _candidate(connection, page_id)
    head = _head(row)
    found = connection.execute(
        select(candidates)
        .where(candidates.c.incident_id == page_id)
        .order_by(candidates.c.start_s, candidates.c.candidate_id)
    ).all()
    said = _by(
        connection, verdicts.c.candidate_id, [member.candidate_id for member in found], verdicts.c.live
    )
    members = tuple((member, said.get(member.candidate_id)) for member in found)
    chosen = next((pair for pair in members if pair[0].candidate_id == head.candidate_id), None)
    candidate, verdict = chosen or (members[0] if members else (None, None))
    answers = tuple(
        connection.execute(
            select(feedback).where(feedback.c.incident_id == page_id).order_by(feedback.c.feedback_id.desc())
        ).all()
    )
    before, after = _neighbours(connection, head)
    last = answers[0] if answers else None
    return Whole(head, candidate, verdict, last, members, answers, before, after)


def _candidate(connection: Connection, candidate_id: str) -> Whole | None:
    found = _by(connection, candidates.c.candidate_id, [candidate_id]).get(candidate_id)
    verdict = _by(connection, verdicts.c.candidate_id, [candidate_id], verdicts.c.live).get(candidate_id)
    if found is None or verdict is None:
        return None
    listed = _orphan(found, verdict)
    head = replace(listed.incident, merged_into=found.incident_id)
    before, after = (None, None) if head.merged_into else _neighbours(connection, head)
    return Whole(head, found, verdict, None, ((found, verdict),), (), before, after)


def _neighbours(connection: Connection, head: Head) -> tuple[str | None, str | None]:
    found = connection.execute(_ids(tab_of(head)).limit(_NEIGHBOUR_LIMIT)).all()
    order = [row.id for row in found]
    if head.incident_id not in order:
        return None, None
    place = order.index(head.incident_id)
    return (
        order[place - 1] if place else None,
        order[place + 1] if place + 1 < len(order) else None,
    )


def frame_is_known(connection: Connection, sha256: str) -> bool:
    """Whether a frame is indexed and was not removed by retention."""
    found = connection.execute(
        select(frames.c.sha256).where(frames.c.sha256 == sha256, frames.c.removed_at.is_(None))
    ).first()
    return found is not None


def queue_state(connection: Connection) -> QueueState:
    """Counts and ages of the queue, and the workers' last sign of life."""
    counted = connection.execute(
        select(jobs.c.lane, jobs.c.state, func.count(), func.min(jobs.c.created_at))
        .where(jobs.c.state.in_((JobState.PENDING, JobState.RUNNING, JobState.DEAD, JobState.SHED)))
        .group_by(jobs.c.lane, jobs.c.state)
    ).all()
    by_lane = {(lane, state): count for lane, state, count, _ in counted}
    oldest = {lane: first for lane, state, _, first in counted if state == JobState.PENDING}
    # The archive may wait for hours by design; only lanes people wait for make the age an alarm.
    watched = [first for lane, first in oldest.items() if lane != "archive"]
    seen = list(connection.execute(select(workers.c.seen_at).where(workers.c.stopped_at.is_(None))).scalars())
    silent_before = utcnow() - WORKER_SILENT_AFTER

    def total(state: JobState) -> int:
        return sum(count for (_, one), count in by_lane.items() if one == state)

    return QueueState(
        waiting=total(JobState.PENDING),
        running=total(JobState.RUNNING),
        dead=total(JobState.DEAD),
        shed=total(JobState.SHED),
        oldest=min(watched, default=None),
        worker_seen=max(seen, default=None),
        workers=sum(moment >= silent_before for moment in seen),
        by_lane=by_lane,
        oldest_by_lane=oldest,
    )


def last_change(connection: Connection) -> int:
    """The newest id of the audit trail; 0 when it is empty."""
    return connection.execute(select(func.max(audit.c.audit_id))).scalar_one() or 0


def last_ids(connection: Connection, count: int) -> tuple[int, ...]:
    """The newest verdict's id, then the newest ids of the audit trail: differs when anything was added."""
    newest = select(audit.c.audit_id).order_by(audit.c.audit_id.desc()).limit(count)
    judged = connection.execute(select(func.max(verdicts.c.verdict_id))).scalar_one() or 0
    return (judged, *connection.execute(newest).scalars())


def changes_after(
    connection: Connection, audit_id: int, deeds: Sequence[str], limit: int = 200
) -> list[Change]:
    """Audit rows with a larger id whose deed is one of ``deeds``, in order."""
    rows = connection.execute(
        select(audit.c.audit_id, audit.c.what, audit.c.subject, audit.c.at)
        .where(audit.c.audit_id > audit_id, audit.c.what.in_(deeds))
        .order_by(audit.c.audit_id)
        .limit(limit)
    )
    return [Change(*row) for row in rows]
