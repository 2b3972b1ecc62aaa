"""Runs: one scan, demo, watch, evaluation or archive re-score each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, func, select, update

from pipeline.store.engine import insert_ignore, read, write
from pipeline.store.schema import RunKind, RunState, jobs, runs, utcnow


def start(
    engine: Engine,
    run_id: str,
    kind: RunKind,
    *,
    sources: Sequence[str] = (),
    label: str = "",
    params: Mapping[str, Any] | None = None,
) -> bool:
    """Record a run; ``False`` when it is known already (then it is being resumed)."""
    values = {
        "run_id": run_id,
        "kind": str(kind),
        "label": label,
        "sources": list(sources),
        "params": dict(params or {}),
    }
    with write(engine) as connection:
        if insert_ignore(connection, runs, [values]):
            return True
        reopened = {"state": str(RunState.RUNNING), "finished_at": None}
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(reopened))
    return False


def finish(engine: Engine, run_id: str, state: RunState = RunState.DONE) -> dict[str, int]:
    """Close a run; its counts by job state, which are stored with it."""
    counts = progress(engine, run_id)
    with write(engine) as connection:
        values = {"state": str(state), "counts": counts, "finished_at": utcnow()}
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))
    return counts


def progress(engine: Engine, run_id: str) -> dict[str, int]:
    """How many of a run's jobs are in which state."""
    query = select(jobs.c.state, func.count()).where(jobs.c.run_id == run_id).group_by(jobs.c.state)
    with read(engine) as connection:
        return {str(row[0]): int(row[1]) for row in connection.execute(query)}
