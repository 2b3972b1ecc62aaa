"""The incident page as a FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.desk import api, detections, login, metrics, pages, queries, sse, view
from pipeline.desk.auth import (
    LANGUAGES,
    SECURITY_HEADERS,
    Forged,
    Gate,
    SignInNeeded,
    TooManyFailures,
    detector_token,
    page_token,
)
from pipeline.desk.context import Desk, TokenInLink
from pipeline.desk.health import BrokerProbe
from pipeline.desk.text import translator
from pipeline.errors import InboundError, QueueFull, SitrepError, StoreError
from pipeline.inbound import Intake
from pipeline.interfaces import FrameStore
from pipeline.queue.api import Queue
from pipeline.settings import Settings
from pipeline.store.engine import open_store, read
from pipeline.store.frames import open_frame_store

_HERE = Path(__file__).parent


class SecurityHeaders:
    """Adds the security headers to every answer, the stream and errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode())
                    for name, value in SECURITY_HEADERS.items()
                    if name.encode() not in present
                ]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def create_app(
    settings: Settings,
    *,
    engine: Engine | None = None,
    frames: FrameStore | None = None,
    ping_broker: Callable[[], bool] | None = None,
) -> FastAPI:
    """Build the incident page.

    Args:
        settings: Where the data is, the token, the port (for the cookie's name).
        engine: The store, when the caller has it open; else it is opened here and closed with the app.
        frames: The frame store, when it is not the one of the settings.
        ping_broker: Whether the broker answers; the one of the settings is asked when left out.

    Raises:
        ConfigError: Token or database address cannot be used.
        StoreError: The database cannot be reached.
    """
    from pipeline.desk.broker import pinger

    own_engine = open_store(settings) if engine is None else None
    used = engine if engine is not None else own_engine
    assert used is not None

    def newest() -> object:
        with read(used) as connection:
            return queries.last_ids(connection, sse.LOOKBACK)

    kept = frames or open_frame_store(settings)
    desk = Desk(
        settings=settings,
        engine=used,
        frames=kept,
        gate=Gate(page_token(settings), settings.port, detector_token(settings)),
        tail=sse.Tail(newest),
        broker=BrokerProbe(ping_broker or pinger(settings)),
        templates=_templates(),
        intake=Intake(settings, lambda: Queue(settings, used), kept),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        desk.tail.start()
        try:
            yield
        finally:
            await desk.tail.stop()
            desk.intake.close()
            if own_engine is not None:
                own_engine.dispose()

    app = FastAPI(
        title="Sitrep", version=_version(), lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.desk = desk
    for router in (pages.router, login.router, api.router, detections.router, metrics.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    _handlers(app)
    app.add_middleware(SecurityHeaders)
    return app


def _version() -> str:
    try:
        return package_version("sitrep")
    except PackageNotFoundError:
        return "0"


def _templates() -> Jinja2Templates:
    templates = Jinja2Templates(directory=_HERE / "templates")
    # A new release must not meet the old script in a browser's cache.
    newest = max(path.stat().st_mtime_ns for path in (_HERE / "static").iterdir())
    templates.env.globals.update(
        version=f"{newest:x}",
        clock=view.clock,
        age=view.age,
        span=view.span,
        ms=view.milliseconds,
        stream_time=view.stream_time,
    )
    return templates


def _handlers(app: FastAPI) -> None:
    def failed(request: Request, status: int, key: str, help_key: str = "", detail: str = "") -> Response:
        desk: Desk = request.app.state.desk
        if request.url.path.startswith(("/api/", "/metrics", "/events")):
            error = {"error": translator(LANGUAGES[0])(key), "detail": detail}
            challenge = {"www-authenticate": "Bearer"} if status == 401 else None
            return JSONResponse(error, status, challenge)
        try:
            operator = desk.gate.operator(request)
        except TooManyFailures:
            operator = None
        words = translator(operator.language if operator else LANGUAGES[0])
        values: dict[str, Any] = {"heading": words(key), "help": words(help_key) if help_key else ""}
        again = str(request.url.path) if status >= 500 and request.method == "GET" else ""
        # Without the frame of the page: what failed may be what the frame shows.
        return pages.render(
            request, desk, "error.html", None, status=status, t=words, detail=detail, again=again, **values
        )

    @app.exception_handler(SignInNeeded)
    def _sign_in(request: Request, _error: Exception) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return failed(request, 401, "signed_out_help")

    @app.exception_handler(TokenInLink)
    def _link(request: Request, _error: Exception) -> Response:
        return login.by_link(request, request.app.state.desk, request.query_params["token"])

    @app.exception_handler(TooManyFailures)
    def _too_many(request: Request, _error: Exception) -> Response:
        return failed(request, 429, "token_wait")

    @app.exception_handler(Forged)
    def _forged(request: Request, _error: Exception) -> Response:
        return failed(request, 403, "forged_help")

    @app.exception_handler(QueueFull)
    def _full(request: Request, error: Exception) -> Response:
        assert isinstance(error, QueueFull)
        answer = failed(request, 429, "queue_full", detail=error.one_line())
        answer.headers["retry-after"] = str(error.retry_after_s)
        return answer

    @app.exception_handler(InboundError)
    def _inbound(request: Request, error: Exception) -> Response:
        assert isinstance(error, InboundError)
        return failed(request, 422, "detection_refused", detail=error.one_line())

    @app.exception_handler(StoreError)
    def _store(request: Request, error: Exception) -> Response:
        return failed(request, 503, "store_down", "store_down_help")

    @app.exception_handler(SitrepError)
    def _known(request: Request, error: Exception) -> Response:
        return failed(
            request, 500, "broken", detail=error.one_line() if isinstance(error, SitrepError) else ""
        )

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        key = "not_found" if error.status_code == 404 else "broken"
        return failed(request, error.status_code, key, detail=str(error.detail))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return failed(request, 422, "broken", detail=f"{where}: {first['msg']}")
