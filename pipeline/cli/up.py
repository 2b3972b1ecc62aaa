"""``sitrep up``: broker, workers, reconciler and the incident page, kept running."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.errors import SitrepError

if TYPE_CHECKING:
    from pipeline.services import Supervisor

WATCH_S = 1.0


def up(
    port: Annotated[int | None, typer.Option("--port", help="Port of the incident page.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address it listens on.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME].")] = None,
) -> None:
    """Keep the services running with the incident page, until Ctrl-C."""
    settings = settings_module.load(port=port, host=host, workers=workers, model=model)

    from pipeline.desk.server import page_address, run_desk
    from pipeline.services import Supervisor

    with Supervisor(settings) as services:
        watcher = _Watcher(services)

        def ready() -> None:
            address = page_address(services.settings, with_token=True)
            output.out.print(f"incident page: {address}", highlight=False, soft_wrap=True)
            output.out.print("Ctrl-C stops everything; what waits in the queue is kept", highlight=False)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watcher.stop.set())
        with watcher:
            run_desk(services.settings, stop=watcher.stop, on_ready=ready)
        if watcher.failure is not None:
            raise watcher.failure


class _Watcher:
    """Stops the page when the services cannot be kept running, so that somebody notices."""

    def __init__(self, services: Supervisor) -> None:
        self.stop = threading.Event()
        self.failure: SitrepError | None = None
        self._services = services
        self._thread = threading.Thread(target=self._loop, name="watch-services", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self.stop.wait(WATCH_S):
            try:
                self._services.check()
            except SitrepError as error:
                self.failure = error
                self.stop.set()
