"""Claim, lease, fence, attempts: the rules that make the database the queue of record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update
from support.queue_help import apart, candidate

from pipeline.queue.api import Queue
from pipeline.settings import Settings
from pipeline.store import jobs
from pipeline.store.engine import read, write
from pipeline.store.schema import JobState, utcnow
from pipeline.store.schema import jobs as table
from pipeline.types import Lane


@pytest.fixture
def queue(store_settings: Settings, store: Engine) -> Queue:
    made = Queue(store_settings, store)
    made.sender.send = lambda *_: True  # type: ignore[method-assign]
    return made


def claim(
    queue: Queue, job_id: str, worker: str = "a/1", lease_s: float = 30.0, cap: int = 3
) -> jobs.Job | None:
    with write(queue.engine) as connection:
        return jobs.claim(connection, job_id, worker, lease_s, cap)


def close(queue: Queue, job_id: str, attempt: int) -> bool:
    with write(queue.engine) as connection:
        return jobs.close(connection, job_id, attempt, JobState.DONE)


def test_a_claim_counts_the_attempt_and_takes_the_lease(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    taken = claim(queue, job.job_id)
    assert taken is not None
    assert (taken.state, taken.attempts, taken.worker_id) == (JobState.RUNNING, 1, "a/1")
    assert taken.lease_until is not None
    assert timedelta(seconds=25) < taken.lease_until - utcnow() <= timedelta(seconds=30)
    assert taken.queued_ms is not None
    assert taken.queued_ms >= 0


def test_only_one_of_two_claims_wins(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    assert claim(queue, job.job_id, "a/1") is not None
    assert claim(queue, job.job_id, "b/1") is None


def test_a_lease_that_ran_out_may_be_taken(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    assert claim(queue, job.job_id, "a/1", lease_s=-1.0) is not None
    taken = claim(queue, job.job_id, "b/1")
    assert taken is not None
    assert taken.attempts == 2


def test_a_process_takes_over_from_a_dead_one_of_its_group(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    assert claim(queue, job.job_id, "host:w1/10") is not None
    assert claim(queue, job.job_id, "host:w11/10") is None
    assert claim(queue, job.job_id, "host:w1/11") is not None


@pytest.mark.parametrize("group", ["100%", "a_b", "a\\b"])
def test_group_names_are_no_patterns(queue: Queue, group: str) -> None:
    job = queue.submit(candidate("c"))
    assert claim(queue, job.job_id, "aXb-1000/1") is not None
    assert claim(queue, job.job_id, f"{group}/1") is None


def test_attempts_are_capped_before_the_work(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    for attempt in (1, 2, 3):
        taken = claim(queue, job.job_id, lease_s=-1.0)
        assert taken is not None
        assert taken.attempts == attempt
    assert claim(queue, job.job_id) is None
    with write(queue.engine) as connection:
        spent = jobs.exhausted(connection, job.job_id, "a/1", 3)
    assert spent is not None
    assert spent.attempts == 3


def test_a_result_behind_the_fence_is_refused(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    claim(queue, job.job_id, "a/1", lease_s=-1.0)
    claim(queue, job.job_id, "b/1")
    assert not close(queue, job.job_id, 1)
    assert close(queue, job.job_id, 2)
    assert not close(queue, job.job_id, 2)


def test_a_heartbeat_extends_only_the_own_lease(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    taken = claim(queue, job.job_id, lease_s=1.0)
    assert taken is not None
    assert taken.lease_until is not None
    with write(queue.engine) as connection:
        assert jobs.heartbeat(connection, job.job_id, 1, 60.0)
        assert not jobs.heartbeat(connection, job.job_id, 2, 60.0)
    now = queue.job(job.job_id)
    assert now is not None
    assert now.lease_until is not None
    assert now.lease_until > taken.lease_until


def test_a_job_put_back_waits_its_pause_out(queue: Queue) -> None:
    job = queue.submit(candidate("c"))
    claim(queue, job.job_id)
    with write(queue.engine) as connection:
        assert jobs.put_back(connection, job.job_id, 1, error="away", error_source="model")
        assert not jobs.put_back(connection, job.job_id, 1, error="away", error_source="model")
    waiting = queue.job(job.job_id)
    assert waiting is not None
    assert (waiting.state, waiting.error, waiting.sent_at) == (JobState.PENDING, "away", None)
    assert claim(queue, job.job_id) is None
    with write(queue.engine) as connection:
        connection.execute(update(table).values(not_before=utcnow() - timedelta(seconds=1)))
    assert claim(queue, job.job_id) is not None


def test_releasing_a_group_touches_nobody_else(queue: Queue) -> None:
    mine, other, done = (queue.submit(candidate(f"c{n}", **apart(n))) for n in range(3))
    claim(queue, mine.job_id, "w1/1")
    claim(queue, other.job_id, "w2/1")
    claim(queue, done.job_id, "w1/1")
    close(queue, done.job_id, 1)
    with write(queue.engine) as connection:
        free = jobs.release(connection, jobs.of_group("w1"), error="died")
    assert [job.job_id for job in free] == [mine.job_id]
    found = {job.job_id: job.state for job in all_jobs(queue)}
    assert found == {
        mine.job_id: JobState.PENDING,
        other.job_id: JobState.RUNNING,
        done.job_id: JobState.DONE,
    }


def all_jobs(queue: Queue) -> list[jobs.Job]:
    with read(queue.engine) as connection:
        return [jobs.from_row(row) for row in connection.execute(table.select()).mappings()]


def test_the_key_is_what_is_judged_by_what() -> None:
    one = candidate("c")
    key = jobs.job_key(one, "m", "p@1", "sha", {"a": 1, "b": 2})
    assert key == jobs.job_key(one, "m", "p@1", "sha", {"b": 2, "a": 1})
    others = [
        jobs.job_key(candidate("d"), "m", "p@1", "sha", {"a": 1, "b": 2}),
        jobs.job_key(one, "n", "p@1", "sha", {"a": 1, "b": 2}),
        jobs.job_key(one, "m", "p@2", "sha", {"a": 1, "b": 2}),
        jobs.job_key(one, "m", "p@1", "other", {"a": 1, "b": 2}),
        jobs.job_key(one, "m", "p@1", "sha", {"a": 1}),
    ]
    assert len({key, *others}) == 6


def test_waiting_counts_by_urgency_and_camera(queue: Queue) -> None:
    for n, (lane, camera) in enumerate(
        [(Lane.LIVE, "a"), (Lane.LIVE, "b"), (Lane.INTERACTIVE, "a"), (Lane.ARCHIVE, "a")]
    ):
        queue.submit(candidate(f"c{n}", camera=camera, **apart(n)), lane=lane)
    with read(queue.engine) as connection:
        assert jobs.waiting(connection, Lane.LIVE) == 2
        assert jobs.waiting(connection, Lane.INTERACTIVE) == 3
        assert jobs.waiting(connection, Lane.ARCHIVE) == 4
        assert jobs.waiting(connection, camera="a") == 3
        assert jobs.waiting(connection, Lane.LIVE, "a") == 1
