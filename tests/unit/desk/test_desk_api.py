"""The JSON interface, frames and metrics."""

from __future__ import annotations

import hashlib

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from pipeline.store import workers
from pipeline.store.engine import read, write
from pipeline.store.schema import audit, frames, utcnow
from tests.unit.desk.desk_rows import TOKEN, Seeded

SCRIPT = {"authorization": f"Bearer {TOKEN}", "x-operator": "night shift"}


def test_list(stranger: TestClient) -> None:
    page = stranger.get("/api/v1/incidents", headers=SCRIPT).json()
    assert page["counts"] == {"open": 4, "answered": 0, "dismissed": 2}
    assert [one["priority"] for one in page["incidents"]] == ["critical", "high", "high", "high"]
    assert page["incidents"][1]["candidate_count"] == 2
    assert page["incidents"][0]["decision"] == "escalate"
    two = stranger.get("/api/v1/incidents?limit=2&offset=1", headers=SCRIPT).json()
    assert [one["incident_id"] for one in two["incidents"]] == [
        one["incident_id"] for one in page["incidents"][1:3]
    ]
    assert two["more"] is True
    dismissed = stranger.get("/api/v1/incidents?tab=dismissed", headers=SCRIPT).json()["incidents"]
    assert {one["event_type"] for one in dismissed} == {"fall", "smoke"}
    assert all(one["incident_id"] == one["candidate_id"] for one in dismissed)


def test_one_incident_can_be_replayed(desk: Seeded, stranger: TestClient) -> None:
    found = stranger.get("/api/v1/incidents", headers=SCRIPT).json()["incidents"][1]["incident_id"]
    whole = stranger.get(f"/api/v1/incidents/{found}", headers=SCRIPT).json()
    assert len(whole["candidates"]) == 2
    first = whole["candidates"][0]
    assert first["trigger"] == {"name": "fall_rule", "score": 0.83}
    said = first["verdict"]
    assert said["score"] == 0.93
    assert said["provenance"]["frames"] == [frame["sha256"] for frame in first["frames"]]
    assert said["narrative"]["title"].startswith("A person has fallen")
    with read(desk.engine) as connection:
        row = connection.execute(select(audit).where(audit.c.what == "incident.viewed")).one()
    assert (row.who, row.subject) == ("night shift", found)
    assert stranger.get("/api/v1/incidents/none", headers=SCRIPT).status_code == 404


def test_failed_verdict_has_no_score(stranger: TestClient) -> None:
    listed = stranger.get("/api/v1/incidents", headers=SCRIPT).json()["incidents"]
    failed = next(one for one in listed if one["camera"] == "lobby")
    assert failed["score"] is None
    whole = stranger.get(f"/api/v1/incidents/{failed['incident_id']}", headers=SCRIPT).json()
    assert whole["candidates"][0]["verdict"]["verdict"] == "failed"
    assert whole["candidates"][0]["verdict"]["raw_reply"]


def test_feedback(stranger: TestClient) -> None:
    found = stranger.get("/api/v1/incidents", headers=SCRIPT).json()["incidents"][0]["incident_id"]
    path = f"/api/v1/incidents/{found}/feedback"
    made = stranger.post(path, json={"answer": "unsure", "note": "smoke?"}, headers=SCRIPT)
    assert made.status_code == 201
    assert made.json()["operator"] == "night shift"
    assert stranger.post(path, json={"answer": "perhaps"}, headers=SCRIPT).status_code == 422
    assert stranger.post(path, json={"answer": "unsure", "score": 1}, headers=SCRIPT).status_code == 422
    assert stranger.post(path, content=b"{", headers=SCRIPT).status_code == 422
    none = "/api/v1/incidents/none/feedback"
    assert stranger.post(none, json={"answer": "unsure"}, headers=SCRIPT).status_code == 404
    page = stranger.get("/api/v1/incidents?tab=answered", headers=SCRIPT).json()["incidents"]
    assert [(one["state"], one["answer"]["note"]) for one in page] == [("unsure", "smoke?")]


def test_health(desk: Seeded, stranger: TestClient) -> None:
    state = stranger.get("/api/v1/health", headers=SCRIPT).json()
    assert (state["status"], state["waiting"], state["workers"], state["broker_up"]) == (
        "degraded",
        1,
        0,
        True,
    )
    workers.seen(desk.engine, "here/1", model="embedded", pid=1)
    state = stranger.get("/api/v1/health", headers=SCRIPT).json()
    assert state["workers"] == 1
    assert state["worker_seen_at"] is not None


def test_metrics_are_readable_by_prometheus(stranger: TestClient) -> None:
    text = stranger.get("/metrics", headers=SCRIPT).text
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["sitrep_jobs", (("lane", "live"), ("state", "pending"))] == 1
    assert values["sitrep_incidents", (("answer", "new"), ("decision", "escalate"))] == 2
    assert values["sitrep_incidents", (("answer", "new"), ("decision", "review"))] == 2
    assert values["sitrep_queue_age_seconds", (("lane", "live"),)] >= 0
    assert values["sitrep_broker_up", ()] == 1


def test_frames_are_those_bytes_or_nothing(desk: Seeded, stranger: TestClient) -> None:
    found = stranger.get("/api/v1/incidents", headers=SCRIPT).json()["incidents"][0]["incident_id"]
    whole = stranger.get(f"/api/v1/incidents/{found}", headers=SCRIPT).json()
    sha256 = whole["candidates"][0]["frames"][0]["sha256"]
    path = f"/api/v1/frames/{sha256}"
    answer = stranger.get(path, headers=SCRIPT)
    assert answer.headers["content-type"] == "image/jpeg"
    assert hashlib.sha256(answer.content).hexdigest() == sha256
    again = stranger.get(path, headers={**SCRIPT, "if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert stranger.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 401
    assert stranger.get("/api/v1/frames/" + "f" * 64, headers=SCRIPT).status_code == 404
    for name in ("..%2F..%2Ftoken", "A" * 64, "f" * 63):
        assert stranger.get(f"/api/v1/frames/{name}", headers=SCRIPT).status_code in (404, 422)
    with write(desk.engine) as connection:
        connection.execute(frames.update().where(frames.c.sha256 == sha256).values(removed_at=utcnow()))
    assert stranger.get(path, headers=SCRIPT).status_code == 404
