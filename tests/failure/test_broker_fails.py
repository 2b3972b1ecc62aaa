"""The broker killed, emptied, absent, or losing messages: the database is the queue of record."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import Engine, select
from support.proxy import Proxy
from support.queue_help import REASONER, apart, candidate, check_invariants, log_of, states, wait_until
from support.servers import RedisServer, free_port

from pipeline.queue import reconciler as reconciler_module
from pipeline.queue.api import Queue
from pipeline.queue.app import queue_name
from pipeline.queue.broker import read_address
from pipeline.queue.reconciler import Reconciler
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store import retention
from pipeline.store.engine import read
from pipeline.store.schema import JobState, outbox
from pipeline.types import Lane

Make = Callable[..., Settings]
PATIENCE_S = 60.0


@pytest.mark.slow
@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
@pytest.mark.needs("redis-server")
def test_f4_redis_killed_at_random_moments(make_settings: Make, tmp_path: Path, appendfsync: str) -> None:
    """Given a broker that is killed again and again, then every job is done all the same."""
    server = RedisServer(tmp_path, appendfsync)
    server.start()
    chance = random.Random(appendfsync)
    settings = make_settings(redis_url=SecretStr(server.url))
    try:
        with Supervisor(settings, reasoner=REASONER) as services:
            jobs: list[str] = []
            for n in range(60):
                one = candidate(f"c{n}", settings=settings, sleep=0.02, score=0.1, **apart(n))
                jobs.append(services.queue.submit(one).job_id)
                if n % 10 == 5:
                    time.sleep(chance.uniform(0.0, 0.3))
                    server.kill()
                    time.sleep(chance.uniform(0.0, 0.3))
                    server.start()
            finished = list(services.queue.wait(jobs, timeout=PATIENCE_S))

            assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
            check_invariants(services.queue.engine, jobs)
    finally:
        server.stop()


@pytest.mark.needs("redis-server")
def test_f4_an_acknowledgement_lost_with_the_broker(make_settings: Make, tmp_path: Path) -> None:
    """Given a broker away when a job ends, when it is back, then the worker consumes again by itself."""
    server = RedisServer(tmp_path)
    server.start()
    settings = make_settings(redis_url=SecretStr(server.url))
    try:
        with Supervisor(settings, reasoner=REASONER) as services:
            queue = services.queue
            first = queue.submit(candidate("first", settings=settings, sleep=1.0, score=0.1))
            wait_until(lambda: states(queue.engine) == {"running": 1}, PATIENCE_S, "the first claim")
            worker = services.worker_pids()
            server.kill()
            list(queue.wait([first.job_id], timeout=PATIENCE_S))
            lost = "Couldn't ack"
            wait_until(lambda: lost in log_of(settings.data_dir), PATIENCE_S, "the lost acknowledgement")
            server.start()
            second = queue.submit(candidate("second", settings=settings, score=0.1, **apart(1)))
            (finished,) = queue.wait([second.job_id], timeout=PATIENCE_S)

            assert finished.job.state is JobState.DONE, log_of(settings.data_dir)
            assert services.worker_pids() == worker, "only a new worker mended it"
            check_invariants(queue.engine, [first.job_id, second.job_id])
    finally:
        server.stop()


def test_f4_the_embedded_broker_killed_comes_back_at_the_same_address(settings: Settings) -> None:
    with Supervisor(settings, reasoner=REASONER) as services:
        jobs = [
            services.queue.submit(
                candidate(f"c{n}", settings=settings, sleep=0.05, score=0.1, **apart(n))
            ).job_id
            for n in range(10)
        ]
        before = read_address(settings.data_dir / "broker")
        assert before is not None

        os.kill(before.pid, signal.SIGKILL)
        jobs += [
            services.queue.submit(candidate(f"d{n}", settings=settings, score=0.1, **apart(n + 50))).job_id
            for n in range(10)
        ]
        finished = list(services.queue.wait(jobs, timeout=PATIENCE_S))

        after = read_address(settings.data_dir / "broker")
        assert after is not None
        assert (after.port, after.password) == (before.port, before.password)
        assert after.pid != before.pid
        assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
        check_invariants(services.queue.engine, jobs)


def test_f4_a_message_lost_between_pop_and_record_is_sent_again(backend: Settings) -> None:
    """Celery's Redis transport takes a message off the list before it notes it: force that gap."""
    with Supervisor(backend, worker_count=0) as services:
        job = services.queue.submit(candidate("c", settings=backend))
        assert services.settings.redis_url is not None
        client = redis.Redis.from_url(services.settings.redis_url.get_secret_value())
        assert client.rpop(queue_name(Lane.INTERACTIVE)) is not None
        client.close()

        with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as here:
            (finished,) = here.queue.wait([job.job_id], timeout=PATIENCE_S)

        assert finished.job.state is JobState.DONE
        assert finished.job.attempts == 1
        check_invariants(services.queue.engine, [job.job_id])


def test_f5_a_flushed_broker_loses_nothing(backend: Settings) -> None:
    with Supervisor(backend, worker_count=0) as services:
        jobs = [
            services.queue.submit(candidate(f"c{n}", settings=backend, score=0.1, **apart(n))).job_id
            for n in range(10)
        ]
        assert services.settings.redis_url is not None
        client = redis.Redis.from_url(services.settings.redis_url.get_secret_value())
        client.flushall()
        client.close()
        with Supervisor(services.settings, reasoner=REASONER, reconcile=False) as here:
            finished = list(here.queue.wait(jobs, timeout=PATIENCE_S))

        assert {one.job.state for one in finished} == {JobState.DONE}
        check_invariants(services.queue.engine, jobs)


