"""Detections of other detectors in, their verdicts out: ``POST /api/v1/detections``.

Detectors send the machine token as ``Authorization: Bearer``. It opens these two routes and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive

from pipeline.desk.auth import SignInNeeded
from pipeline.desk.context import TheDesk, desk_of
from pipeline.errors import InboundError
from pipeline.inbound.fetch import limit_bytes
from pipeline.inbound.media import named_by_content
from pipeline.inbound.report import MAX_IMAGES, DetectionIn
from pipeline.inbound.service import Intake
from pipeline.inbound.status import status

router = APIRouter(prefix="/api/v1", tags=["detections"])
_IMAGES, _CLIP, _EVENT = "images", "clip", "event"


class AcceptedOut(BaseModel):
    """A detection that is committed and will be judged; ``known``: it had been sent before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate_id: str
    job_id: str
    known: bool


class StatusOut(BaseModel):
    """A candidate and what became of it.

    ``state`` is ``pending``, ``running``, ``done``, ``dead``, ``shed`` or ``cancelled``; ``row`` is the scan
    row, its verdict fields null until ``finished``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate_id: str
    job_id: str
    state: str
    finished: bool
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    incident_id: str | None
    row: dict[str, Any]


def machine(request: Request) -> None:
    """Let detectors in. Raises SignInNeeded, TooManyFailures."""
    if not desk_of(request).gate.is_machine(request):
        raise SignInNeeded


def machine_or_operator(request: Request) -> None:
    """Let detectors and operators in. Raises SignInNeeded, TooManyFailures."""
    gate = desk_of(request).gate
    if not gate.is_machine(request, count=False) and gate.operator(request) is None:
        raise SignInNeeded


@router.post("/detections", status_code=202, dependencies=[Depends(machine)])
async def post_detection(request: Request, response: Response, desk: TheDesk) -> AcceptedOut:
    """Take in one event: JSON, or multipart with it as ``event`` and ``images`` or a ``clip`` beside it.

    It is committed before the answer. Sent again, the answer is the same, with ``known`` true.
    """
    intake: Intake = desk.intake
    bounded = Request(request.scope, _bounded(request.receive, limit_bytes(desk.settings)))
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes(desk.settings):
        _too_large(desk.settings.detection_max_mb)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    files: list[bytes] = []
    clip: FilePath | None = None
    async with AsyncExitStack() as stack:
        if kind == "application/json":
            said = _read(await bounded.body())
        elif kind == "multipart/form-data":
            said, files, clip = await stack.enter_async_context(_parts(bounded))
        else:
            raise HTTPException(415, "send application/json or multipart/form-data")
        accepted = await run_in_threadpool(intake.take, said, files=files, clip=clip)
    response.headers["location"] = f"/api/v1/candidates/{accepted.candidate_id}"
    return AcceptedOut(candidate_id=accepted.candidate_id, job_id=accepted.job_id, known=accepted.known)


@router.get("/candidates/{candidate_id}", dependencies=[Depends(machine_or_operator)])
def read_candidate(desk: TheDesk, candidate_id: Annotated[str, Path(max_length=64)]) -> StatusOut:
    """What became of a candidate."""
    found = status(desk.engine, candidate_id)
    if found is None:
        raise HTTPException(404, "no such candidate")
    job = found.job
    return StatusOut(
        candidate_id=candidate_id,
        job_id=job.job_id,
        state=str(job.state),
        finished=job.finished,
        attempts=job.attempts,
        created_at=job.created_at,
        finished_at=job.finished_at,
        incident_id=found.incident_id,
        row=found.row,
    )


def _read(body: bytes) -> DetectionIn:
    try:
        return DetectionIn.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "detection"
        raise InboundError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


@asynccontextmanager
async def _parts(request: Request) -> AsyncIterator[tuple[DetectionIn, list[bytes], FilePath | None]]:
    """The event, its images and its clip; a clip lies in a file that is gone afterwards."""
    async with request.form(max_files=MAX_IMAGES + 1, max_fields=1) as form:
        unknown = sorted(set(form) - {_EVENT, _IMAGES, _CLIP})
        if unknown:
            raise InboundError(f"part '{unknown[0][:40]}' is unknown", hint="send event, images, clip")
        event = form.get(_EVENT)
        if event is None:
            raise InboundError("part 'event' with the JSON is missing")
        said = _read(await event.read() if isinstance(event, UploadFile) else event.encode())
        for name in (_IMAGES, _CLIP):
            if not all(isinstance(part, UploadFile) for part in form.getlist(name)):
                raise InboundError(f"part '{name}' must be a file")
        images = [await part.read() for part in form.getlist(_IMAGES) if isinstance(part, UploadFile)]
        clips = [part for part in form.getlist(_CLIP) if isinstance(part, UploadFile)]
        if len(clips) > 1:
            raise InboundError("there is more than one clip", hint="send one an event")
        if not clips:
            yield said, images, None
            return
        with tempfile.TemporaryDirectory(prefix="sitrep-clip-") as folder:
            file = FilePath(folder) / "clip.part"
            await run_in_threadpool(_spool, clips[0], file)
            yield said, images, named_by_content(file, "upload")


def _spool(part: UploadFile, file: FilePath) -> None:
    with file.open("wb") as out:
        while chunk := part.file.read(1 << 20):
            out.write(chunk)


def _bounded(receive: Receive, limit: int) -> Receive:
    """The body, cut off with an error once it is longer than allowed, whatever its headers say."""
    got = 0

    async def bounded() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            _too_large(limit // (1024 * 1024))
        return message

    return bounded


def _too_large(limit_mb: int) -> NoReturn:
    raise HTTPException(413, f"a detection has at most {limit_mb} MB (setting detection_max_mb)")
