"""Numbers, times and boxes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.desk import view
from pipeline.desk.text import TEXT, translator

WORDS = translator("en")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.5, "0.5 s"),
        (3.2, "3 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
        (-5, "0 s"),
    ],
)
def test_span(seconds: float, shown: str) -> None:
    assert view.span(seconds, WORDS) == shown


def test_age() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert view.age(now - timedelta(minutes=5), WORDS, now) == "5 min"
    assert view.age(None, WORDS) == "–"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (84.4, "84 ms"), (1260.0, "1.3 s"), (125_000.0, "2 min 5 s")]
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert view.milliseconds(value) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(7.41, "0:07.4"), (61, "1:01.0"), (3723.0, "1:02:03.0")])
def test_stream_time(seconds: float, shown: str) -> None:
    assert view.stream_time(seconds) == shown


@pytest.mark.parametrize(
    ("score", "shown"), [(None, "–"), (0.0, "< 1 %"), (0.005, "< 1 %"), (0.42, "42 %"), (0.999, "> 99 %")]
)
def test_score_never_promises_certainty(score: float | None, shown: str) -> None:
    assert view.score_bar(score, None).shown == shown


def test_facts_have_units() -> None:
    measured = {
        "still_s": 3.41,
        "torso_angle_deg": 78.3,
        "motion_area": 0.1234,
        "fell": True,
        "x_m": None,
        "tiny": 1e-5,
    }
    shown = {fact.name: fact.value for fact in view.facts(measured)}
    assert shown == {
        "still": "3.41 s",
        "torso angle": "78.3 °",
        "motion area": "0.12",
        "fell": "yes",
        "x": "– m",
        "tiny": "1.0e-05",
    }


def frame(view_name: str, moment: str, t_s: float, box: list[float] | None = None) -> dict[str, object]:
    return {
        "sha256": f"{view_name}{moment}",
        "view": view_name,
        "moment": moment,
        "t_s": t_s,
        "width": 200,
        "height": 100,
        "box": box,
    }


def test_pictures_are_in_order_with_boxes_where_they_belong() -> None:
    frames = [
        frame("motion", "peak", 2.0),
        frame("full", "after", 3.0),
        frame("region", "peak", 2.0, [0.5, 0.0, 1.0, 1.0]),
        frame("full", "peak", 2.0),
        frame("full", "before", 1.0),
    ]
    evidence = {"objects": [{"label": "person", "score": 0.9, "box": [0.5, 0.2, 0.75, 0.6], "t_s": 2.1}]}
    shots = view.pictures(frames, evidence)
    assert [(shot.moment, shot.view) for shot in shots] == [
        ("before", "full"),
        ("peak", "full"),
        ("peak", "region"),
        ("peak", "motion"),
        ("after", "full"),
    ]
    assert shots[0].boxes == (), "a box belongs to its moment only"
    person, region = shots[1].boxes
    assert (person.x, person.y, person.width, person.height) == (100, 20, 50, 40)
    assert person.label == "person 90 %"
    assert (region.kind, region.x, region.width) == ("region", 100, 100)
    inside = shots[2].boxes[0]
    assert (inside.x, inside.y, inside.width, inside.height) == (0, 20, 100, 40)


def test_thumbnail_prefers_the_close_up_of_the_moment() -> None:
    frames = [
        frame("full", "before", 1.0),
        frame("motion", "peak", 2.0),
        frame("region", "peak", 2.0, [0, 0, 1, 1]),
    ]
    chosen = view.thumbnail(frames)
    assert chosen is not None
    assert chosen["view"] == "region"
    assert view.thumbnail([]) is None


def test_thresholds_of() -> None:
    assert view.thresholds_of({"params": {"dismiss_below": 0.2, "escalate_at": 0.7}}) == (0.2, 0.7)
    assert view.thresholds_of({"params": {}}) is None
    assert view.thresholds_of(None) is None


def test_every_text_has_both_languages() -> None:
    assert all(english and korean for english, korean in TEXT.values())
    assert translator("ko")("confirm_button") == "실제 상황"
    assert WORDS("a_new_type") == "a new type"