def test_f5_the_brokers_files_deleted_between_two_runs(settings: Settings) -> None:
    with Supervisor(settings, worker_count=0) as services:
        job = services.queue.submit(candidate("c", settings=settings))
    shutil.rmtree(settings.data_dir / "broker")
    with Supervisor(settings, reasoner=REASONER) as services:
        (finished,) = services.queue.wait([job.job_id], timeout=PATIENCE_S)
        assert finished.job.state is JobState.DONE
        check_invariants(services.queue.engine, [job.job_id])


@pytest.mark.needs("redis-server")
def test_f5_ingest_goes_on_without_a_broker(make_settings: Make, tmp_path: Path) -> None:
    """Given no broker at all, when candidates come, then they are stored quickly and judged later."""
    server = RedisServer(tmp_path)
    settings = make_settings(redis_url=SecretStr(server.url))
    with Supervisor(settings, reasoner=REASONER) as services:
        begun = time.monotonic()
        jobs = [
            services.queue.submit(candidate(f"c{n}", settings=settings, score=0.1, **apart(n))).job_id
            for n in range(50)
        ]
        took = time.monotonic() - begun
        assert took < 10.0, "ingest waits for the broker"
        stats = services.queue.stats()
        assert not stats.broker_up
        assert stats.total(JobState.PENDING) == 50
        server.start()
        try:
            finished = list(services.queue.wait(jobs, timeout=PATIENCE_S))
            assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
            check_invariants(services.queue.engine, jobs)
        finally:
            services.stop()
            server.stop()


@pytest.mark.slow
@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("fault", ["slow", "reset", "half-open"])
def test_f6_a_bad_network_to_the_broker(make_settings: Make, redis_server: RedisServer, fault: str) -> None:
    """Given a network that is slow, resets or goes silent, then the worker consumes again by itself."""
    redis_server.flush()
    with Proxy(redis_server.port) as proxy:
        url = redis_server.url.replace(str(redis_server.port), str(proxy.port))
        settings = make_settings(redis_url=SecretStr(url))
        with Supervisor(settings, reasoner=REASONER) as services:
            queue = services.queue
            first = queue.submit(candidate("first", settings=settings))
            list(queue.wait([first.job_id], timeout=PATIENCE_S))
            worker = services.worker_pids()
            if fault == "slow":
                proxy.latency_s = 0.1
            elif fault == "reset":
                proxy.cut()
            else:
                proxy.go_silent()
            jobs = [
                queue.submit(candidate(f"c{n}", settings=settings, score=0.1, **apart(n))).job_id
                for n in range(1, 6)
            ]
            finished = list(queue.wait(jobs, timeout=60.0))

            assert {one.job.state for one in finished} == {JobState.DONE}, log_of(settings.data_dir)
            assert services.worker_pids() == worker, "only a new worker mended it"
            check_invariants(queue.engine, [first.job_id, *jobs])
            proxy.latency_s = 0.0


def test_a_broker_that_is_away_is_no_error_for_the_sender(make_settings: Make) -> None:
    settings = make_settings(redis_url=SecretStr(f"redis://:geheim@127.0.0.1:{free_port()}/0"))
    with Queue(settings) as queue:
        job = queue.submit(candidate("c", settings=settings))
        stored = queue.job(job.job_id)
        assert stored is not None
        assert stored.state is JobState.PENDING
        assert stored.sent_at is None


def test_f17_two_reconcilers_do_the_work_of_one(backend: Settings) -> None:
    """Given two reconcilers, then one is on duty, each alert goes out once, and the duty changes hands."""

    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self.alerts: list[object] = []

        def notify(self, alert: dict[str, object]) -> None:
            self.alerts.append(alert["alert_key"])

    told = Counting()
    with Supervisor(backend, reasoner=REASONER, reconcile=False) as services:
        queue = services.queue
        pair = [Reconciler(queue.engine, services.settings, queue.sender, [told]) for _ in range(2)]
        for one in pair:
            one.start()
        jobs = [queue.submit(candidate(f"c{n}", settings=backend, **apart(n))).job_id for n in range(6)]
        list(queue.wait(jobs, timeout=PATIENCE_S))
        wait_until(lambda: len(told.alerts) >= 6, 10, "six alerts")
        assert [one.on_duty() for one in pair].count(True) == 1
        on_duty = next(one for one in pair if one.on_duty())
        on_duty.stop()
        (other,) = [one for one in pair if one is not on_duty]
        wait_until(other.on_duty, 10, "the change of duty")
        other.stop()

        assert sorted(map(str, told.alerts)) == sorted(set(map(str, told.alerts)))
        with read(queue.engine) as connection:
            assert {row.state for row in connection.execute(select(outbox))} == {"sent"}
        assert states(queue.engine) == {"done": 6}
        check_invariants(queue.engine, jobs)


def test_what_is_too_old_is_swept_by_the_reconciler(
    sqlite_store: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[int] = []

    def sweep(engine: object, frames: object, days: int) -> retention.Removed:
        swept.append(days)
        return retention.Removed()

    monkeypatch.setattr(reconciler_module.retention, "sweep", sweep)
    monkeypatch.setattr(reconciler_module, "FIRST_SWEEP_S", 0.0)
    one = Reconciler(sqlite_store, settings, Queue(settings, sqlite_store).sender)
    one.act()
    one.act()
    assert swept == [settings.retention_days]
