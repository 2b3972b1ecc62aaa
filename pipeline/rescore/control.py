"""Pause, resume, cancel and look at runs, from any process: the database carries the wish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select, update

from pipeline.errors import JobError
from pipeline.queue.api import Queue
from pipeline.store.engine import read, write
from pipeline.store.runs import progress
from pipeline.store.schema import RunKind, RunState, runs

PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Status:
    """A re-score run as it stands; ``jobs`` counts its jobs by state."""

    run_id: str
    state: str
    label: str
    paused: bool
    params: dict[str, Any]
    jobs: dict[str, int]


def status(engine: Engine, run_id: str | None = None) -> list[Status]:
    """All archive runs, newest first, or one of them.

    Raises:
        JobError: There is no such run.
    """
    query = select(runs).where(runs.c.kind == str(RunKind.ARCHIVE)).order_by(runs.c.created_at.desc())
    if run_id is not None:
        query = query.where(runs.c.run_id == run_id)
    with read(engine) as connection:
        rows = connection.execute(query).mappings().all()
    if run_id is not None and not rows:
        raise JobError(f"there is no re-score run {run_id[:60]}", hint="see: sitrep rescore list")
    return [
        Status(
            row["run_id"],
            row["state"],
            row["label"],
            bool(row["params"].get(PAUSED)),
            dict(row["params"]),
            progress(engine, row["run_id"]),
        )
        for row in rows
    ]


def pause(queue: Queue, run_id: str) -> int:
    """Stop a run after the jobs being judged now; how many waiting jobs were taken back."""
    _mark(queue.engine, run_id, paused=True)
    return take_back(queue, run_id, RunState.RUNNING)


def cancel(queue: Queue, run_id: str) -> int:
    """End a run; its verdicts stay. How many waiting jobs were taken back."""
    _mark(queue.engine, run_id, paused=False)
    return take_back(queue, run_id, RunState.CANCELLED)


def resume_allowed(engine: Engine, run_id: str) -> None:
    """Take a pause back, so that the run goes on."""
    _mark(engine, run_id, paused=False)
    _set_state(engine, run_id, RunState.RUNNING)


def wish(engine: Engine, run_id: str) -> tuple[bool, bool]:
    """Whether somebody wants the run paused, and whether it was cancelled."""
    query = select(runs.c.params, runs.c.state).where(runs.c.run_id == run_id)
    with read(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        return False, False
    return bool(row.params.get(PAUSED)), row.state == RunState.CANCELLED


def _mark(engine: Engine, run_id: str, *, paused: bool) -> None:
    (found,) = status(engine, run_id)
    with write(engine) as connection:
        connection.execute(
            update(runs).where(runs.c.run_id == run_id).values(params={**found.params, PAUSED: paused})
        )


def take_back(queue: Queue, run_id: str, state: RunState) -> int:
    """Cancel the waiting jobs of a run, which the next call submits again; how many."""
    taken = queue.cancel(run_id)
    _set_state(queue.engine, run_id, state)
    return taken


def _set_state(engine: Engine, run_id: str, state: RunState) -> None:
    with write(engine) as connection:
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(state=str(state)))
