"""The pages a person sees: list, incident, sign-in, the parts htmx renews, and the live stream."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from pipeline.desk import health, queries, sse, view, writes
from pipeline.desk.auth import LANGUAGES, Operator
from pipeline.desk.context import Desk, TheDesk, TheOperator
from pipeline.desk.export import head_finder, incident_report
from pipeline.desk.queries import PAGE, Listed, Tab, Whole
from pipeline.desk.text import translator
from pipeline.store.schema import Answer

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


def render(
    request: Request,
    desk: Desk,
    template: str,
    operator: Operator | None,
    *,
    status: int = 200,
    **values: Any,
) -> Response:
    """A page in the language of its reader; never cached, because it shows footage and names."""
    language = operator.language if operator else LANGUAGES[0]
    return desk.templates.TemplateResponse(
        request,
        template,
        {"operator": operator, "language": language, "t": translator(language)} | values,
        status_code=status,
        headers={"cache-control": "no-store"},
    )


def _frame_of_page(desk: Desk, connection: Connection) -> dict[str, Any]:
    return {
        "health": health.look(connection, desk.broker),
        "after": queries.last_change(connection),
    }


def _shown(listed: Listed, words: view.Words) -> SimpleNamespace:
    """One line of the list."""
    incident, candidate, verdict = listed.incident, listed.candidate, listed.verdict
    return SimpleNamespace(
        incident=incident,
        answer=listed.answer,
        title=incident.title or _plain_title(incident, verdict, words),
        summary=incident.summary or (candidate.evidence.get("note", "") if candidate else ""),
        at=incident.started_at or incident.created_at,
        thumb=view.thumbnail(candidate.key_frames) if candidate else None,
        bar=view.score_bar(incident.score, None),
    )


def _plain_title(incident: Any, verdict: Any, words: view.Words) -> str:
    """What stands for a title that was not written: type and verdict, no more than is known."""
    if verdict is None:
        return f"{words(incident.event_type)}: {words('waiting_verdict')}"
    state = "judged_confirmed" if verdict.state == "confirmed" else verdict.state
    return f"{words(incident.event_type)}: {words(state)}"


def _list(desk: Desk, connection: Connection, operator: Operator, tab: Tab, page: int) -> dict[str, Any]:
    found = queries.list_incidents(connection, tab, PAGE + 1, page * PAGE)
    words = translator(operator.language)
    return {
        "tab": str(tab),
        "page": page,
        "counts": {str(name): count for name, count in queries.tab_counts(connection).items()},
        "rows": [_shown(one, words) for one in found[:PAGE]],
        "more": len(found) > PAGE,
    }


@router.get("/")
def show_list(
    request: Request,
    desk: TheDesk,
    operator: TheOperator,
    tab: Tab = Tab.OPEN,
    page: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:
    """The list."""
    with desk.reading() as connection:
        values = _frame_of_page(desk, connection) | _list(desk, connection, operator, tab, page)
    return render(request, desk, "list.html", operator, **values)


@router.get("/fragments/list")
def list_part(
    request: Request,
    desk: TheDesk,
    operator: TheOperator,
    tab: Tab = Tab.OPEN,
    page: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:
    """The list alone, for htmx."""
    with desk.reading() as connection:
        values = _list(desk, connection, operator, tab, page)
    return render(request, desk, "_list.html", operator, **values)


@router.get("/fragments/strip")
def strip_part(request: Request, desk: TheDesk, operator: TheOperator) -> Response:
    """The strip alone, for htmx."""
    with desk.reading() as connection:
        state = health.look(connection, desk.broker)
    return render(request, desk, "_strip.html", operator, health=state)


@router.get("/incidents/{incident_id}")
def show_incident(request: Request, desk: TheDesk, operator: TheOperator, incident_id: str) -> Response:
    """One incident; looking at it is recorded."""
    with desk.reading() as connection:
        whole = queries.incident(connection, incident_id)
        values = _frame_of_page(desk, connection)
    words = translator(operator.language)
    if whole is None:
        texts = {"heading": words("not_found"), "help": words("not_found_help")}
        return render(request, desk, "error.html", operator, status=404, **values, **texts)
    if whole.incident.merged_into:
        return RedirectResponse(f"/incidents/{quote(whole.incident.merged_into)}", 303)
    writes.viewed(desk.engine, operator.name, incident_id)
    return render(request, desk, "incident.html", operator, **values, **_incident(whole, words))


def _incident(whole: Whole, words: view.Words) -> dict[str, Any]:
    incident, candidate, verdict = whole.incident, whole.candidate, whole.verdict
    evidence = candidate.evidence if candidate else {}
    shots = view.pictures(candidate.key_frames, evidence) if candidate else []
    peak = next((n for n, shot in enumerate(shots) if (shot.view, shot.moment) == ("full", "peak")), 0)
    listed = _shown(whole, words)
    thresholds = view.thresholds_of(verdict.provenance) if verdict else None
    said = verdict.narrative if verdict else None
    return {
        "whole": whole,
        "tab": str(queries.tab_of(incident)),
        "incident": incident,
        "candidate": candidate,
        "verdict": verdict,
        "said": said,
        "title": listed.title,
        "summary": (said or {}).get("summary") or incident.summary,
        "at": listed.at,
        "evidence": evidence,
        "facts": view.facts(evidence.get("facts") or {}),
        "pictures": shots,
        "first": peak,
        "has_motion": any(shot.view == "motion" for shot in shots),
        "score": view.score_bar(verdict.score if verdict else None, thresholds),
        "answers": whole.answers,
    }


class AnswerForm(BaseModel):
    """What the answer box sends."""

    model_config = ConfigDict(extra="forbid")

    answer: Answer
    note: str = Field("", max_length=500)
    csrf: str = Field("", max_length=100)


@router.post("/incidents/{incident_id}/feedback")
def answer(
    request: Request,
    desk: TheDesk,
    operator: TheOperator,
    incident_id: str,
    form: Annotated[AnswerForm, Form()],
) -> Response:
    """Store an answer; htmx gets the answer box back, a plain form the page."""
    desk.gate.check_post(request, operator, form.csrf)
    stored = writes.answered(desk.engine, incident_id, operator.name, form.answer, note=form.note)
    if stored is None:
        raise HTTPException(404, "no such incident")
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/incidents/{quote(stored)}", 303)
    return answer_part(request, desk, operator, stored)


@router.get("/incidents/{incident_id}/answer")
def answer_part(request: Request, desk: TheDesk, operator: TheOperator, incident_id: str) -> Response:
    """The answer box alone, for htmx."""
    with desk.reading() as connection:
        whole = queries.incident(connection, incident_id)
    if whole is None:
        raise HTTPException(404, "no such incident")
    shown: dict[str, Any] = {"incident": whole.incident, "answers": whole.answers}
    return render(request, desk, "_answer.html", operator, **shown)


@router.get("/incidents/{incident_id}/report.html")
def report(desk: TheDesk, operator: TheOperator, incident_id: str) -> Response:
    """One incident as a file to pass on, faces blurred."""
    with desk.reading() as connection:
        whole = queries.incident(connection, incident_id)
    if whole is None:
        raise HTTPException(404, "no such incident")
    pose = head_finder(desk.settings.data_dir)
    page = incident_report(whole, desk.frames, pose, operator.language)
    writes.exported(desk.engine, operator.name, incident_id)
    name = f'attachment; filename="sitrep-{whole.incident.incident_id[:16]}.html"'
    return HTMLResponse(page, headers={"content-disposition": name, "cache-control": "no-store"})


@router.get("/events", response_class=EventSourceResponse)
async def events(
    desk: TheDesk,
    operator: TheOperator,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """The live stream: one event a change, resumed by ``Last-Event-ID``."""
    resumed = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
    async for event in sse.stream(desk.tail, functools.partial(_changes, desk), resumed):
        yield event


def _changes(desk: Desk, after: int) -> list[queries.Change]:
    with desk.reading() as connection:
        return queries.changes_after(connection, after, sse.LIVE_DEEDS)
