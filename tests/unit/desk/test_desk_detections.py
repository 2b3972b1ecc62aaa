"""Detections by HTTP: who may send them, what is refused and how, and what a full queue says."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from pipeline.desk.app import create_app
from pipeline.detect import registry
from pipeline.store.engine import read
from pipeline.store.schema import candidates, jobs
from pipeline.types import Detections, Poses
from tests.unit.desk.desk_rows import TOKEN, Seeded, picture

PATH = "/api/v1/detections"
MACHINE = {"authorization": "Bearer for-detectors"}
EVENT: dict[str, Any] = {
    "detector": "site-yolo",
    "event_id": "1",
    "camera": "dock",
    "event_type": "fall",
    "started_at": "2026-11-24T10:00:00Z",
    "score": 0.8,
}


class Blind:
    """Stands in for all three detectors where only the way in is tested: it sees nothing, at once."""

    name = "blind"

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def detect(self, images: Any) -> list[Detections]:
        return [Detections.empty() for _ in images]

    def estimate(self, images: Any) -> list[Poses]:
        return [Poses.empty() for _ in images]

    def score(self, image: Any) -> dict[str, float]:
        return {}


@pytest.fixture
def sender(empty_desk: Seeded, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for table in (registry.DETECTORS, registry.POSE_ESTIMATORS, registry.APPEARANCE_SCORERS):
        for name in list(table):
            monkeypatch.setitem(table, name, f"{__name__}:Blind")
    changes = {"detector_token": "for-detectors", "detection_max_mb": 1, "max_pending": 3}
    settings = type(empty_desk.settings).model_validate({**empty_desk.settings.model_dump(), **changes})
    app = create_app(settings, engine=empty_desk.engine, frames=empty_desk.frames, ping_broker=lambda: True)
    with TestClient(app, headers=MACHINE, raise_server_exceptions=False) as made:
        yield made


def image(t_s: float = 0.0) -> str:
    import cv2

    shot = picture("fall-in-office-1.mp4", 3.0 + t_s)
    return base64.b64encode(cv2.imencode(".jpg", shot)[1].tobytes()).decode()


def with_image(**changes: Any) -> dict[str, Any]:
    return {**EVENT, "images": [{"data": image()}], **changes}


def count(desk: Seeded, table: Any) -> int:
    with read(desk.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_detectors_and_operators_are_kept_apart(sender: TestClient) -> None:
    """Given both tokens, when each knocks at the other's door, then only the status of a candidate opens."""
    operator = {"authorization": f"Bearer {TOKEN}"}
    none = {"authorization": ""}
    assert sender.post(PATH, json=with_image(), headers=none).status_code == 401
    assert sender.post(PATH, json=with_image(), headers=operator).status_code == 401
    accepted = sender.post(PATH, json=with_image())
    assert accepted.status_code == 202, accepted.text
    where = accepted.headers["location"]

    for path in ("/api/v1/incidents", "/api/v1/health", "/", "/metrics"):
        assert sender.get(path, follow_redirects=False).status_code in (401, 303), path
    assert sender.get(where, headers=none).status_code == 401
    assert sender.get(where, headers=operator).status_code == 200
    state = sender.get(where).json()
    assert (state["state"], state["finished"], state["incident_id"]) == ("pending", False, None)
    assert state["row"]["camera"] == "dock" and state["row"]["decision"] is None
    assert sender.get("/api/v1/candidates/none").status_code == 404


