"""Candidates that tell the test reasoner what to do, verdicts, and the invariants of the queue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from sqlalchemy import Engine, func, select

from pipeline.settings import Settings
from pipeline.store.engine import read
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import FINISHED, JobState, audit, incidents, jobs, outbox, verdicts
from pipeline.types import (
    Action,
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    Narrative,
    Priority,
    Provenance,
    TriggerScore,
    Verdict,
    VerdictState,
    View,
)

REASONER = "support.queue_reasoner:build"


def candidate(
    name: str,
    *,
    settings: Settings | None = None,
    camera: str = "gate",
    source: str = "clip.mp4",
    event: EventType = EventType.FALL,
    start_s: float = 0.0,
    end_s: float = 2.0,
    wall_time: str | None = None,
    zone: str | None = None,
    **facts: str | int | float | bool | None,
) -> Candidate:
    """A candidate; ``facts`` are the orders of the test reasoner. With settings its frame is stored."""
    encoded = f"frame of {name}".encode()
    sha256 = "0" * 64 if settings is None else open_frame_store(settings).put(encoded)
    return Candidate(
        candidate_id=name,
        camera=camera,
        source=source,
        event_type=event,
        start_s=start_s,
        end_s=end_s,
        trigger=TriggerScore("test", 0.5),
        evidence=Evidence(facts=facts, note="A test."),
        key_frames=(KeyFrame(sha256, View.FULL, Moment.PEAK, start_s, 64, 48),),
        zone=zone,
        wall_time=wall_time,
    )


def apart(number: int) -> dict[str, float]:
    """Times far enough from those of every other number not to be one event."""
    return {"start_s": number * 100.0, "end_s": number * 100.0 + 2.0}


def verdict(
    action: Action = Action.ESCALATE,
    *,
    priority: Priority = Priority.HIGH,
    score: float | None = 0.9,
    state: VerdictState = VerdictState.CONFIRMED,
    title: str = "A person fell",
    error: str | None = None,
) -> Verdict:
    """A verdict as the reasoner would give it."""
    said = Narrative(title, "One line.", "A story.", "Grounds.", "Go and look.", ("A person lies.",))
    return Verdict(
        state=state,
        score=score,
        action=action,
        priority=priority,
        reason="The score is high.",
        provenance=Provenance("test", "test@1.0.0", "ab" * 32, ("0" * 64,), {"t": 1}),
        narrative=None if action is Action.DISMISS else said,
        error=error,
        error_source="model" if error else None,
    )


def wait_until(true: Callable[[], object], seconds: float = 15.0, what: str = "it") -> float:
    """Wait for a condition; how long it took. Fails the test when it does not come true."""
    begun = time.monotonic()
    while not true():
        waited = time.monotonic() - begun
        assert waited < seconds, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.02)
    return time.monotonic() - begun


def gone(pid: int) -> bool:
    """Whether a process has ended. A zombie has: its new parent is only slow to collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def states(engine: Engine) -> Counter[str]:
    """Jobs by state."""
    query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    with read(engine) as connection:
        return Counter({str(row[0]): int(row[1]) for row in connection.execute(query)})


def check_invariants(engine: Engine, submitted: Sequence[str], *, max_attempts: int = 3) -> None:
    """What must hold after any fault: nothing lost, nothing doubled, attempts bounded, all visible."""
    with read(engine) as connection:
        rows = {row.job_id: row for row in connection.execute(select(jobs))}
        said = connection.execute(select(verdicts)).all()
        alerts = [row.alert_key for row in connection.execute(select(outbox))]
        open_incidents = connection.execute(select(incidents).where(incidents.c.merged_into.is_(None))).all()
        dead_told = {row.subject for row in connection.execute(select(audit)) if str(row.what) == "job.dead"}
    assert set(rows) == set(submitted), "a job was lost or made up"
    assert len({row.job_key for row in rows.values()}) == len(rows), "a job is there twice"
    for row in rows.values():
        assert row.state in set(JobState), row.state
        assert row.attempts <= max_attempts, f"{row.attempts} attempts"
        assert (row.finished_at is not None) == (row.state in FINISHED)
        assert (row.lease_until is not None) == (row.state == JobState.RUNNING)
    judged = [row.job_id for row in said]
    assert len(judged) == len(set(judged)), "a job has two verdicts"
    with_verdict = {row.job_id for row in rows.values() if row.state in (JobState.DONE, JobState.DEAD)}
    assert set(judged) == with_verdict, "a finished job has no verdict, or an unfinished one has"
    dead = {row.job_id for row in rows.values() if row.state == JobState.DEAD}
    assert dead <= dead_told, "a dead letter is not in the audit trail"
    assert len(alerts) == len(set(alerts)), "an alert is there twice"
    escalated = {f"incident:{row.incident_id}" for row in open_incidents if row.action == Action.ESCALATE}
    assert escalated <= set(alerts), "an escalated incident has no alert"
    shown = {row.candidate_id for row in said if row.live and row.action != Action.DISMISS}
    assert not shown or open_incidents, "a verdict for people is in no incident"


def log_of(folder: Path) -> str:
    """All worker logs, for messages of failed assertions."""
    return "\n".join(path.read_text(errors="replace") for path in sorted((folder / "logs").glob("*.log")))
