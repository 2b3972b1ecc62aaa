"""Operators' answers become a dataset."""

from __future__ import annotations

import pytest
from sqlalchemy import insert
from support.queue_help import apart

from evaluation.dataset import DatasetError
from evaluation.importers import import_feedback
from pipeline.store.engine import open_store, write
from pipeline.store.schema import feedback, incidents
from pipeline.types import EventType


def answer(connection, incident_id: str, said: str) -> None:
    values = {"incident_id": incident_id, "operator": "kim", "answer": said, "note": ""}
    connection.execute(insert(feedback).values(values))


@pytest.fixture
def engine(settings):
    made = open_store(settings)
    yield made
    made.dispose()


def opened(connection, name: str, source: str, number: int, event=EventType.FALL) -> str:
    values = {
        "incident_id": name, "camera": "gate", "source": source, "event_type": str(event),
        **apart(number), "action": "escalate", "priority": "high", "priority_rank": 1,
    }  # fmt: skip
    connection.execute(insert(incidents).values(values))
    return name


def test_last_answers_make_the_labels(engine, settings):
    with write(engine) as connection:
        ids = {
            "wrong": opened(connection, "a", "/clips/a.mp4", 0),
            "right": opened(connection, "b", "/clips/b.mp4", 1, EventType.FIRE),
            "mixed": opened(connection, "c", "/clips/b.mp4", 2),
            "unsure": opened(connection, "d", "/clips/d.mp4", 3),
            "stream": opened(connection, "e", "rtsp://camera/1", 4),
        }
        answer(connection, ids["wrong"], "confirmed")
        answer(connection, ids["wrong"], "false_alarm")
        answer(connection, ids["right"], "confirmed")
        answer(connection, ids["mixed"], "false_alarm")
        answer(connection, ids["unsure"], "unsure")
        answer(connection, ids["stream"], "confirmed")
    rows = {row.clip: row for row in import_feedback(engine, settings)}
    assert set(rows) == {"/clips/a.mp4", "/clips/b.mp4"}
    assert not rows["/clips/a.mp4"].escalate
    assert rows["/clips/b.mp4"].label == "fire"
    assert [event.type for event in rows["/clips/b.mp4"].events] == ["fire"]
    assert {row.group for row in rows.values()} == {"camera:gate"}


def test_without_answers_there_is_nothing_to_import(engine, settings):
    with pytest.raises(DatasetError, match="no operator has answered"):
        import_feedback(engine, settings)
