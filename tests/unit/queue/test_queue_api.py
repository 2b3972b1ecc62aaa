"""Admission, the Celery settings that delivery depends on, and the worker's side of one job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select
from support.queue_help import REASONER, apart, candidate, check_invariants, verdict

from pipeline.errors import BrokerError, ConfigError, ModelMissing, ModelTimeout, StoreError
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.queue.app import create_app, queue_name, visibility_timeout_s
from pipeline.queue.runner import Runner, factory
from pipeline.settings import Settings, environment, load
from pipeline.store.engine import open_store, read, write
from pipeline.store.schema import JobState, audit, runs
from pipeline.types import Action, Candidate, Lane, Verdict, VerdictState

Make = Callable[..., Settings]


@pytest.fixture
def small(make_settings: Make) -> Iterator[Queue]:
    settings = make_settings(max_pending=5, max_pending_per_camera=2)
    engine = open_store(settings)
    queue = Queue(settings, engine)
    queue.sender.send = lambda *_: True  # type: ignore[method-assign]
    yield queue
    engine.dispose()


def test_too_many_of_one_camera_are_shed_with_the_reason(small: Queue) -> None:
    jobs = [small.submit(candidate(f"c{n}", **apart(n))) for n in range(3)]
    assert [job.state for job in jobs] == [JobState.PENDING, JobState.PENDING, JobState.SHED]
    assert jobs[2].error == "2 jobs of camera gate wait already (max_pending_per_camera)"
    assert small.submit(candidate("other", camera="yard")).state is JobState.PENDING
    with read(small.engine) as connection:
        told = connection.execute(select(audit).where(audit.c.what == "job.shed")).one()
    assert told.detail["camera"] == "gate"
    check_invariants(small.engine, [*(job.job_id for job in jobs), *others(small, jobs)])


def others(queue: Queue, jobs: Sequence[Any]) -> list[str]:
    known = {job.job_id for job in jobs}
    with read(queue.engine) as connection:
        found = connection.execute(select(work.jobs.jobs.c.job_id)).scalars()
        return [one for one in found if one not in known]


def test_too_many_in_all_are_shed(small: Queue) -> None:
    jobs = [small.submit(candidate(f"c{n}", camera=f"cam{n}")) for n in range(6)]
    assert [job.state for job in jobs].count(JobState.SHED) == 1
    assert jobs[5].error == "5 jobs wait already (max_pending)"
    assert jobs[5].finished


def test_an_archive_run_sheds_no_live_alarm(small: Queue) -> None:
    for n in range(6):
        small.submit(candidate(f"a{n}", camera=f"cam{n}"), lane=Lane.ARCHIVE)
    assert small.submit(candidate("live"), lane=Lane.LIVE).state is JobState.PENDING
    assert small.submit(candidate("asked"), lane=Lane.INTERACTIVE).state is JobState.PENDING


def test_a_shed_job_is_taken_when_there_is_room_again(small: Queue) -> None:
    first = [small.submit(candidate(f"c{n}", **apart(n)), run_id="r") for n in range(3)]
    assert first[2].state is JobState.SHED
    small.cancel("r")
    again = small.submit(candidate("c2", **apart(2)), run_id="r")
    assert again.job_id == first[2].job_id
    assert again.state is JobState.PENDING
    assert again.error is None


def test_a_run_is_recorded_when_first_seen(small: Queue) -> None:
    small.submit(candidate("c"), run_id="new", lane=Lane.ARCHIVE)
    with read(small.engine) as connection:
        row = connection.execute(select(runs)).one()
    assert (row.run_id, row.kind, row.state) == ("new", "archive", "running")
    assert small.progress("new") == {"pending": 1}


def test_a_submit_the_store_refuses_stores_nothing(small: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise StoreError("disk full")

    monkeypatch.setattr("pipeline.store.jobs.create", broken)
    with pytest.raises(StoreError):
        small.submit(candidate("c"), run_id="r")
    with read(small.engine) as connection:
        assert connection.execute(select(runs)).all() == []


def test_the_settings_that_delivery_depends_on(make_settings: Make) -> None:
    settings = make_settings(redis_url=SecretStr("redis://:geheim@127.0.0.1:1/0"), task_time_limit_s=180.0)
    conf = create_app(settings).conf
    assert conf.accept_content == ["json"]
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_disable_prefetch
    limits = {
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    }
    assert limits == {visibility_timeout_s(settings)}
    assert limits.pop() > conf.task_time_limit > conf.task_soft_time_limit
    assert list(conf.task_queues) and [one.name for one in conf.task_queues] == [
        "sitrep.live",
        "sitrep.interactive",
        "sitrep.archive",
    ]
    assert queue_name(Lane.LIVE) == "sitrep.live"


def test_without_a_broker_the_application_says_how_to_start_one(settings: Settings) -> None:
    with pytest.raises(BrokerError, match="no broker") as caught:
        create_app(settings)
    assert "sitrep up" in caught.value.hint


def test_child_processes_get_the_same_settings(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(
        redis_url=SecretStr("redis://a"), database_url=SecretStr("sqlite:///b"), site_context="문 앞"
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


@pytest.mark.parametrize("path", ["nonsense", "pipeline.nonsense:x", "pipeline.queue.noop:nonsense"])
def test_an_unknown_reasoner_is_a_config_error(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        factory(path)


class Scripted(Runner):
    """A runner whose model does what a test says."""

    script: Callable[[], Verdict]

    def _judge(self, job: Any, candidate: Candidate) -> Verdict:
        return type(self).script()


@pytest.fixture
def runner(settings: Settings, sqlite_store: Engine) -> Iterator[Scripted]:
    made = Scripted(settings, "group", REASONER)
    yield made
    made.close()


def give(error: Exception) -> Callable[[], Verdict]:
    def raise_it() -> Verdict:
        raise error

    return raise_it


def run_one(settings: Settings, engine: Engine, runner: Scripted, script: Callable[[], Verdict]) -> Any:
    queue = Queue(settings, engine)
    queue.sender.send = lambda *_: True  # type: ignore[method-assign]
    job = queue.submit(candidate("c"))
    type(runner).script = staticmethod(script)  # type: ignore[assignment]
    runner.run(job.job_id)
    return queue, queue.job(job.job_id)


def test_a_retryable_error_puts_the_job_back(
    settings: Settings, sqlite_store: Engine, runner: Scripted
) -> None:
    _, job = run_one(settings, sqlite_store, runner, give(ModelTimeout("too slow", hint="wait")))
    assert (job.state, job.error, job.error_source) == (JobState.PENDING, "too slow (wait)", "model")
    assert job.not_before is not None


def test_a_final_error_is_a_failed_verdict(
    settings: Settings, sqlite_store: Engine, runner: Scripted
) -> None:
    queue, job = run_one(settings, sqlite_store, runner, give(ModelMissing("no weights")))
    said = queue.verdict(job.job_id)
    assert job.state is JobState.DONE
    assert (said.state, said.action, said.score) == (VerdictState.FAILED, Action.REVIEW, None)
    assert said.provenance.model == settings.model
    assert "no weights" in said.error


def test_an_unforeseen_error_is_tried_again(
    settings: Settings, sqlite_store: Engine, runner: Scripted
) -> None:
    _, job = run_one(settings, sqlite_store, runner, give(ZeroDivisionError("a\nb")))
    assert (job.state, job.error) == (JobState.PENDING, "ZeroDivisionError: a b")


def test_a_result_is_insisted_on_when_the_database_was_away(
    settings: Settings, sqlite_store: Engine, runner: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = work.finish, []

    def sometimes(*arguments: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("away")
        return finish(*arguments)

    monkeypatch.setattr(work, "finish", sometimes)
    _, job = run_one(settings, sqlite_store, runner, verdict)
    assert job.state is JobState.DONE
    assert len(calls) == 2


def test_a_message_for_a_job_that_is_not_there_is_nothing(runner: Scripted) -> None:
    runner.run("nonsense")


def test_the_heart_beats_while_the_model_works(make_settings: Make, sqlite_store: Engine) -> None:
    settings = make_settings(lease_s=1.1)
    runner = Scripted(settings, "group", REASONER)
    beaten = threading.Event()

    def slow() -> Verdict:
        with write(sqlite_store) as connection:
            first = connection.execute(select(work.jobs.jobs.c.lease_until)).scalar_one()
        for _ in range(100):
            with read(sqlite_store) as connection:
                now = connection.execute(select(work.jobs.jobs.c.lease_until)).scalar_one()
            if now > first:
                beaten.set()
                break
            threading.Event().wait(0.02)
        return verdict()

    _, job = run_one(settings, sqlite_store, runner, slow)
    runner.close()
    assert beaten.is_set()
    assert job.state is JobState.DONE
