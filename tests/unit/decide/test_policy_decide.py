from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.decide import Policy, Thresholds, decide, load_policy
from pipeline.decide.context import expected_by_context
from pipeline.errors import ConfigError
from pipeline.types import Action, Candidate, EventType, Priority, VerdictState
from prompts.example import example_candidate


def policy(**content: Any) -> Policy:
    return Policy.model_validate({"version": 1, **content})


def candidate(event: str = "fall", **changes: Any) -> Candidate:
    return replace(example_candidate(event), **changes)


@pytest.mark.parametrize(
    ("score", "state", "action", "said"),
    [
        (0.5, VerdictState.CONFIRMED, Action.ESCALATE, "Score 0.50 is at or above 0.50"),
        (1.0, VerdictState.CONFIRMED, Action.ESCALATE, "Score 1.00 is at or above 0.50"),
        (0.4999, VerdictState.UNCERTAIN, Action.REVIEW, "Score 0.4999 lies between 0.20 and 0.5000"),
        (0.2, VerdictState.UNCERTAIN, Action.REVIEW, "Score 0.20 lies between 0.20 and 0.50"),
        (0.1999, VerdictState.REJECTED, Action.DISMISS, "Score 0.1999 is below 0.2000"),
        (0.0, VerdictState.REJECTED, Action.DISMISS, "Score 0.00 is below 0.20"),
    ],
)
def test_score_and_defaults(score: float, state: VerdictState, action: Action, said: str) -> None:
    decision = decide(candidate(), score, policy())
    assert (decision.state, decision.action) == (state, action)
    assert said in decision.reason


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_no_score_fails_open(score: float | None) -> None:
    strict = policy(
        defaults={"escalate_at": 1.0, "dismiss_below": 1.0}, events={"fall": {"priority": "high"}}
    )
    decision = decide(candidate(), score, strict, error="the reply is empty")
    assert (decision.state, decision.action) == (VerdictState.FAILED, Action.REVIEW)
    assert decision.priority is Priority.HIGH
    assert "the reply is empty" in decision.reason


def test_no_score_fails_open_even_where_the_policy_watches_for_nothing() -> None:
    decision = decide(candidate(), None, policy(events={"fall": {"enabled": False}}))
    assert decision.action is Action.REVIEW


def test_thresholds_come_from_policy_then_calibration_then_defaults() -> None:
    calibrated = Thresholds(0.8, 0.3)
    assert decide(candidate(), 0.6, policy(), calibrated=calibrated).action is Action.REVIEW
    stricter = policy(events={"fall": {"escalate_at": 0.55}})
    assert decide(candidate(), 0.6, stricter, calibrated=calibrated).action is Action.ESCALATE
    assert decide(candidate(), 0.25, stricter, calibrated=calibrated).action is Action.DISMISS
    crossing = policy(events={"fall": {"escalate_at": 0.1}})
    decision = decide(candidate(), 0.15, crossing, calibrated=calibrated)
    assert decision.action is Action.ESCALATE
    assert decision.thresholds == Thresholds(0.1, 0.1)


def test_nothing_said_in_the_scene_moves_a_threshold() -> None:
    shouting = candidate(camera="threshold 0.0", zone="escalate_at: 1.0; dismiss")
    assert decide(shouting, 0.6, policy()).thresholds == decide(candidate(), 0.6, policy()).thresholds


def test_rules_merge_from_defaults_to_the_zone() -> None:
    site = policy(
        defaults={"priority": "low", "dismiss_below": 0.1},
        events={"fall": {"priority": "medium"}},
        cameras={"stairs-*": {"defaults": {"dismiss_below": 0.05}, "events": {"fall": {"priority": "high"}}}},
        zones={"escalator": {"events": {"fall": {"priority": "critical"}}}},
    )
    assert decide(candidate(), 0.9, site).priority is Priority.MEDIUM
    assert decide(candidate(camera="stairs-1"), 0.9, site).priority is Priority.HIGH
    both = candidate(camera="stairs-1", zone="escalator")
    assert decide(both, 0.9, site).priority is Priority.CRITICAL
    assert decide(both, 0.06, site).action is Action.REVIEW
    assert decide(candidate("fire"), 0.9, site).priority is Priority.LOW


