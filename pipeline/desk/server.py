"""Serves the incident page: uvicorn in this process, quiet, and quick to stop."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from pipeline.desk.app import create_app
from pipeline.desk.auth import page_token
from pipeline.errors import ConfigError
from pipeline.settings import Settings

GRACE_S = 3
"""Longest wait for answers under way when the page stops."""


class DeskServer(uvicorn.Server):
    """A server that ends the live streams before it waits for open connections.

    Args:
        app: The incident page.
        settings: Address and log level.
        stop: Set from another thread, it stops the server.
        on_ready: Called once the page answers.
    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        *,
        stop: threading.Event | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
            log_level=settings.log_level.lower(),
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=30,
            ws="none",
        )
        super().__init__(config)
        self._app = app
        self._stop = stop
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Look for the stop sign ten times a second."""
        if self._stop is not None and self._stop.is_set():
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the live streams end, then stop as usual."""
        self._app.state.desk.tail.close_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, unless the caller stops the page through ``stop``."""
        if self._stop is not None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(_signal: int, _frame: FrameType | None) -> None:
            self.should_exit = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def page_address(settings: Settings, *, with_token: bool = False) -> str:
    """Where a browser finds the page; with the token it signs in at once: for a person's own terminal only.

    Raises:
        ConfigError: The token cannot be read or made.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    address = f"http://{host}:{settings.port}/"
    return f"{address}?token={page_token(settings)}" if with_token else address


def run_desk(
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    on_ready: Callable[[], None] | None = None,
    ping_broker: Callable[[], bool] | None = None,
) -> None:
    """Serve the incident page until it is stopped.

    Args:
        settings: With ``redis_url`` of the broker in use, also when Sitrep runs its own.
        stop: Stops the page when set; without it SIGINT and SIGTERM do, in the main thread.
        on_ready: Called once the page answers.
        ping_broker: Whether the broker answers, when the caller knows better than ``redis_url``.

    Raises:
        ConfigError: The address is taken or cannot be used, or the token cannot.
        StoreError: The database cannot be reached.
    """
    listening = _listen(settings)
    try:
        app = create_app(settings, ping_broker=ping_broker)
        logging.getLogger("uvicorn").setLevel(settings.log_level)
        DeskServer(app, settings, stop=stop, on_ready=on_ready).run(sockets=[listening])
    finally:
        listening.close()


def _listen(settings: Settings) -> socket.socket:
    # Bound here because uvicorn exits the whole process when the port is taken.
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"setting 'host': {settings.host} cannot be used: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        what = "is taken" if taken else f"cannot be used: {error.strerror}"
        raise ConfigError(
            f"address {settings.host}:{settings.port} of the incident page {what}",
            hint="set SITREP_PORT to another port",
        ) from error
    return listening
