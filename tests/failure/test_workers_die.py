"""Workers that are killed, stopped, frozen or poisoned: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.queue_help import REASONER, apart, candidate, check_invariants, gone, log_of, states, wait_until

from pipeline.queue import hearing
from pipeline.queue.api import Queue
from pipeline.queue.broker import read_address
from pipeline.services import Supervisor
from pipeline.settings import Settings, environment
from pipeline.store.schema import JobState
from pipeline.types import Action, VerdictState

Make = Callable[..., Settings]
PROMPT_S = 8.0
"""A worker starts in one to two seconds on a quiet core; these machines are not quiet."""


def pool_child(services: Supervisor) -> psutil.Process:
    """The process that judges: the child of the worker group."""
    found: list[psutil.Process] = []

    def running() -> bool:
        found.clear()
        for pid in services.worker_pids():
            try:
                found.extend(psutil.Process(pid).children())
            except psutil.NoSuchProcess:
                continue
        return bool(found)

    wait_until(running, PROMPT_S, "a pool child")
    return found[0]


def attempts_in(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_f1_kill_the_child_while_it_judges(backend: Settings, tmp_path: Path) -> None:
    """Given a job being judged, when its process is killed, then it is judged again at once."""
    touched = tmp_path / "touched"
    with Supervisor(backend, reasoner=REASONER) as services:
        one = candidate(
            "c", settings=backend, act="slow_once", once=str(tmp_path / "once"), touch=str(touched)
        )
        job = services.queue.submit(one)
        wait_until(lambda: attempts_in(touched), PROMPT_S, "the first attempt")

        os.kill(int(attempts_in(touched)[0][1]), signal.SIGKILL)
        killed = time.monotonic()
        (finished,) = services.queue.wait([job.job_id], timeout=10)

        # The lease is 3 s: well before it ran out, so the redelivered message took the job over.
        assert time.monotonic() - killed < 2.5, log_of(backend.data_dir)
        assert finished.job.state is JobState.DONE
        assert finished.job.attempts == 2
        assert len({line[1] for line in attempts_in(touched)}) == 2
        check_invariants(services.queue.engine, [job.job_id])


def test_a_worker_that_lives_but_hears_nothing_is_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a consumer that hangs, when jobs wait, then another worker does them."""
    monkeypatch.setattr(hearing, "LOOK_S", 0.2)
    monkeypatch.setattr(hearing, "DEAF_S", 2.0)
    with Supervisor(settings, reasoner=REASONER) as services:
        first = services.queue.submit(candidate("first", settings=settings, score=0.1))
        list(services.queue.wait([first.job_id], timeout=PROMPT_S))
        (hung,) = services.worker_pids()
        os.kill(hung, signal.SIGSTOP)
        jobs = [
            services.queue.submit(candidate(f"c{n}", settings=settings, score=0.1, **apart(n))).job_id
            for n in range(1, 4)
        ]
        finished = list(services.queue.wait(jobs, timeout=4 * PROMPT_S))

        assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
        assert gone(hung)
        check_invariants(services.queue.engine, [first.job_id, *jobs])


@pytest.mark.slow
def test_f1_kill_the_child_at_random_moments(make_settings: Make) -> None:
    settings = make_settings(max_attempts=12)
    chance = random.Random(20261122)
    with Supervisor(settings, reasoner=REASONER) as services:
        queue = services.queue
        jobs = [
            queue.submit(candidate(f"c{n}", settings=settings, sleep=0.1, **apart(n))).job_id
            for n in range(10)
        ]
        for _ in range(4):
            time.sleep(chance.uniform(0.02, 0.5))
            with_child = pool_child(services)
            try:
                with_child.kill()
            except psutil.NoSuchProcess:
                continue
        finished = list(queue.wait(jobs, timeout=15))

        assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
        check_invariants(queue.engine, jobs, max_attempts=12)


def test_f2_kill_the_whole_worker_group(backend: Settings, tmp_path: Path) -> None:
    """Given a scan in its middle, when the worker is killed, then a new one does the job at once."""
    touched = tmp_path / "touched"
    settings = backend.model_copy(update={"lease_s": 60.0})
    with Supervisor(settings, reasoner=REASONER) as services:
        queue = services.queue
        slow = candidate(
            "slow", settings=settings, act="slow_once", once=str(tmp_path / "once"), touch=str(touched)
        )
        jobs = [queue.submit(slow).job_id]
        jobs += [queue.submit(candidate(f"c{n}", settings=settings, **apart(n))).job_id for n in range(1, 6)]
        wait_until(lambda: attempts_in(touched), PROMPT_S, "the first attempt")
        child = int(attempts_in(touched)[0][1])

        os.kill(services.worker_pids()[0], signal.SIGKILL)
        killed = time.monotonic()
        finished = list(queue.wait(jobs, timeout=PROMPT_S))

        # The lease of a minute is still running: the supervisor released it.
        assert time.monotonic() - killed < PROMPT_S
        assert {one.job.state for one in finished} == {JobState.DONE}
        wait_until(lambda: gone(child), 2, "the end of the killed worker's child")
        check_invariants(queue.engine, jobs)


