"""``sitrep worker``: workers alone, for every machine beside the first."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.errors import ConfigError

WATCH_S = 0.5


def worker(
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME].")] = None,
) -> None:
    """Judge what others submit to the same Redis and PostgreSQL, until Ctrl-C."""
    settings = settings_module.load(workers=workers, model=model)
    unset = [
        name
        for name, url in (("REDIS_URL", settings.redis_url), ("DATABASE_URL", settings.database_url))
        if url is None
    ]
    if unset:
        raise ConfigError(
            f"workers of a further machine need {' and '.join(unset)}",
            hint="set them to the addresses the first machine uses; on that one: sitrep up",
        )
    from models import registry
    from pipeline.reason import build_reasoner
    from pipeline.services import Supervisor
    from pipeline.store.engine import open_store
    from pipeline.store.frames import expect_shared, open_frame_store

    registry.check(settings.model)
    build_reasoner(settings, open_frame_store(settings)).check()
    engine = open_store(settings)
    try:
        expect_shared(engine, settings)
    finally:
        engine.dispose()
    stop = threading.Event()
    # The first machine reconciles and alerts; here an alert file would be written that nobody reads.
    with Supervisor(settings, reconcile=False) as services:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        output.err.print(f"{settings.workers} workers with {settings.model}; Ctrl-C stops them")
        while not stop.wait(WATCH_S):
            services.check()