def test_priority_sinks_with_the_action() -> None:
    site = policy(events={"fall": {"priority": "critical"}})
    levels = [decide(candidate(), score, site).priority for score in (0.9, 0.3, 0.1)]
    assert levels == [Priority.CRITICAL, Priority.HIGH, Priority.LOW]


@pytest.mark.parametrize(
    ("wall_time", "action"),
    [
        ("2026-11-22T12:00:00Z", Action.REVIEW),  # 21:00 in Seoul
        ("2026-11-22T13:00:00Z", Action.ESCALATE),  # 22:00
        ("2026-11-22T20:59:00+00:00", Action.ESCALATE),  # 05:59
        ("2026-11-22T21:00:00+00:00", Action.REVIEW),  # 06:00
        (None, Action.ESCALATE),
        ("not a time", Action.ESCALATE),
    ],
)
def test_hours_are_local_and_may_pass_midnight(wall_time: str | None, action: Action) -> None:
    night = policy(timezone="Asia/Seoul", events={"intrusion": {"hours": [{"at": "22:00-06:00"}]}})
    assert decide(candidate("intrusion", wall_time=wall_time), 0.9, night).action is action


def test_days_are_those_on_which_a_window_begins() -> None:
    friday_night = policy(events={"fall": {"hours": [{"days": ["fri"], "at": "22:00-06:00"}]}})
    assert decide(candidate(wall_time="2026-11-28T03:00:00Z"), 0.9, friday_night).action is Action.ESCALATE
    assert decide(candidate(wall_time="2026-11-27T03:00:00Z"), 0.9, friday_night).action is Action.REVIEW


def test_outside_hours_may_dismiss() -> None:
    rule = {"hours": [{"at": "22:00-06:00"}], "outside_hours": "dismiss"}
    day = candidate("loitering", wall_time="2026-11-22T12:00:00Z")
    assert decide(day, 0.9, policy(events={"loitering": rule})).action is Action.DISMISS


@pytest.mark.parametrize(
    ("zones", "zone", "action"),
    [
        ({"include": ["vault*"]}, "vault-2", Action.ESCALATE),
        ({"include": ["vault*"]}, "street", Action.DISMISS),
        ({"include": ["vault*"]}, None, Action.REVIEW),
        ({"exclude": ["street"]}, "street", Action.DISMISS),
        ({"exclude": ["street"]}, None, Action.ESCALATE),
    ],
)
def test_zones(zones: dict[str, list[str]], zone: str | None, action: Action) -> None:
    site = policy(events={"intrusion": {"zones": zones}})
    assert decide(candidate("intrusion", zone=zone), 0.9, site).action is action


def test_an_expected_activity_is_not_escalated_and_others_are() -> None:
    film_set = policy(cameras={"set-*": {"expected": ["violence"]}})
    fight = candidate("violence", camera="set-1")
    decision = decide(fight, 0.99, film_set)
    assert (decision.state, decision.action) == (VerdictState.CONFIRMED, Action.REVIEW)
    assert decision.reason == (
        "Score 0.99 is at or above 0.50, but this is expected here: a person should look."
    )
    assert decide(candidate("fire", camera="set-1"), 0.99, film_set).action is Action.ESCALATE
    assert decide(candidate("violence", camera="street"), 0.99, film_set).action is Action.ESCALATE
    quiet = policy(expected=["violence"], expected_action="dismiss")
    assert decide(fight, 0.99, quiet).action is Action.DISMISS


def test_an_ungrounded_report_keeps_a_dismissal_from_being_silent() -> None:
    assert decide(candidate(), 0.1, policy(), grounded=False).action is Action.REVIEW
    assert decide(candidate(), 0.1, policy(), grounded=True).action is Action.DISMISS
    assert decide(candidate(), 0.9, policy(), grounded=False).action is Action.ESCALATE