def test_f2_a_worker_nobody_supervises_is_made_up_for(settings: Settings, tmp_path: Path) -> None:
    """Given a worker on another machine, when that dies, then its lease runs out and the job is redone."""
    touched = tmp_path / "touched"
    with Supervisor(settings, worker_count=0) as services:
        command = [sys.executable, "-m", "pipeline.queue.worker", "--reasoner", REASONER]
        other = subprocess.Popen(
            command,
            env={**os.environ, **environment(services.settings)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            one = candidate(
                "c", settings=settings, act="slow_once", once=str(tmp_path / "once"), touch=str(touched)
            )
            job = services.queue.submit(one)
            wait_until(lambda: attempts_in(touched), PROMPT_S, "the first attempt")
        finally:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()
        with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as here:
            (finished,) = here.queue.wait([job.job_id], timeout=settings.lease_s + PROMPT_S)

        assert finished.job.state is JobState.DONE
        assert finished.job.attempts == 2
        check_invariants(services.queue.engine, [job.job_id])


def test_f3_a_worker_told_to_stop_finishes_its_job(settings: Settings, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    with Supervisor(settings, worker_count=0) as services:
        with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as leaving:
            jobs = [
                leaving.queue.submit(
                    candidate(f"c{n}", settings=settings, sleep=0.7, touch=str(touched), **apart(n))
                ).job_id
                for n in range(3)
            ]
            wait_until(lambda: attempts_in(touched), PROMPT_S, "the first attempt")
        assert states(services.queue.engine)["done"] >= 1
        assert states(services.queue.engine)["running"] == 0
        with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as here:
            finished = list(here.queue.wait(jobs, timeout=PROMPT_S))

        assert [one.job.attempts for one in finished] == [1, 1, 1], "a job was broken off"
        check_invariants(services.queue.engine, jobs)


def test_f7_a_poison_job_dies_alone(backend: Settings) -> None:
    """Given a job that kills its worker, when it was tried three times, then it is dead and shown."""
    with Supervisor(backend, reasoner=REASONER) as services:
        queue = services.queue
        poison = queue.submit(candidate("poison", settings=backend, act="segfault"))
        neighbours = [
            queue.submit(candidate(f"c{n}", settings=backend, **apart(n))).job_id for n in range(1, 5)
        ]

        finished = {one.job.job_id: one for one in queue.wait([poison.job_id, *neighbours], timeout=PROMPT_S)}

        dead = finished.pop(poison.job_id)
        assert dead.job.state is JobState.DEAD
        assert dead.job.attempts == 3
        assert "died 3 times" in (dead.job.error or "")
        assert dead.verdict is not None
        assert dead.verdict.state is VerdictState.FAILED
        assert dead.verdict.action is Action.REVIEW
        assert all(one.job.state is JobState.DONE and one.job.attempts == 1 for one in finished.values())
        check_invariants(queue.engine, [poison.job_id, *neighbours])


def test_f7_an_endless_loop_ends_at_the_time_limit(make_settings: Make) -> None:
    settings = make_settings(task_time_limit_s=2.0, lease_s=1.5, max_attempts=2)
    with Supervisor(settings, reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c", settings=settings, sleep=600))
        neighbour = services.queue.submit(candidate("n", settings=settings, **apart(1)))
        finished = list(services.queue.wait([job.job_id, neighbour.job_id], timeout=15))

        by_id = {one.job.job_id: one.job for one in finished}
        assert by_id[job.job_id].state is JobState.DEAD
        assert by_id[neighbour.job_id].state is JobState.DONE
        check_invariants(services.queue.engine, list(by_id), max_attempts=2)


def test_f10_a_frozen_worker_cannot_overwrite(make_settings: Make, tmp_path: Path) -> None:
    """Given a judge that froze past its lease, when it thaws, then its result is refused."""
    settings = make_settings(lease_s=1.2)
    touched = tmp_path / "touched"
    with Supervisor(settings, reasoner=REASONER) as services:
        one = candidate("c", settings=settings, sleep=1.0, touch=str(touched))
        job = services.queue.submit(one)
        wait_until(lambda: attempts_in(touched), PROMPT_S, "the first attempt")
        frozen = int(attempts_in(touched)[0][1])
        os.kill(frozen, signal.SIGSTOP)
        try:
            with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as other:
                (finished,) = other.queue.wait([job.job_id], timeout=PROMPT_S)
                assert finished.job.attempts == 2
                os.kill(frozen, signal.SIGCONT)
                wait_until(lambda: "result.refused" in log_of(settings.data_dir), PROMPT_S, "the refusal")
        finally:
            os.kill(frozen, signal.SIGCONT)
        after = services.queue.job(job.job_id)

        assert after == finished.job
        check_invariants(services.queue.engine, [job.job_id])


def test_the_supervisor_killed_takes_its_workers_along(settings: Settings, tmp_path: Path) -> None:
    """Given Sitrep killed, then its worker and broker end too, and the next one finds the jobs."""
    program = (
        "import sys, time\n"
        "from pipeline.settings import load\n"
        "from pipeline.services import Supervisor\n"
        f"with Supervisor(load(), reasoner={REASONER!r}) as services:\n"
        "    print(services.worker_pids()[0], flush=True)\n"
        "    time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **environment(settings), "SITREP_LOG_LEVEL": "ERROR"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        lines = iter(owner.stdout.readline, "")
        worker = next(int(line) for line in lines if line.strip().isdigit())
        with Queue(settings) as queue:
            job = queue.submit(
                candidate("c", settings=settings, act="slow_once", once=str(tmp_path / "once"))
            )
            wait_until(lambda: states(queue.engine)["running"], PROMPT_S, "the first attempt")
        broker = read_address(settings.data_dir / "broker")
        assert broker is not None
    finally:
        owner.kill()
        owner.wait()
        assert owner.stdout is not None
        owner.stdout.close()
    wait_until(lambda: gone(worker), 20, "the orphaned worker's end")
    wait_until(lambda: gone(broker.pid), 5, "the orphaned broker's end")

    with Supervisor(settings, reasoner=REASONER) as services:
        (finished,) = services.queue.wait([job.job_id], timeout=settings.lease_s + PROMPT_S)
        assert finished.job.state is JobState.DONE
        check_invariants(services.queue.engine, [job.job_id])
