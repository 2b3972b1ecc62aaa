"""Another detector's event, by HTTP, all the way to a verdict: real broker, worker, database and model."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from support import inbound
from support.command import CLIPS
from support.inbound import jpeg

from pipeline.desk.app import create_app
from pipeline.services import Supervisor
from pipeline.store.engine import read
from pipeline.store.schema import candidates, incidents, jobs

DETECTOR = {"authorization": "Bearer detector-secret"}
FIRE, FALL = CLIPS / "doll-house-fire.mp4", CLIPS / "fall-in-office-1.mp4"


@pytest.fixture
def client(inbound_services: Supervisor) -> Iterator[TestClient]:
    app = create_app(
        inbound_services.settings, engine=inbound_services.queue.engine, ping_broker=lambda: True
    )
    with TestClient(app, headers=DETECTOR) as made:
        yield made


@pytest.fixture
def judged(client: TestClient) -> Callable[[str], dict[str, Any]]:
    def wait(candidate_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + inbound.PATIENCE_S
        while True:
            state = client.get(f"/api/v1/candidates/{candidate_id}").raise_for_status().json()
            if state["finished"]:
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.2)

    return wait


def views(row: dict[str, Any]) -> set[str]:
    return {frame["view"] for frame in row["frames"]}


def count(services: Supervisor, table: Any, camera: str) -> int:
    query = select(func.count()).select_from(table).where(table.c.camera == camera)
    with read(services.queue.engine) as connection:
        return int(connection.execute(query).scalar_one())


def test_a_fire_clip_named_by_path_reaches_a_person_once(
    inbound_services: Supervisor, client: TestClient, judged: Callable[[str], dict[str, Any]]
) -> None:
    """Given a burning clip, when a detector reports it twice, then it is one job, one incident, one call."""
    event = {
        "detector": "site-yolo",
        "event_id": "fire-1",
        "camera": "front garden",
        "event_type": "fire",
        "started_at": "2026-11-24T10:00:00+09:00",
        "score": 0.71,
        "zone": "lawn",
        "boxes": [{"label": "fire", "score": 0.71, "box": [0.3, 0.3, 0.7, 0.9], "t_s": 26.0}],
        "clip": {"path": FIRE.name, "from_s": 24.0, "to_s": 28.0},
    }

    sent = client.post("/api/v1/detections", json=event)
    assert sent.status_code == 202, sent.text
    first = sent.json()
    again = client.post("/api/v1/detections", json=event).json()

    state = judged(first["candidate_id"])
    row = state["row"]
    assert again == {**first, "known": True}
    assert sent.headers["location"].endswith(first["candidate_id"])
    assert row["decision"] in ("escalate", "review"), row["reason"]
    assert 0 <= row["score"] <= 1
    assert row["model"].startswith("embedded")
    assert row["trigger"] == {"name": "site-yolo", "score": 0.71}
    assert row["wall_time"] == "2026-11-24T01:00:00.000+00:00"
    assert row["zone"] == "lawn" and row["clip"] == FIRE.name
    assert views(row) == {"full", "region", "motion", "clip"}
    assert all(21.9 <= frame["t_s"] <= 30.1 for frame in row["frames"])
    assert {"before", "peak", "after"} <= {frame["moment"] for frame in row["frames"]}
    assert row["evidence"]["objects"][0]["label"] == "fire"
    assert "fire_pixels" in row["evidence"]["facts"], "the shipped trigger's measurements are missing"
    assert state["incident_id"]
    for table in (jobs, candidates, incidents):
        assert count(inbound_services, table, "front garden") == 1, table.name


def test_a_fall_sent_as_pictures_is_judged_with_its_motion(
    client: TestClient, judged: Callable[[str], dict[str, Any]]
) -> None:
    """Given pictures of a fall and their times, when posted, then pose and motion reach the model."""
    event = {
        "detector": "site-pose",
        "camera": "office",
        "event_type": "fall",
        "started_at": "2026-11-24T10:00:00Z",
        "score": 0.9,
        "images": [
            {"data": base64.b64encode(jpeg(FALL, t_s)).decode(), "t_s": round(t_s - 3.0, 2)}
            for t_s in (3.0, 3.2, 3.4, 3.6, 3.8, 4.0, 4.2, 4.4, 5.0, 5.2)
        ],
    }

    sent = client.post("/api/v1/detections", json=event)
    assert sent.status_code == 202, sent.text
    row = judged(sent.json()["candidate_id"])["row"]
    assert row["decision"] in ("escalate", "review"), row["reason"]
    assert "motion" in views(row)
    assert row["evidence"]["facts"]["person_count"] >= 1
    assert row["evidence"]["facts"]["box_aspect"] > 0.8
    assert client.post("/api/v1/detections", json=event).json()["known"] is True


def test_an_uploaded_clip_and_an_uploaded_picture(
    client: TestClient, judged: Callable[[str], dict[str, Any]]
) -> None:
    said = (
        '{"detector": "site-yolo", "event_id": "%s", "camera": "garden", "event_type": "fire",'
        ' "started_at": "2026-11-24T12:00:00Z", "score": 0.6, "image_size": [640, 480],'
        ' "boxes": [{"label": "fire", "score": 0.6, "box": [200, 150, 420, 400]}]%s}'
    )
    with FIRE.open("rb") as stream:
        clip = client.post(
            "/api/v1/detections",
            data={"event": said % ("up-1", ', "clip": {"from_s": 1, "to_s": 2}')},
            files={"clip": ("x.bin", stream, "video/mp4")},
        )
    still = client.post(
        "/api/v1/detections",
        data={"event": said % ("up-2", "")},
        files=[("images", ("a.jpg", jpeg(FIRE, 12.0), "image/jpeg"))],
    )

    assert (clip.status_code, still.status_code) == (202, 202), (clip.text, still.text)
    moving = judged(clip.json()["candidate_id"])["row"]
    one = judged(still.json()["candidate_id"])["row"]
    assert "motion" in views(moving) and views(one) == {"full", "region"}
    assert one["evidence"]["facts"]["still_image"] is True
    box = one["evidence"]["objects"][0]["box"]
    assert list(box) == [0.3125, 0.3125, 0.6562, 0.8333]
