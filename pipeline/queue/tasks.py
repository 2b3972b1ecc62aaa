"""The Celery tasks. They carry nothing and return nothing: what happened is in the database."""

from __future__ import annotations

from typing import Any

from celery import Celery

from pipeline.queue.app import JUDGE, PING
from pipeline.queue.runner import REASONER, Runner
from pipeline.settings import Settings


def register(app: Celery, settings: Settings, *, group: str, reasoner: str = REASONER) -> None:
    """Add Sitrep's tasks to a worker's application.

    The runner, with its database connection and its model, is made in the pool's child process at the
    first task: neither survives a fork.
    """
    runner: Runner | None = None

    @app.task(name=JUDGE)  # type: ignore[untyped-decorator,unused-ignore]
    def judge(job_id: str) -> None:
        nonlocal runner
        if runner is None:
            runner = Runner(settings, group, reasoner)
        runner.run(job_id)

    @app.task(name=PING, bind=True)  # type: ignore[untyped-decorator,unused-ignore]
    def ping(task: Any, key: str) -> None:
        """Answer on the broker: proof of the way there and back."""
        with task.app.pool.acquire(block=True) as connection:
            connection.default_channel.client.set(key, "1", ex=60)
