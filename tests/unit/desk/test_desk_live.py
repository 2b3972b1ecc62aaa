"""The live stream and the server, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from pipeline.desk import queries
from pipeline.desk.server import page_address, run_desk
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.store import feedback
from pipeline.store.engine import read
from pipeline.store.schema import Answer
from pipeline.types import Action, EventType, Priority
from tests.unit.desk.desk_rows import TOKEN, Seeded, verdict

SCRIPT = {"authorization": f"Bearer {TOKEN}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """The page on a port of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(update={"port": free_port()})
        self.address = page_address(self.settings).rstrip("/")
        self._stop, ready = threading.Event(), threading.Event()
        options = {"stop": self._stop, "on_ready": ready.set, "ping_broker": lambda: True}
        self.thread = threading.Thread(target=run_desk, args=(self.settings,), kwargs=options)
        self.thread.start()
        assert ready.wait(20)

    def stop(self) -> float:
        """Stop it; how many seconds that took."""
        started = time.monotonic()
        self._stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - started


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The page's address, stopped at the end."""
    page = Served(settings)
    try:
        yield page.address
    finally:
        page.stop()


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def newest(desk: Seeded) -> int:
    with read(desk.engine) as connection:
        return queries.last_change(connection)


def incident_ids(desk: Seeded) -> list[str]:
    with read(desk.engine) as connection:
        return [one.incident.incident_id for one in queries.list_incidents(connection, queries.Tab.OPEN)]


def test_stream_tells_changes_made_elsewhere_and_resumes(desk: Seeded) -> None:
    first, second, *_ = incident_ids(desk)
    start = newest(desk)
    with served(desk.settings) as address, httpx.Client(timeout=20, trust_env=False) as client:
        with client.stream("GET", f"{address}/events?after={start}", headers=SCRIPT) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            # The store is written to by another connection, as a worker would.
            feedback.give(desk.engine, first, Answer.CONFIRMED, operator="Kim")
            event = next(events(stream.iter_lines()))
        assert event["event"] == "change"
        assert json.loads(event["data"])["subject"] == first
        # While nobody listens, something happens; the browser comes back with the last id it saw.
        feedback.give(desk.engine, second, Answer.UNSURE, operator="Kim")
        again = {**SCRIPT, "last-event-id": event["id"]}
        with client.stream("GET", f"{address}/events?after={start}", headers=again) as stream:
            event = next(events(stream.iter_lines()))
        assert json.loads(event["data"])["subject"] == second


def test_stream_tells_of_a_dismissal_which_changes_no_incident(desk: Seeded) -> None:
    candidate = desk.candidate(
        "car-and-cyclist.mp4", EventType.TRAFFIC_ACCIDENT, (1.0,), (0.1, 0.1, 0.9, 0.9)
    )
    with (
        served(desk.settings) as address,
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{address}/events?after={newest(desk)}", headers=SCRIPT) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == ": open"
        desk.judged(candidate, verdict(candidate, 0.01, Action.DISMISS, Priority.LOW, "low"))
        assert next(events(lines))["event"] == "tick"


def test_views_are_not_told(desk: Seeded) -> None:
    first = incident_ids(desk)[0]
    with (
        served(desk.settings) as address,
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{address}/events?after={newest(desk)}", headers=SCRIPT) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == ": open"
        client.get(f"{address}/api/v1/incidents/{first}", headers=SCRIPT)
        feedback.give(desk.engine, first, Answer.CONFIRMED, operator="Kim")
        told = next(event for event in events(lines) if event["event"] == "change")
    assert json.loads(told["data"])["what"] == "feedback.given"


def test_page_stops_quickly_although_streams_are_open(desk: Seeded) -> None:
    page = Served(desk.settings)
    try:
        with (
            httpx.Client(timeout=20, trust_env=False) as client,
            client.stream("GET", f"{page.address}/events", headers=SCRIPT) as stream,
        ):
            lines = stream.iter_lines()
            assert next(lines) == ": open"
            assert page.stop() < 2.5, "within the grace time: the stream ended by itself"
            list(lines)
    finally:
        page.stop()


def test_taken_port_is_one_clear_line(desk: Seeded) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = desk.settings.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(ConfigError, match="is taken"):
            run_desk(settings)
    with pytest.raises(ConfigError, match="cannot be used"):
        run_desk(desk.settings.model_copy(update={"host": "203.0.113.7"}))
