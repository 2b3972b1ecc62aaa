"""What the queue of record costs over bare Celery: the same broker, worker, settings and run.

Three kinds of task, one at a time, taking turns:

    job     ``Queue.submit`` of a candidate; the worker claims it, judges it with a reasoner that does
            nothing, and commits verdict and ``done``: the result is kept, with the whole path of a job
    bare    ``send_task`` of a task that does nothing, its result kept by Celery's own Redis result back end
    forget  ``send_task`` of a task that sets one key on the broker and keeps no result

Timed from the moment the message is about to be sent (for a job: its row is committed) to the moment the
worker's child process is through with the task, result kept, noted there by Celery's ``task_postrun``
signal in the same way for all. One machine, so one clock.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from pipeline.errors import BrokerError
from pipeline.queue.app import BARE, PING, queue_name
from pipeline.queue.sender import Sender
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store.frames import open_frame_store
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Lane, Moment, TriggerScore, View

WARM_UP = 12
KINDS = ("bare", "job", "forget")
PATIENCE_S = 30.0
REASONER = "pipeline.queue.noop:build_reasoner"


def run(settings: Settings, jobs: int = 100) -> dict[str, Any]:
    """Measure in a data directory of its own, so that no real job is touched.

    Args:
        settings: ``redis_url`` is used when set. With ``database_url`` set, rows stay in that database under
            a run of kind ``bench``; unset: SQLite, removed afterwards.
        jobs: How many of each kind.

    Returns:
        ``end_to_end_ratio``: median job over median bare task; ``ratio_to_forget``: the same over the task
        that keeps no result; ``claim_p50_ms``: committed to claimed; and of everything measured the min,
        median, p95 and max in milliseconds.
    """
    with tempfile.TemporaryDirectory(prefix="sitrep-bench-") as folder:
        here = settings.model_copy(update={"data_dir": Path(folder), "workers": 1})
        services = Supervisor(here, reasoner=REASONER, worker_options=["--stamp"])
        with services:
            return _measure(services, jobs)


def _measure(services: Supervisor, count: int) -> dict[str, Any]:
    settings, queue = services.settings, services.queue
    assert settings.redis_url is not None
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    sender = _TimedSender(settings)
    queue.sender = sender
    run_id = f"bench-{uuid.uuid4().hex[:8]}"
    encoded = b"a key frame of the queue benchmark"
    sha256 = open_frame_store(settings).put(encoded)
    timed: dict[str, list[float]] = {"bare": [], "forget": [], "job": [], "submit": [], "claim": []}
    try:
        for number in range(WARM_UP + count):
            took: dict[str, float] = {}
            # Each kind goes first, second and last equally often: none always follows another's wake.
            for kind in (KINDS[(number + turn) % len(KINDS)] for turn in range(len(KINDS))):
                if kind != "job":
                    took[kind] = _task(sender, client, BARE if kind == "bare" else PING)
                    continue
                candidate = _candidate(f"{run_id}-{number}", sha256)
                begun = time.time()
                job = queue.submit(candidate, run_id=run_id, model="noop", prompt="noop")
                took["job"] = (_ended(client, job.job_id) - sender.committed) * 1e3
                took["submit"] = (sender.committed - begun) * 1e3
                done = queue.job(job.job_id)
                if done is None or done.claimed_at is None or not done.finished:
                    raise BrokerError(f"job {job.job_id} did not finish", hint=f"see {services.log_path(1)}")
                took["claim"] = (done.claimed_at.timestamp() - sender.committed) * 1e3
            if number >= WARM_UP:
                for name, value in took.items():
                    timed[name].append(value)
    finally:
        client.close()
        sender.close()
    summary = {name: _summary(values) for name, values in timed.items()}
    return {
        "end_to_end_ratio": round(summary["job"]["p50"] / summary["bare"]["p50"], 3),
        "ratio_to_forget": round(summary["job"]["p50"] / summary["forget"]["p50"], 3),
        "claim_p50_ms": summary["claim"]["p50"],
        **{f"{name}_ms": values for name, values in summary.items()},
        "jobs": count,
        "store": queue.engine.dialect.name,
        "broker": "embedded" if services.owns_broker else "redis_url",
    }


class _TimedSender(Sender):
    """Notes when a committed job reached the sender."""

    committed = 0.0

    def send(self, job_id: str, lane: Lane) -> bool:
        self.committed = time.time()
        return super().send(job_id, lane)


def _task(sender: Sender, client: redis.Redis, name: str) -> float:
    """One bare task from sent to through, in milliseconds."""
    key = f"sitrep:bench:{uuid.uuid4().hex}"
    queue = queue_name(Lane.INTERACTIVE)
    begun = time.time()
    sender.app.send_task(name, args=[key], queue=queue, retry=False, ignore_result=name != BARE)
    return (_ended(client, key) - begun) * 1e3


def _ended(client: redis.Redis, name: str) -> float:
    """When the worker's function returned, by the clock of this machine."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        stamp = client.get(f"sitrep:ended:{name}")
        if isinstance(stamp, bytes):
            return float(stamp)
        time.sleep(0.001)
    raise BrokerError(f"the worker did not answer within {PATIENCE_S:g} s", hint="see: sitrep doctor")


def _candidate(candidate_id: str, sha256: str) -> Candidate:
    frame = KeyFrame(sha256, View.FULL, Moment.PEAK, 0.0, 640, 360)
    trigger = TriggerScore("bench", 1.0)
    return Candidate(candidate_id, "bench", "bench", EventType.OTHER, 0.0, 1.0, trigger, Evidence(), (frame,))


def _summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "min": round(ordered[0], 3),
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "max": round(ordered[-1], 3),
    }
