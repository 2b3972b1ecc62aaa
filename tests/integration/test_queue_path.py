"""The whole way through the queue, with real processes, on both sets of servers."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import pytest
from sqlalchemy import select
from support.queue_help import REASONER, apart, candidate, check_invariants, gone, wait_until

from pipeline.errors import BrokerError, JobError
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store.engine import read
from pipeline.store.schema import JobState, RunKind, incidents, outbox
from pipeline.types import Action, Lane, VerdictState

Make = Callable[..., Settings]


def test_candidates_become_verdicts_incidents_and_alerts(backend: Settings) -> None:
    """Given a running installation, when candidates are submitted, then each gets its verdict once."""
    with Supervisor(backend, reasoner=REASONER) as services:
        queue = services.queue
        queue.start_run("run", RunKind.SCAN, sources=["clip.mp4"])
        made = [
            candidate(f"c{n}", settings=backend, score=0.9 if n % 2 else 0.1, **apart(n)) for n in range(8)
        ]
        jobs = [queue.submit(one, run_id="run") for one in made]
        seen: list[tuple[int, int]] = []

        finished = list(
            queue.wait(
                [job.job_id for job in jobs],
                timeout=30,
                on_progress=lambda done, total: seen.append((done, total)),
            )
        )

        assert {one.job.job_id for one in finished} == {job.job_id for job in jobs}
        assert all(one.job.state is JobState.DONE for one in finished)
        actions = [one.verdict.action for one in finished if one.verdict]
        assert actions.count(Action.ESCALATE) == 4
        assert actions.count(Action.DISMISS) == 4
        assert seen[-1] == (8, 8)
        assert all(one.verdict and one.verdict.timings_ms["queued"] >= 0 for one in finished)
        wait_until(lambda: queue.stats().alerts == {"sent": 4}, what="four alerts")
        assert queue.finish_run("run") == {"done": 8}
        check_invariants(queue.engine, [job.job_id for job in jobs])
        with read(queue.engine) as connection:
            assert len(connection.execute(select(incidents)).all()) == 4


def test_the_same_candidate_is_judged_once(backend: Settings) -> None:
    with Supervisor(backend, reasoner=REASONER) as services:
        one = candidate("c", settings=backend)
        first = services.queue.submit(one)
        list(services.queue.wait([first.job_id], timeout=30))

        again = services.queue.submit(one)
        other_prompt = services.queue.submit(one, prompt="test@2.0.0")
        list(services.queue.wait([other_prompt.job_id], timeout=30))

        assert again.job_id == first.job_id
        assert again.state is JobState.DONE
        assert other_prompt.job_id != first.job_id
        with read(services.queue.engine) as connection:
            assert len(connection.execute(select(incidents)).all()) == 1
            assert len(connection.execute(select(outbox)).all()) == 1


def test_live_goes_before_interactive_before_archive(backend: Settings, tmp_path: object) -> None:
    """Given jobs waiting in all lanes, when a worker comes, then it empties them in order of urgency."""
    order = backend.data_dir.parent / "order"
    with Supervisor(backend, worker_count=0) as services:
        jobs = []
        for lane in (Lane.ARCHIVE, Lane.INTERACTIVE, Lane.LIVE):
            for n in range(3):
                one = candidate(f"{lane}-{n}", settings=backend, touch=str(order), score=0.1, **apart(n))
                jobs.append(services.queue.submit(one, lane=lane))
        with Supervisor(services.settings, reasoner=REASONER, reconcile=False):
            list(services.queue.wait([job.job_id for job in jobs], timeout=30))

    lanes = [line.split("-")[0] for line in order.read_text().splitlines()]
    assert lanes == ["live"] * 3 + ["interactive"] * 3 + ["archive"] * 3


def test_an_archive_verdict_raises_no_incident(backend: Settings) -> None:
    with Supervisor(backend, reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c", settings=backend), lane=Lane.ARCHIVE)
        (finished,) = services.queue.wait([job.job_id], timeout=30)

        assert finished.verdict is not None
        assert finished.verdict.action is Action.ESCALATE
        with read(services.queue.engine) as connection:
            assert connection.execute(select(incidents)).all() == []
            assert connection.execute(select(outbox)).all() == []


def test_a_final_error_goes_to_a_person_at_once(settings: Settings) -> None:
    with Supervisor(settings, reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c", settings=settings, act="refuse"))
        (finished,) = services.queue.wait([job.job_id], timeout=30)

        assert finished.job.state is JobState.DONE
        assert finished.job.attempts == 1
        assert finished.verdict is not None
        assert finished.verdict.state is VerdictState.FAILED
        assert finished.verdict.score is None
        assert finished.verdict.action is Action.REVIEW
        assert finished.verdict.error_source == "model"
        with read(services.queue.engine) as connection:
            shown = connection.execute(select(incidents)).one()
        assert shown.action == Action.REVIEW
        assert shown.score is None


def test_a_missing_frame_is_a_failed_verdict(settings: Settings) -> None:
    with Supervisor(settings, reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c"))
        (finished,) = services.queue.wait([job.job_id], timeout=30)

        assert finished.verdict is not None
        assert finished.verdict.state is VerdictState.FAILED
        assert finished.verdict.error_source == "frames"


def test_a_retryable_error_is_tried_again_then_dead_then_requeued(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a model that is away, when attempts are used up, then the job is dead, shown, and mendable."""
    settings = make_settings(max_attempts=2)
    marker = settings.data_dir.parent / "away"
    with Supervisor(settings, reasoner=REASONER) as services:
        queue = services.queue
        job = queue.submit(candidate("c", settings=settings, act="retry"))
        (finished,) = queue.wait([job.job_id], timeout=30)

        assert finished.job.state is JobState.DEAD
        assert finished.job.attempts == 2
        assert "away" in (finished.job.error or "")
        assert [dead.job_id for dead in queue.dead_list()] == [job.job_id]
        check_invariants(queue.engine, [job.job_id], max_attempts=2)
        with pytest.raises(JobError, match="not a dead letter"):
            queue.requeue(["nonsense"])

        mended = candidate("c", settings=settings, act="judge", once=str(marker))
        assert queue.submit(mended).job_id == job.job_id
        assert queue.requeue() == 1
        (finished,) = queue.wait([job.job_id], timeout=30)
        assert finished.job.state is JobState.DEAD or finished.job.state is JobState.DONE
        check_invariants(queue.engine, [job.job_id], max_attempts=2)


