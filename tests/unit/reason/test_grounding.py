from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.reason.grounding import check
from pipeline.types import Candidate, Evidence, Narrative, SeenObject
from prompts.example import example_candidate


def said(text: str, language: str = "en") -> Narrative:
    return Narrative(
        "Report", "Report", text, "Report", "Run for the fire, the gun and nine dogs.", (), language
    )


def candidate(event: str = "fall", *, counts: dict[str, int] | None = None, **facts: float) -> Candidate:
    counts = {"person": 2} if counts is None else counts
    objects = tuple(SeenObject(label, 0.9, (0, 0, 1, 1), 4.0) for label in counts)
    return replace(example_candidate(event), evidence=Evidence(objects, counts, facts))


@pytest.mark.parametrize(
    "text",
    [
        "A person lies on the floor.",
        "Two people stand together.",
        "The man's arm is raised; a woman watches.",
        "No fire is visible and no vehicle is near.",
        "There is neither a weapon nor a dog in view.",
        "The fire alarm is false: it is a red lamp that looks like fire.",
        "A gun is not visible.",
        "The alarm suspects smoke, but the pictures do not settle it.",
        "Alarm: fire",
        "Nothing is burning in view; flame colours come from a lamp.",
        "밝은 곳에 불꽃색이 보입니다.",
        "The person is still for 3.2 s, from 2.0 s to 8.1 s.",
        "The torso is tilted by 78 degrees, about 80 degrees.",
        "The first of 2 people bends down.",
        "사람이 바닥에 누워 있습니다.",
        "불이 보이지 않습니다.",
        "화재가 아닙니다.",
        "두 명이 서 있습니다.",
        "차량은 없습니다.",
        "연기로 오인한 안개입니다.",
    ],
)
def test_supported_denied_or_compared_things_are_grounded(text: str) -> None:
    found = check(said(text), candidate(still_s=3.21, torso_angle_deg=78.3), {}, 0.1)
    assert found.grounded, found.unsupported


@pytest.mark.parametrize(
    ("text", "unsupported"),
    [
        ("A car stands on the grass.", "car"),
        ("Flames rise from the bin.", "flames"),
        ("The alarm is right: a fire burns.", "fire"),
        ("Thick smoke covers the room.", "smoke"),
        ("He holds a knife.", "knife"),
        ("A dog runs past.", "dog"),
        ("No person is hurt, but a truck burns.", "truck"),
        ("Five people stand together.", "5 people"),
        ("The person is still for 12 s.", "12"),
        ("It covers 40% of the picture.", "40%"),
        ("Blood is on the floor.", "blood"),
        ("차량이 불타고 있습니다.", "차량이"),
        ("남성이 칼을 들고 있습니다.", "칼을"),
        ("다섯 명이 싸우고 있습니다.", "5 person"),
        ("불길이 치솟고 있습니다.", "불길이"),
    ],
)
def test_what_nobody_saw_is_not(text: str, unsupported: str) -> None:
    found = check(said(text), candidate(still_s=3.21), {}, 0.1)
    assert not found.grounded
    assert unsupported in found.unsupported


def test_the_models_own_readings_support_it() -> None:
    text = "Flames and smoke rise; a person watches."
    nobody = candidate("fire", counts={})
    assert not check(said(text), nobody, {"fire": 0.4, "person": 0.4}, 0.3).grounded
    assert check(said(text), nobody, {"fire": 0.9, "person": 0.6}, 0.3).grounded


def test_a_real_event_implies_its_subject() -> None:
    fight = candidate("violence", counts={})
    assert check(said("People fight."), fight, {}, 0.8).grounded
    assert not check(said("People fight."), fight, {}, 0.2).grounded
    assert not check(said("People fight over a bag."), fight, {}, 0.8).grounded


def test_percentages_agree_with_shares() -> None:
    fire = candidate("fire", fire_pixels=0.0613)
    assert check(said("Flame colours cover 6.1 % of the picture."), fire, {}, 0.2).grounded
    assert not check(said("Flame colours cover 9.5 % of the picture."), fire, {}, 0.2).grounded


def test_the_advice_is_not_a_claim() -> None:
    assert check(said("A person stands."), candidate(), {}, 0.1).grounded


def test_every_field_that_claims_is_read() -> None:
    for field in ("title", "summary", "reason"):
        text = replace(said("Nothing."), **{field: "A truck"})  # type: ignore[arg-type]
        assert not check(text, candidate(), {}, 0.1).grounded
    assert not check(replace(said("Nothing."), observations=("A truck",)), candidate(), {}, 0.1).grounded


def test_the_name_of_the_zone_is_not_a_claim() -> None:
    text = said('Fall alarm in "car park 7": a person lies there.')
    assert check(text, replace(candidate(), zone="car park 7"), {}, 0.1).grounded
    assert not check(text, candidate(), {}, 0.1).grounded
