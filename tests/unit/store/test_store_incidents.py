"""One real-world event is one incident and one alert, whatever the queue does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, select
from support.queue_help import candidate, verdict

from pipeline.errors import StoreError
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.settings import Settings
from pipeline.store import feedback, outbox, verdicts
from pipeline.store.engine import read
from pipeline.store.schema import Answer, Deed, audit, candidates, incidents
from pipeline.store.schema import outbox as outbox_table
from pipeline.types import Action, Candidate, EventType, Narrative, Priority, Verdict, VerdictState

Judge = Callable[..., None]
DISMISSED = verdict(Action.DISMISS, score=0.1, state=VerdictState.REJECTED, priority=Priority.LOW)


@pytest.fixture
def judge(store_settings: Settings, store: Engine) -> Judge:
    """Submit, claim and finish one candidate with a given verdict."""
    queue = Queue(store_settings, store)
    queue.sender.send = lambda *_: True  # type: ignore[method-assign]

    def run(one: Candidate, said: Verdict | None = None, **options: Any) -> None:
        job = queue.submit(one, **options)
        claimed = work.claim(store, store_settings, job.job_id, "w/1")
        assert claimed is not None
        assert work.finish(store, *claimed, said or verdict())

    return run


def shown(store: Engine) -> list[Any]:
    with read(store) as connection:
        query = select(incidents).where(incidents.c.merged_into.is_(None)).order_by(incidents.c.start_s)
        return list(connection.execute(query))


def alerts(store: Engine) -> list[str]:
    with read(store) as connection:
        return list(connection.execute(select(outbox_table.c.alert_key)).scalars())


def deeds(store: Engine) -> list[str]:
    with read(store) as connection:
        return list(connection.execute(select(audit.c.what).order_by(audit.c.audit_id)).scalars())


def test_an_incident_shows_its_verdict(judge: Judge, store: Engine) -> None:
    judge(candidate("a", zone="door", start_s=3.0, end_s=5.0))
    (one,) = shown(store)
    assert (one.camera, one.zone, one.event_type, one.state) == ("gate", "door", "fall", "new")
    assert (one.action, one.priority, one.priority_rank, one.score) == ("escalate", "high", 1, 0.9)
    assert (one.title, one.summary, one.candidate_count) == ("A person fell", "One line.", 1)
    assert (one.start_s, one.end_s, one.candidate_id) == (3.0, 5.0, "a")
    assert alerts(store) == [f"incident:{one.incident_id}"]
    assert deeds(store) == [Deed.INCIDENT_OPENED]


def test_overlapping_candidates_are_one_event_with_one_alert(judge: Judge, store: Engine) -> None:
    judge(candidate("a", start_s=0, end_s=4))
    judge(candidate("b", start_s=8, end_s=12), verdict(priority=Priority.CRITICAL, title="Worse"))
    (one,) = shown(store)
    assert (one.start_s, one.end_s, one.candidate_count) == (0, 12, 2)
    assert (one.title, one.priority, one.candidate_id) == ("Worse", "critical", "b")
    assert len(alerts(store)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"start_s": 100.0, "end_s": 102.0},
        {"camera": "yard"},
        {"event": EventType.FIRE},
        {"source": "other.mp4"},
    ],
)
def test_other_times_cameras_types_and_clips_are_other_events(
    judge: Judge, store: Engine, other: dict[str, Any]
) -> None:
    judge(candidate("a"))
    judge(candidate("b", **other))
    assert len(shown(store)) == 2
    assert len(alerts(store)) == 2


def test_a_candidate_in_between_joins_two_incidents(judge: Judge, store: Engine) -> None:
    judge(candidate("a", start_s=0, end_s=2))
    judge(candidate("c", start_s=24, end_s=26))
    younger = shown(store)[1].incident_id
    feedback.give(store, younger, Answer.CONFIRMED, operator="kim")
    judge(candidate("b", start_s=11, end_s=15))
    (one,) = shown(store)
    assert (one.start_s, one.end_s, one.candidate_count) == (0, 26, 3)
    assert one.state == "confirmed"
    with read(store) as connection:
        assert set(connection.execute(select(candidates.c.incident_id)).scalars()) == {one.incident_id}
    assert Deed.INCIDENT_MERGED in deeds(store)
    feedback.give(store, younger, Answer.UNSURE, operator="lee")
    assert shown(store)[0].state == "unsure"


def test_with_a_wall_clock_it_counts_over_restarts_of_the_stream(judge: Judge, store: Engine) -> None:
    judge(candidate("a", start_s=500, end_s=502, source="rtsp://1", wall_time="2026-03-01T09:00:00+09:00"))
    judge(candidate("b", start_s=1, end_s=3, source="rtsp://2", wall_time="2026-03-01T00:00:05Z"))
    judge(candidate("c", start_s=1, end_s=3, source="rtsp://2", wall_time="2026-03-01T01:00:00Z"))
    first, second = sorted(shown(store), key=lambda one: one.started_at)
    assert first.candidate_count == 2
    assert first.started_at.isoformat() == "2026-03-01T00:00:00+00:00"
    assert first.ended_at.isoformat() == "2026-03-01T00:00:07+00:00"
    assert second.candidate_count == 1


def test_a_dismissed_candidate_makes_no_incident(judge: Judge, store: Engine) -> None:
    judge(candidate("a"), DISMISSED)
    assert shown(store) == []
    assert alerts(store) == []


def test_review_is_shown_and_raises_no_alert_until_it_is_escalated(judge: Judge, store: Engine) -> None:
    judge(candidate("a"), verdict(Action.REVIEW, score=0.4, state=VerdictState.UNCERTAIN))
    assert shown(store)[0].action == "review"
    assert alerts(store) == []
    judge(candidate("a"), verdict(), prompt="better@2.0.0")
    assert shown(store)[0].action == "escalate"
    assert len(alerts(store)) == 1


def test_a_new_verdict_replaces_the_live_one_and_keeps_the_old(judge: Judge, store: Engine) -> None:
    judge(candidate("a"))
    judge(candidate("a"), DISMISSED, prompt="better@2.0.0")
    (one,) = shown(store)
    assert one.action == "dismiss"
    assert [said.action for said in verdicts.of_candidate(store, "a")] == [Action.ESCALATE, Action.DISMISS]
    live = verdicts.live(store, "a")
    assert live is not None
    assert live.action is Action.DISMISS


def test_a_verdict_of_the_archive_changes_nothing_live(judge: Judge, store: Engine) -> None:
    judge(candidate("a"))
    judge(candidate("a"), DISMISSED, prompt="better@2.0.0", live=False)
    (one,) = shown(store)
    assert one.action == "escalate"
    live = verdicts.live(store, "a")
    assert live is not None
    assert live.action is Action.ESCALATE
    assert len(verdicts.of_candidate(store, "a")) == 2


def test_a_narrative_may_come_later(judge: Judge, store: Engine) -> None:
    judge(candidate("a"), verdict(Action.REVIEW))
    judge(candidate("b", camera="yard"), DISMISSED)
    with read(store) as connection:
        ids = dict(
            connection.execute(select(verdicts.verdicts.c.candidate_id, verdicts.verdicts.c.verdict_id)).all()
        )
    late = Narrative("Late", "Said later.", "n", "r", "do")
    assert not verdicts.add_narrative(store, ids["a"], late, grounded=True, elapsed_ms=5.0)
    assert verdicts.add_narrative(store, ids["b"], late, grounded=True, elapsed_ms=5.0, who="kim")
    said = verdicts.live(store, "b")
    assert said is not None
    assert said.narrative == late
    assert said.timings_ms["narrative"] == 5.0


def test_answers_are_kept_and_the_newest_counts(judge: Judge, store: Engine) -> None:
    judge(candidate("a"))
    incident_id = shown(store)[0].incident_id
    feedback.give(store, incident_id, Answer.FALSE_ALARM, operator="kim", note="a dog\x00")
    feedback.give(store, incident_id, Answer.CONFIRMED, operator="lee")
    assert shown(store)[0].state == "confirmed"
    with read(store) as connection:
        rows = connection.execute(select(feedback.feedback).order_by("feedback_id")).all()
    assert [(row.operator, row.answer, row.note) for row in rows] == [
        ("kim", "false_alarm", "a dog\ufffd"),
        ("lee", "confirmed", ""),
    ]
    assert rows[0].verdict_id is not None
    with pytest.raises(StoreError, match="no incident"):
        feedback.give(store, "nonsense", Answer.UNSURE, operator="kim")


class Place:
    """A notifier that fails as often as told."""

    name = "place"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.got: list[dict[str, object]] = []

    def notify(self, alert: dict[str, object]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.got.append(alert)


def test_an_alert_is_delivered_once(judge: Judge, store: Engine) -> None:
    judge(candidate("a"))
    place = Place()
    assert outbox.deliver(store, [place]) == 1
    assert outbox.deliver(store, [place]) == 0
    (alert,) = place.got
    assert alert["title"] == "A person fell"
    assert str(alert["alert_key"]).startswith("incident:")


def test_an_alert_that_cannot_be_delivered_is_tried_again(
    judge: Judge, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(candidate("a"))
    place = Place(failures=1)
    assert outbox.deliver(store, [place]) == 0
    assert outbox.deliver(store, [place]) == 0, "the pause is not kept"
    with read(store) as connection:
        row = connection.execute(select(outbox_table)).one()
    assert (row.state, row.attempts, row.error) == ("pending", 1, "place: ConnectionError: away")
    later = row.not_before
    monkeypatch.setattr(outbox, "utcnow", lambda: later)
    assert outbox.deliver(store, [place]) == 1


def test_an_alert_nobody_takes_is_dead_in_the_end(
    judge: Judge, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(candidate("a"))
    monkeypatch.setattr(outbox, "MAX_ATTEMPTS", 1)
    outbox.deliver(store, [Place(failures=9)])
    with read(store) as connection:
        assert connection.execute(select(outbox_table.c.state)).scalar_one() == "dead"