def test_the_token_is_made_when_it_is_not_set(empty_desk: Seeded) -> None:
    create_app(empty_desk.settings, engine=empty_desk.engine, ping_broker=lambda: True)
    file = empty_desk.settings.data_dir / "detector-token"
    assert len(file.read_text().strip()) > 20 and file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "JSON"),
        (b"[]", 422, "object"),
        (json.dumps({**EVENT, "colour": "red"}).encode(), 422, "colour: Extra inputs"),
        (json.dumps(EVENT).encode(), 422, "no picture"),
        (json.dumps({**EVENT, "images": [{"data": "?"}]}).encode(), 422, "not base64"),
        (json.dumps({**EVENT, "images": [{"data": "aGVsbG8="}]}).encode(), 422, "image 0 is not a picture"),
        (json.dumps({**EVENT, "images": [{"data": "/9j/4AAQ"}]}).encode(), 422, "damaged or cut short"),
        (
            json.dumps({**EVENT, "clip": {"url": "http://169.254.169.254/x"}}).encode(),
            422,
            "no host is allowed",
        ),
        (json.dumps({**EVENT, "clip": {"path": "/etc/passwd"}}).encode(), 422, "may not be named by path"),
        (json.dumps({**EVENT, "clip": {"from_s": 1}}).encode(), 422, "no picture"),
        (b" " * (1 << 20) + b"{}", 413, "at most 1 MB"),
    ],
)
def test_bad_input_is_one_clear_line(
    sender: TestClient, empty_desk: Seeded, body: bytes, status: int, said: str
) -> None:
    answer = sender.post(PATH, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert count(empty_desk, candidates) == 0


def test_a_body_that_hides_its_length_is_cut_off(sender: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    answer = sender.post(PATH, content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413, answer.text


def test_multipart_parts_are_named(sender: TestClient) -> None:
    event = {"event": json.dumps(EVENT)}
    jpeg = base64.b64decode(image())
    for data, files, said in (
        ({}, {"images": ("a.jpg", jpeg)}, "'event'"),
        (event, {"picture": ("a.jpg", jpeg)}, "'picture' is unknown"),
        (event, {"clip": ("a.mp4", b"no video at all")}, "not a video"),
        (event, [("images", ("a.jpg", jpeg)), ("images", ("b.jpg", jpeg))], "image 0 has no time"),
        (event, [("images", ("a.jpg", jpeg)), ("clip", ("b.mp4", jpeg))], "more than one kind"),
    ):
        answer = sender.post(PATH, data=data, files=files)
        assert answer.status_code == 422 and said in answer.json()["detail"], answer.text
    assert sender.post(PATH, content=b"x", headers={"content-type": "text/plain"}).status_code == 415


def test_sent_at_once_from_many_threads_it_is_one_job(sender: TestClient, empty_desk: Seeded) -> None:
    body = with_image()
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(sender.post(PATH, json=body))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sorted(answer.json()["known"] for answer in answers) == [False, True, True, True, True]
    assert (count(empty_desk, jobs), count(empty_desk, candidates)) == (1, 1)


def test_a_full_queue_says_when_to_come_again(sender: TestClient, empty_desk: Seeded) -> None:
    """Given room for three jobs, when a fourth event comes, then 429, and it is taken once there is room."""
    for number in range(3):
        assert sender.post(PATH, json=with_image(event_id=str(number))).status_code == 202
    full = sender.post(PATH, json=with_image(event_id="more"))
    assert full.status_code == 429
    assert int(full.headers["retry-after"]) >= 1
    assert "max_pending" in full.json()["detail"]
    # What is there already is still answered
    assert sender.post(PATH, json=with_image(event_id="0")).json()["known"] is True
    with empty_desk.engine.begin() as connection:
        connection.execute(jobs.update().values(state="done"))
    assert sender.post(PATH, json=with_image(event_id="more")).status_code == 202


def test_the_score_and_the_boxes_arrive_as_evidence(sender: TestClient) -> None:
    body = with_image(
        image_size=[640, 480],
        boxes=[{"label": "person", "score": 0.77, "box": [64, 48, 320, 240]}],
        zone="bay 2",
    )
    row = sender.get(sender.post(PATH, json=body).headers["location"]).json()["row"]
    assert row["trigger"] == {"name": "site-yolo", "score": 0.8} and row["zone"] == "bay 2"
    assert row["evidence"]["counts"] == {"person": 1}
    (seen,) = row["evidence"]["objects"]
    assert (seen["label"], seen["score"], seen["box"]) == ("person", 0.77, [0.1, 0.1, 0.5, 0.5])
    assert row["evidence"]["note"].startswith("site-yolo reports fall, score 0.80.")
    region = next(frame for frame in row["frames"] if frame["view"] == "region")
    assert region["box"] == pytest.approx([0.0, 0.0, 0.6, 0.6], abs=0.01)