def test_cancelled_jobs_are_not_judged(settings: Settings) -> None:
    with Supervisor(settings, worker_count=0) as services:
        queue = services.queue
        jobs = [queue.submit(candidate(f"c{n}", settings=settings, **apart(n)), run_id="r") for n in range(4)]

        assert queue.cancel("r", who="test") == 4

        finished = list(queue.wait([job.job_id for job in jobs], timeout=5))
        assert {one.job.state for one in finished} == {JobState.CANCELLED}
        again = queue.submit(candidate("c0", settings=settings, **apart(0)), run_id="r")
        assert again.state is JobState.PENDING


def test_waiting_for_nothing_says_so(settings: Settings) -> None:
    with Supervisor(settings, worker_count=0) as services:
        job = services.queue.submit(candidate("c", settings=settings))
        with pytest.raises(JobError, match="1 of 1 jobs did not finish"):
            list(services.queue.wait([job.job_id], timeout=0.3))
        with pytest.raises(JobError, match="there is no job"):
            list(services.queue.wait(["nonsense"]))


def test_services_leave_no_process_behind(settings: Settings) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with Supervisor(settings, reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c", settings=settings))
        list(services.queue.wait([job.job_id], timeout=30))
        started = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert len(started) >= 3
    wait_until(lambda: all(gone(pid) for pid in started), 2, "the end of all processes")


def test_a_worker_that_cannot_start_is_a_clear_error(settings: Settings) -> None:
    with Supervisor(settings, worker_options=["--no-such-option"]) as services:

        def broken() -> bool:
            try:
                services.check()
            except BrokerError as error:
                assert "died 6 times" in error.message
                assert "worker-1.log" in error.hint
                return True
            return False

        wait_until(broken, 20, "the supervisor's verdict")


def test_no_secret_in_any_log(backend: Settings) -> None:
    with Supervisor(backend.model_copy(update={"log_level": "DEBUG"}), reasoner=REASONER) as services:
        job = services.queue.submit(candidate("c", settings=backend))
        list(services.queue.wait([job.job_id], timeout=30))
        assert services.settings.redis_url is not None
        secrets = [services.settings.redis_url.get_secret_value().split("@")[0].split(":")[-1]]
        if backend.database_url is not None:
            secrets.append(backend.database_url.get_secret_value().split("@")[0].split(":")[-1])
        written = "".join(path.read_text(errors="replace") for path in services.log_dir.iterdir())
    assert written
    assert not [one for one in secrets if one in written]
    assert os.environ.get("REDIS_URL") is None
