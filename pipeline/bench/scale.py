"""More workers, more verdicts a second? Candidates judged by a model that only waits, with 1, 2, 4 workers.

A model that sleeps takes no core, so that the figure is about queue, broker and database: what a
machine added to the same Redis and PostgreSQL brings. Where both are set, each worker is a
``sitrep worker`` of its own, as on a machine of its own: its own data directory, nothing shared but Redis,
PostgreSQL and the folder of key frames. Timed between the first and the last verdict.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import BrokerError
from pipeline.reason.builtin import builtin_image
from pipeline.rescore.plan import Target, resolve_target
from pipeline.services import Supervisor
from pipeline.settings import Narrate, Settings, environment
from pipeline.store.frames import open_frame_store
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Lane, Moment, TriggerScore, View

PATIENCE_S = 120.0
ROUNDS = 20


def run(
    settings: Settings,
    workers: Sequence[int] = (1, 2, 4),
    seconds: float = 0.5,
    jobs_a_worker: int = 24,
) -> dict[str, Any]:
    """Measure throughput at each number of workers, in a data directory of its own.

    Args:
        settings: ``redis_url`` and ``database_url`` are used when set.
        workers: Numbers of workers, one after another.
        seconds: How long the model waits for each candidate.
        jobs_a_worker: Candidates for each worker.

    Returns:
        ``apart``: whether each worker was a machine of its own; ``rates``: verdicts a second by number of
        workers; ``ideal``: workers / seconds; ``efficiency``: rate over workers times the rate of one;
        ``overhead_ms``: what a verdict takes beyond the wait.
    """
    rates: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="sitrep-scale-") as folder:
        for count in workers:
            here = settings.model_copy(
                update={
                    "data_dir": Path(folder) / str(count),
                    "frames_dir": None,
                    "model": f"fake:sleep={seconds}",
                    "narrate": Narrate.ON_DEMAND,
                }
            )
            rates[count] = _rate(here, count, jobs_a_worker * count)
    one = rates[workers[0]] / workers[0]
    return {
        "model_seconds": seconds,
        "apart": _several_machines(settings),
        "rates": {str(count): round(rate, 2) for count, rate in rates.items()},
        "ideal": {str(count): round(count / seconds, 2) for count in workers},
        "efficiency": {str(count): round(rate / (count * one), 3) for count, rate in rates.items()},
        "overhead_ms": {
            str(count): round((count / rate - seconds) * 1000, 1) for count, rate in rates.items()
        },
    }


def _rate(settings: Settings, workers: int, number: int) -> float:
    with _services(settings, workers) as services:
        target = resolve_target(settings)
        sha256 = open_frame_store(services.settings).put(builtin_image())
        _all_awake(services, target, sha256, workers)
        job_ids = [_submit(services, _candidate(f"timed-{turn}", sha256), target) for turn in range(number)]
        finished = list(services.queue.wait(job_ids, timeout=PATIENCE_S, on_progress=_alive(services)))
    if failed := [done for done in finished if done.verdict is None or done.verdict.score is None]:
        raise BrokerError(f"{len(failed)} of {number} candidates were not judged: {failed[0].job.error}")
    # The first of each worker started at another time than it ended: count from those ends on.
    ended = sorted(done.job.finished_at.timestamp() for done in finished if done.job.finished_at is not None)
    return (len(ended) - workers) / (ended[-1] - ended[workers - 1])


def _several_machines(settings: Settings) -> bool:
    return settings.redis_url is not None and settings.database_url is not None


@contextmanager
def _services(settings: Settings, workers: int) -> Iterator[Supervisor]:
    """Services with so many workers: of one machine, or each of its own."""
    if not _several_machines(settings):
        with Supervisor(settings, worker_count=workers) as services:
            yield services
        return
    shared = settings.model_copy(update={"frames_dir": settings.data_dir / "shared-frames"})
    with Supervisor(shared, worker_count=0) as services, ExitStack() as stack:
        for number in range(workers):
            own = shared.model_copy(
                update={"data_dir": settings.data_dir / f"machine-{number}", "workers": 1}
            )
            stack.enter_context(_machine(own))
        yield services


@contextmanager
def _machine(settings: Settings) -> Iterator[None]:
    command = [sys.executable, "-m", "pipeline.cli.main", "worker"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment(settings)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _alive(services: Supervisor) -> Callable[[int, int], None]:
    return lambda done, total: services.check()


def _all_awake(services: Supervisor, target: Target, sha256: str, workers: int) -> None:
    """Have every worker judge something first: loading its model is not what is measured."""
    awake: set[str] = set()
    for turn in range(ROUNDS):
        names = [f"warm-{turn}-{number}" for number in range(2 * workers)]
        job_ids = [_submit(services, _candidate(name, sha256), target) for name in names]
        for done in services.queue.wait(job_ids, timeout=PATIENCE_S):
            awake.add(str(done.job.worker_id).rpartition("/")[0])
        if len(awake) >= workers:
            return
    raise BrokerError(f"only {len(awake)} of {workers} workers take part", hint=f"see {services.log_dir}")


def _submit(services: Supervisor, candidate: Candidate, target: Target) -> str:
    job = services.queue.submit(
        candidate,
        lane=Lane.ARCHIVE,
        model=target.model,
        prompt=target.prompt,
        prompt_sha256=target.prompt_sha256,
        live=False,
    )
    return job.job_id


def _candidate(name: str, sha256: str) -> Candidate:
    frame = KeyFrame(sha256, View.FULL, Moment.PEAK, 0.0, 320, 240)
    name = f"{name}-{uuid.uuid4().hex[:8]}"
    trigger = TriggerScore("bench", 1.0)
    return Candidate(name, "bench", "bench", EventType.FALL, 0.0, 1.0, trigger, Evidence(), (frame,))
