"""The JSON interface, version 1.

Send the token as ``Authorization: Bearer``; ``X-Operator`` names who asks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.desk import health, queries, writes
from pipeline.desk.context import TheDesk, TheOperator
from pipeline.desk.queries import Listed, Tab
from pipeline.errors import FrameStoreError
from pipeline.store.schema import Answer

router = APIRouter(prefix="/api/v1", tags=["incidents"])
NOT_FOUND = "no such incident"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnswerOut(_Model):
    """An operator's answer."""

    answer: str
    operator: str
    note: str
    at: datetime


class IncidentOut(_Model):
    """One incident, as the list shows it. Times in stream seconds end in ``_s``.

    A dismissed candidate that belongs to no incident is listed by its candidate's id.
    """

    incident_id: str
    candidate_id: str | None
    camera: str
    source: str
    zone: str | None
    event_type: str
    start_s: float
    end_s: float
    started_at: datetime | None
    created_at: datetime
    updated_at: datetime
    state: str
    decision: str
    priority: str
    score: float | None
    title: str
    summary: str
    candidate_count: int
    merged_into: str | None
    answer: AnswerOut | None


class VerdictOut(_Model):
    """A verdict with all that is needed to check it."""

    verdict_id: int
    candidate_id: str
    verdict: str
    score: float | None
    log_odds: float | None
    category: str | None
    decision: str
    priority: str
    reason: str
    criteria: list[dict[str, Any]]
    narrative: dict[str, Any] | None
    grounded: bool | None
    model: str
    prompt: str
    prompt_sha256: str
    provenance: dict[str, Any]
    timings_ms: dict[str, float]
    error_source: str | None
    error: str | None
    raw_reply: str | None
    created_at: datetime


class CandidateOut(_Model):
    """A candidate of an incident; ``verdict`` is missing while it waits."""

    candidate_id: str
    start_s: float
    end_s: float
    trigger: dict[str, Any]
    evidence: dict[str, Any]
    frames: list[dict[str, Any]]
    verdict: VerdictOut | None


class WholeOut(IncidentOut):
    """One incident with its candidates and every answer, newest first."""

    candidates: list[CandidateOut]
    answers: list[AnswerOut]


class PageOut(_Model):
    """One page of the list, and how many incidents each part holds (dismissed: counted up to 1000)."""

    incidents: list[IncidentOut]
    counts: dict[str, int]
    more: bool


class AnswerIn(_Model):
    """An answer to an incident."""

    answer: Answer
    note: str = Field("", max_length=500)


class HealthOut(_Model):
    """How the installation is; ``status`` is ``ok`` or ``degraded``."""

    status: str
    waiting: int
    running: int
    dead: int
    shed: int
    queue_age_s: float
    worker_seen_at: datetime | None
    workers: int
    broker_up: bool


def _answer(row: Any) -> AnswerOut:
    return AnswerOut(answer=row.answer, operator=row.operator, note=row.note, at=row.at)


_SAME = tuple(name for name in IncidentOut.model_fields if name not in ("decision", "answer"))
_SAME_VERDICT = tuple(name for name in VerdictOut.model_fields if name not in ("decision", "verdict"))


def _incident(listed: Listed) -> dict[str, Any]:
    row = listed.incident
    answer = _answer(listed.answer) if listed.answer else None
    return {name: getattr(row, name) for name in _SAME} | {"decision": row.action, "answer": answer}


def _verdict(row: Any) -> VerdictOut:
    same = {name: getattr(row, name) for name in _SAME_VERDICT}
    return VerdictOut(**same, decision=row.action, verdict=row.state)


@router.get("/incidents")
def list_incidents(
    desk: TheDesk,
    operator: TheOperator,
    tab: Tab = Tab.OPEN,
    limit: Annotated[int, Query(ge=1, le=500)] = queries.PAGE,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> PageOut:
    """Incidents of a tab, most urgent first."""
    with desk.reading() as connection:
        found = queries.list_incidents(connection, tab, limit + 1, offset)
        counts = queries.tab_counts(connection)
    return PageOut(
        incidents=[IncidentOut(**_incident(one)) for one in found[:limit]],
        counts={str(name): count for name, count in counts.items()},
        more=len(found) > limit,
    )


@router.get("/incidents/{incident_id}")
def read_incident(desk: TheDesk, operator: TheOperator, incident_id: str) -> WholeOut:
    """One incident; looking at it is recorded."""
    with desk.reading() as connection:
        whole = queries.incident(connection, incident_id)
    if whole is None:
        raise HTTPException(404, NOT_FOUND)
    writes.viewed(desk.engine, operator.name, incident_id)
    members = [
        CandidateOut(
            candidate_id=candidate.candidate_id,
            start_s=candidate.start_s,
            end_s=candidate.end_s,
            trigger={"name": candidate.trigger_name, "score": candidate.trigger_score},
            evidence=candidate.evidence,
            frames=candidate.key_frames,
            verdict=_verdict(verdict) if verdict else None,
        )
        for candidate, verdict in whole.members
    ]
    return WholeOut(
        **_incident(whole), candidates=members, answers=[_answer(answer) for answer in whole.answers]
    )


@router.post("/incidents/{incident_id}/feedback", status_code=201)
def give_feedback(
    request: Request, desk: TheDesk, operator: TheOperator, incident_id: str, body: AnswerIn
) -> AnswerOut:
    """Store an answer. With a session cookie instead of the token, send ``X-CSRF-Token``."""
    desk.gate.check_post(request, operator)
    stored = writes.answered(desk.engine, incident_id, operator.name, body.answer, note=body.note)
    if stored is None:
        raise HTTPException(404, NOT_FOUND)
    with desk.reading() as connection:
        whole = queries.incident(connection, stored)
    if whole is None or not whole.answers:
        raise HTTPException(404, NOT_FOUND)
    return _answer(whole.answers[0])


@router.get("/health")
def read_health(desk: TheDesk, operator: TheOperator) -> HealthOut:
    """Queue, workers and broker. A database that cannot be reached answers 503."""
    with desk.reading() as connection:
        state = health.look(connection, desk.broker)
    return HealthOut(
        status="degraded" if state.degraded else "ok",
        waiting=state.queue.waiting,
        running=state.queue.running,
        dead=state.queue.dead,
        shed=state.queue.shed,
        queue_age_s=round(state.queue_age_s, 3),
        worker_seen_at=state.queue.worker_seen,
        workers=state.queue.workers,
        broker_up=state.broker_up,
    )


@router.get("/frames/{sha256}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def read_frame(
    desk: TheDesk,
    operator: TheOperator,
    sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A key frame by the hash of its bytes."""
    # The browser may keep it but must ask each time, so that signing out and retention take effect.
    headers = {"etag": f'"{sha256}"', "cache-control": "private, no-cache"}
    with desk.reading() as connection:
        known = queries.frame_is_known(connection, sha256)
    if not known:
        raise HTTPException(404, "no such frame")
    if if_none_match == headers["etag"]:
        return Response(status_code=304, headers=headers)
    try:
        encoded = desk.frames.get(sha256)
    except FrameStoreError as error:
        raise HTTPException(404, error.one_line()) from error
    kind = "image/png" if encoded.startswith(b"\x89PNG") else "image/jpeg"
    return Response(encoded, media_type=kind, headers=headers)
