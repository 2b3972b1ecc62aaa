"""Who is deaf: told from the messages that wait and the jobs that are held, over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import Engine
from support.queue_help import candidate
from support.servers import RedisServer, free_port

from pipeline.queue import hearing, work
from pipeline.queue.api import Queue
from pipeline.queue.app import queue_name
from pipeline.queue.hearing import DEAF_S, SHARED_S, Hearing
from pipeline.settings import Settings
from pipeline.store import workers
from pipeline.store.engine import open_store
from pipeline.types import Lane

Make = Callable[..., Settings]
GROUP, OTHER = "host:w1:1", "host:w2:2"
pytestmark = pytest.mark.needs("redis-server")


class Bench:
    """A queue on a real broker and database, and a clock that only the test moves."""

    def __init__(self, queue: Queue, client: redis.Redis) -> None:
        self.queue = queue
        self.client = client
        self.now = 1000.0
        self.hearing = Hearing(queue.engine, queue.sender, lambda: self.now)
        workers.seen(queue.engine, GROUP, model="test", pid=1)

    def over(self, seconds: float, *, moving: bool = False, groups: tuple[str, ...] = (GROUP,)) -> list[str]:
        """Look once a second; who was deaf at the last look."""
        deaf: list[str] = []
        for _ in range(int(seconds) + 1):
            if moving:
                self.client.rpop(queue_name(Lane.LIVE))
                self.client.lpush(queue_name(Lane.LIVE), f"message {self.now}")
            deaf = self.hearing.deaf(groups)
            self.now += hearing.LOOK_S
        return deaf


@pytest.fixture
def bench(make_settings: Make, redis_server: RedisServer) -> Iterator[Bench]:
    redis_server.flush()
    settings = make_settings(redis_url=SecretStr(redis_server.url))
    engine: Engine = open_store(settings)
    with Queue(settings, engine) as queue, redis_server.client() as client:
        yield Bench(queue, client)
    engine.dispose()


def test_a_worker_that_holds_nothing_while_a_message_stays_is_deaf(bench: Bench) -> None:
    bench.queue.submit(candidate("c"))
    assert bench.over(DEAF_S - 1) == []
    assert bench.over(1) == [GROUP]


def test_without_messages_nobody_is_deaf(bench: Bench) -> None:
    assert bench.over(2 * SHARED_S) == []


def test_a_message_that_came_just_now_is_no_reason(bench: Bench) -> None:
    """Given an idle worker, when the first message comes, then its waiting counts only from there."""
    bench.over(2 * SHARED_S)
    bench.queue.submit(candidate("c"))
    assert bench.over(DEAF_S - 1) == []


def test_a_worker_that_judges_is_busy_and_not_deaf(bench: Bench) -> None:
    """Given a long judgement, when the next job waits behind it, then the worker is left alone."""
    held = bench.queue.submit(candidate("held"))
    assert work.claim(bench.queue.engine, bench.queue.settings, held.job_id, f"{GROUP}/7") is not None
    assert bench.over(2 * SHARED_S) == []
    assert bench.over(DEAF_S, groups=(GROUP, OTHER)) == [], "the other one is only just starting"
    workers.seen(bench.queue.engine, OTHER, model="test", pid=2)
    assert bench.over(0, groups=(GROUP, OTHER)) == [OTHER]


def test_while_others_take_messages_it_takes_longer_to_tell(bench: Bench) -> None:
    assert bench.over(SHARED_S - 1, moving=True) == []
    assert bench.over(1, moving=True) == [GROUP]


def test_a_worker_still_starting_is_given_time(bench: Bench) -> None:
    bench.queue.submit(candidate("c"))
    assert bench.over(hearing.BOOT_S - 1, groups=(OTHER,)) == []
    assert bench.over(1, groups=(OTHER,)) == [OTHER]


def test_after_a_sleep_of_the_machine_the_count_begins_anew(bench: Bench) -> None:
    bench.queue.submit(candidate("c"))
    bench.over(DEAF_S - 2)
    bench.now += 3600.0
    assert bench.over(DEAF_S - 1) == []
    assert bench.over(1) == [GROUP]


def test_a_broker_that_is_away_makes_nobody_deaf(make_settings: Make) -> None:
    settings = make_settings(redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    with Queue(settings) as queue:
        assert queue.sender.next_message() is None
        assert Hearing(queue.engine, queue.sender).deaf([GROUP]) == []


def test_the_most_urgent_message_comes_first(bench: Bench) -> None:
    for lane in (Lane.ARCHIVE, Lane.INTERACTIVE, Lane.LIVE):
        for order in ("first", "second"):
            bench.client.lpush(queue_name(lane), f"{lane} {order}")
        assert bench.queue.sender.next_message() == f"{lane} first".encode()
