"""Frigate's events to verdicts: a real mosquitto, an HTTP server with Frigate's paths, and the real rest."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support import inbound
from support.command import CLIPS, command, environment, sitrep
from support.frigate import PASSWORD, USER, FrigateServer, Mosquitto, event, review
from support.inbound import jpeg
from support.queue_help import wait_until

from pipeline.inbound.status import Status, status
from pipeline.services import Supervisor
from pipeline.store.engine import read
from pipeline.store.schema import candidates

pytestmark = pytest.mark.needs("mosquitto")
FALL = CLIPS / "fall-in-office-1.mp4"
LOGIN = {"SITREP_MQTT_USER": USER, "SITREP_MQTT_PASSWORD": PASSWORD}


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.stop()


class Process:
    """``sitrep frigate`` as its own process."""

    def __init__(
        self, services: Supervisor, mosquitto: Mosquitto, server: FrigateServer, rules: Path
    ) -> None:
        mqtt = f"127.0.0.1:{mosquitto.port}"
        self._process = subprocess.Popen(
            command("frigate", "--mqtt", mqtt, "--frigate", server.url, "--config", rules),
            env=environment(services.settings.data_dir, SITREP_DETECT_THREADS="1", **LOGIN),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return self._process.returncode, out, err


def judged(services: Supervisor, source: str) -> Status:
    """The candidate of a source once it is judged."""
    found: list[Status] = []

    def done() -> bool:
        query = select(candidates.c.candidate_id).where(candidates.c.source == source)
        with read(services.queue.engine) as connection:
            ids = connection.execute(query).scalars().all()
        assert len(ids) <= 1, "one event became several candidates"
        state = status(services.queue.engine, ids[0]) if ids else None
        found[:] = [state] if state is not None and state.job.finished else []
        return bool(found)

    wait_until(done, inbound.PATIENCE_S, f"a verdict of {source}")
    return found[0]


def subscribed(mosquitto: Mosquitto, server: FrigateServer, name: str) -> None:
    """Wait until the bridge listens: a marker event makes it ask for a picture."""
    begun = len(server.asked)
    deadline = time.monotonic() + inbound.PATIENCE_S
    while len(server.asked) == begun:
        assert time.monotonic() < deadline, "the bridge does not listen"
        mosquitto.publish(
            "frigate/events",
            event("end", f"1000000000.5-{name}", at_s=1, ended=True, label="person", has_clip=False),
        )
        time.sleep(0.5)


def test_a_fall_reaches_a_person_once_across_a_broker_restart(
    inbound_services: Supervisor, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Given a fall told of in five messages, when the MQTT broker restarts, then one call is made."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "settle_s: 0\nmax_wait_s: 600\nretry_s: 0.5\npatience_s: 2\n"
        "rules:\n  - {labels: [person], event_type: fall}\n"
    )
    fall, still, blind = (f"17955600{n}0.25-{name}" for n, name in enumerate(("fall", "still", "blind")))
    person = {"camera": "office", "label": "person", "box": [250, 90, 420, 440]}
    with FrigateServer(clips={fall: FALL}, snapshots={still: jpeg(FALL, 4.8)}) as server:
        server.refuse[fall] = 2
        bridge = Process(inbound_services, mosquitto, server, rules)
        try:
            subscribed(mosquitto, server, "marker-1")
            mosquitto.publish(
                "frigate/events",
                event("new", fall, at_s=0.4, **person),
                event("update", fall, at_s=1.2, **person),
                b"this is no JSON",
                event("end", "1795560090.5-cat", at_s=2, ended=True, label="cat"),
                event("new", "1795560091.5-wrong", false_positive=True),
            )
            time.sleep(1)
            mosquitto.stop()
            mosquitto.start()
            subscribed(mosquitto, server, "marker-2")
            mosquitto.publish(
                "frigate/events",
                event("end", fall, at_s=2.2, ended=True, **person),
                event("end", still, at_s=3.0, ended=True, has_clip=False, **person),
                event("end", blind, at_s=3.0, ended=True, has_snapshot=False, **person),
            )
            fallen = judged(inbound_services, f"frigate:{fall}")
            pictured = judged(inbound_services, f"frigate:{still}")
            unseen = judged(inbound_services, f"frigate:{blind}")
        finally:
            code, out, err = bridge.end()

    row = fallen.row
    assert row["decision"] in ("escalate", "review"), row["reason"]
    assert 0 <= row["score"] <= 1
    assert row["model"].startswith("embedded") and row["zone"] == "lawn"
    assert row["trigger"] == {"name": "frigate", "score": 0.8125}
    assert "motion" in {frame["view"] for frame in row["frames"]}
    assert list(row["evidence"]["objects"][0]["box"]) == [0.3906, 0.1875, 0.6562, 0.9167]
    assert row["wall_time"].startswith("2026-11-24T")
    assert sum(path.startswith(f"/api/events/{fall}/clip.mp4?padding=3") for path in server.asked) == 3
    assert {frame["view"] for frame in pictured.row["frames"]} == {"full", "region"}
    # What cannot be seen goes to a person
    assert (unseen.row["decision"], unseen.row["frames"]) == ("review", [])
    assert code == 0, err
    assert out.count(f"event {fall} -> candidate {row['candidate_id']}") == 1
    assert "1 unreadable" in err and "cannot be read" in err


def test_a_review_item_takes_the_recording_of_its_camera(
    inbound_services: Supervisor, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "follow: reviews\nsettle_s: 0\nrules:\n  - {labels: [person], zones: [desk], event_type: fall}\n"
    )
    item, person = "1795570000.5-item", "1795570000.1-person"
    with FrigateServer(clips={"office": FALL}) as server:
        bridge = Process(inbound_services, mosquitto, server, rules)
        try:
            seen = event("new", person, at_s=1.0, camera="office", label="person", box=[250, 90, 420, 440])
            deadline = time.monotonic() + inbound.PATIENCE_S
            while not any("/api/office/start/" in path for path in server.asked):
                assert time.monotonic() < deadline
                mosquitto.publish("frigate/events", seen)
                mosquitto.publish("frigate/reviews", review("new", item, [person]))
                mosquitto.publish("frigate/reviews", review("end", item, [person], ended_s=3.0))
                time.sleep(0.5)
            found = judged(inbound_services, f"frigate:{item}")
        finally:
            code, _, err = bridge.end()

    assert code == 0, err
    assert found.row["event_type"] == "fall" and found.row["zone"] == "desk"
    assert found.row["decision"] in ("escalate", "review"), found.row["reason"]
    assert found.row["evidence"]["counts"]["person"] >= 1


def test_a_broker_that_is_not_there_or_refuses_is_one_line(mosquitto: Mosquitto, tmp_path: Path) -> None:
    away = sitrep(
        "frigate", "--mqtt", "127.0.0.1:1", "--frigate", "http://127.0.0.1:1", data_dir=tmp_path / "d"
    )
    refused: Any = sitrep(
        "frigate",
        "--mqtt",
        f"127.0.0.1:{mosquitto.port}",
        "--frigate",
        "http://127.0.0.1:1",
        data_dir=tmp_path / "d",
    )
    wrong = sitrep("frigate", "--mqtt", "127.0.0.1:1", "--frigate", "ftp://x", data_dir=tmp_path / "d")

    assert (away.code, refused.code, wrong.code) == (3, 3, 2)
    assert [len(ran.error_lines) for ran in (away, refused, wrong)] == [1, 1, 1]
    assert "no MQTT broker answers" in away.err and "refuses" in refused.err and "--frigate" in wrong.err
