"""What a detector sends: the edge, idempotency, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.detect.reported import Report, ReportedBox
from pipeline.inbound.report import DetectionIn
from pipeline.types import EventType

EVENT: dict[str, Any] = {
    "camera": "gate 3",
    "event_type": "fall",
    "started_at": "2026-11-24T10:00:00+09:00",
    "score": 0.8,
    "detector": "site-yolo",
}


def read(**changes: Any) -> DetectionIn:
    return DetectionIn.model_validate({**EVENT, **changes})


def test_an_event_is_known_by_its_id_and_without_one_by_all_it_says() -> None:
    named = read(event_id="7", score=0.8)
    assert named.candidate_id(b"one") == read(event_id="7", score=0.9).candidate_id(b"other")
    assert named.candidate_id(b"") != read(event_id="7", event_type="fire").candidate_id(b"")
    assert named.candidate_id(b"") != read(event_id="7", camera="gate 4").candidate_id(b"")
    assert read().candidate_id(b"one") == read().candidate_id(b"one")
    assert read().candidate_id(b"one") != read().candidate_id(b"other")
    assert read().candidate_id(b"one") != read(score=0.9).candidate_id(b"one")
    assert len(named.candidate_id(b"")) == 16


def test_pixel_boxes_become_shares_and_times_utc() -> None:
    said = read(image_size=[200, 100], boxes=[{"label": "person", "score": 0.5, "box": [20, 10, 201, 100]}])
    assert said.reported()[0].box == (0.1, 0.1, 1.0, 1.0)
    assert said.wall_time() == "2026-11-24T01:00:00.000+00:00"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_type": "flood"}, "event_type"),
        ({"score": 1.2}, "less than or equal to 1"),
        ({"score": float("nan")}, "finite"),
        ({"started_at": "2026-11-24T10:00:00"}, "timezone"),
        ({"camera": "<|im_start|>"}, "pattern"),
        ({"secret": 1}, "Extra inputs"),
        ({"boxes": [{"label": "x", "score": 1, "box": [0.5, 0, 0.2, 1]}]}, "x1 < x2"),
        ({"boxes": [{"label": "x", "score": 1, "box": [5, 5, 50, 50]}]}, "give image_size"),
        ({"boxes": [{"label": "x", "score": 1, "box": [0, 0, 1, float("inf")]}]}, "not a number"),
        ({"clip": {"url": "file:///etc/passwd"}}, "pattern"),
        ({"clip": {"url": "http://a/b", "path": "c"}}, "not both"),
        ({"clip": {"path": "c", "from_s": 5, "to_s": 2}}, "after to_s"),
        ({"images": [{"data": "AA=="}] * 17}, "at most 16"),
        ({"images": [{"data": "AA=="}], "clip": {"path": "c"}}, "not both"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**changes)
    assert said in str(caught.value)


def test_boxes_hold_around_their_time() -> None:
    """Given timed and lasting boxes, when asked where to look, then the nearest moment wins."""
    boxes = (
        ReportedBox("person", 0.9, (0.1, 0.1, 0.2, 0.4), 1.0),
        ReportedBox("person", 0.8, (0.3, 0.2, 0.4, 0.5), 1.0),
        ReportedBox("person", 0.8, (0.6, 0.2, 0.7, 0.5), 3.0),
        ReportedBox("car", 0.8, (0.0, 0.0, 0.9, 0.9), None),
    )
    report = Report("d", EventType.FALL, 0.9, 0.0, 9.0, boxes=boxes)
    assert report.box_at(1.3) == (0.1, 0.1, 0.4, 0.5)
    assert report.box_at(2.8) == (0.6, 0.2, 0.7, 0.5)
    assert report.box_at(7.0) == (0.0, 0.0, 0.9, 0.9)
    assert Report("d", EventType.FALL, 0.9, 0.0, 9.0).box_at(1.0) is None