def test_words_about_the_site_dismiss_nothing() -> None:
    """Given images that speak for an incident, when only words speak against it, then a person looks."""
    by_words = decide(candidate(), 0.01, policy(), seen=0.6)
    assert (by_words.state, by_words.action) == (VerdictState.UNCERTAIN, Action.REVIEW)
    assert "words dismiss nothing" in by_words.reason
    assert decide(candidate(), 0.01, policy(), seen=0.1).action is Action.DISMISS
    told = policy(expected=["fall"], expected_action="dismiss")
    assert decide(candidate(), 0.01, told, seen=0.6).action is Action.DISMISS, "the policy may"


def test_reasons_speak_korean() -> None:
    told = [decide(candidate(), score, policy(), language="ko").reason for score in (0.1, 0.3, 0.9)]
    assert told[0] == "점수 0.10: 기준 0.20 미만이므로 오경보로 처리합니다."
    assert told[1].endswith("사이이므로 사람이 확인해야 합니다.")
    assert told[2].endswith("이상이므로 상황을 전파합니다.")


def test_the_shipped_policy_covers_every_event_type() -> None:
    shipped = load_policy()
    assert set(shipped.events) == set(EventType)
    for event in EventType:
        assert decide(candidate(event.value), 0.99, shipped).action is Action.ESCALATE


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"colour": "red"}, "colour"),
        ({"version": 2}, "version"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"events": {"flood": {}}}, "events.flood"),
        ({"events": {"fall": {"escalate_at": 1.2}}}, "events.fall.escalate_at"),
        ({"events": {"fall": {"escalate_at": 0.2, "dismiss_below": 0.5}}}, "events.fall"),
        ({"events": {"fall": {"hours": [{"at": "25:00-26:00"}]}}}, "events.fall.hours.0.at"),
        ({"events": {"fall": {"priority": "urgent"}}}, "events.fall.priority"),
        ({"expected": ["fun"]}, "expected.0"),
    ],
)
def test_a_bad_policy_names_the_place(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **change}))
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    assert where in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", [None, "a: [", "- 1", ""])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError):
        load_policy(path)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("this is a film set, simulated fights are expected", {EventType.VIOLENCE}),
        ("Film set. Simulated fights and pyrotechnics are expected.", {EventType.VIOLENCE, EventType.FIRE}),
        ("Boxing gym: sparring is normal here.", {EventType.VIOLENCE}),
        ("Smoke from the kitchen is usual at noon.", {EventType.SMOKE}),
        ("Crowds are expected on Saturdays, but fights are not expected.", {EventType.CROWDING}),
        ("영화 촬영장이며 싸움 장면이 예정되어 있습니다.", {EventType.VIOLENCE}),
        ("Fights are not expected.", set()),
        ("No crowd is expected.", set()),
        ("A fight happened here last year.", set()),
        ("Emergency exit beside the fire extinguisher.", set()),
        ("싸움은 예상되지 않습니다.", set()),
        ("", set()),
    ],
)
def test_statements_of_what_is_expected(context: str, expected: set[EventType]) -> None:
    assert expected_by_context(context) == expected


def test_what_the_site_expects_is_not_escalated_whatever_the_model_says() -> None:
    context = "this is a film set, simulated fights are expected"
    shipped = load_policy()
    fight = decide(candidate("violence"), 0.99, shipped, site_context=context)
    assert (fight.state, fight.action) == (VerdictState.CONFIRMED, Action.REVIEW)
    assert decide(candidate("fire"), 0.99, shipped, site_context=context).action is Action.ESCALATE
    assert decide(candidate("violence"), 0.99, shipped).action is Action.ESCALATE
    strict = shipped.model_copy(update={"read_site_context": False})
    assert decide(candidate("violence"), 0.99, strict, site_context=context).action is Action.ESCALATE
