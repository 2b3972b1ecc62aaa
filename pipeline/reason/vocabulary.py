"""The words a report may use for things that somebody must have seen, in English and Korean."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import EventType


@dataclass(frozen=True, slots=True)
class Concept:
    """A thing a report can claim.

    Attributes:
        english: Words and phrases, lower case, singular and plural.
        korean: Words as they stand before a particle.
        labels: Detector labels that support it.
        attributes: Model readings that support it.
        facts: Measurements above 0 that support it.
        events: Event types that imply it when the model's score says the event is real.
    """

    english: tuple[str, ...]
    korean: tuple[str, ...]
    labels: frozenset[str]
    attributes: frozenset[str]
    facts: frozenset[str] = frozenset()
    events: frozenset[EventType] = frozenset()


_PEOPLE_EVENTS = frozenset(
    {EventType.FALL, EventType.VIOLENCE, EventType.INTRUSION, EventType.LOITERING, EventType.CROWDING}
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CONCEPTS: dict[str, Concept] = {
    "person": Concept(
        _words(
            "person persons people man men woman women child children boy boys girl girls someone somebody "
            "individual individuals pedestrian pedestrians crowd worker workers guard guards attacker "
            "attackers victim victims cyclist driver drivers"
        ),
        _words("사람 남성 여성 남자 여자 아이 어린이 인원 군중 보행자 행인 인물 명이 명의"),
        frozenset({"person", "people", "pedestrian", "face"}),
        frozenset(_words("person people person_down fight crowd lying pose violence fall")),
        frozenset(
            _words("person_count torso_angle_deg limb_speed people_distance people_overlap crowd_density")
        ),
        _PEOPLE_EVENTS,
    ),
    "vehicle": Concept(
        _words(
            "vehicle vehicles car cars truck trucks bus buses van vans taxi taxis motorbike motorbikes "
            "motorcycle motorcycles scooter scooters lorry bicycle bicycles"
        ),
        _words("차량 자동차 승용차 트럭 버스 오토바이 자전거 승합차 택시"),
        frozenset(_words("car truck bus motorcycle motorbike bicycle vehicle train")),
        frozenset({"crash", "vehicle", "traffic", "traffic_accident", "accident"}),
        frozenset({"vehicle_count", "vehicle_stop", "vehicle_overlap", "trajectory_break"}),
        frozenset({EventType.TRAFFIC_ACCIDENT}),
    ),
    "fire": Concept(
        _words("fire fires flame flames blaze burning"),
        _words("화재 불꽃 불길 화염 불이 불은 불을"),
        frozenset({"fire", "flame"}),
        frozenset({"fire"}),
        frozenset(),
        frozenset({EventType.FIRE}),
    ),
    "smoke": Concept(
        ("smoke", "fumes"),
        ("연기",),
        frozenset({"smoke"}),
        frozenset({"smoke"}),
        frozenset(),
        frozenset({EventType.SMOKE}),
    ),
    "weapon": Concept(
        _words("weapon weapons gun guns knife knives pistol pistols rifle rifles machete"),
        _words("무기 흉기 칼을 칼이 총기 권총 둔기"),
        frozenset({"knife", "gun", "weapon", "pistol", "rifle", "scissors", "baseball bat"}),
        frozenset({"weapon", "gun", "knife"}),
    ),
    "bag": Concept(
        _words("bag bags backpack backpacks suitcase suitcases parcel parcels package packages luggage"),
        _words("가방 배낭 짐이 소포 캐리어 여행가방"),
        frozenset({"backpack", "handbag", "suitcase", "bag"}),
        frozenset({"bag", "abandoned_object", "object"}),
        frozenset(),
        frozenset({EventType.ABANDONED_OBJECT}),
    ),
    "animal": Concept(
        _words("animal animals dog dogs cat cats bird birds horse horses deer"),
        _words("동물 강아지 고양이 개가 새가"),
        frozenset(_words("dog cat bird horse sheep cow bear deer animal")),
        frozenset({"animal", "dog", "cat"}),
    ),
    "blood": Concept(
        _words("blood bleeding injured wounded"), _words("피를 출혈 부상"), frozenset(), frozenset()
    ),
}

# A mention after or before one of these is a denial or a comparison, not a claim.
ENGLISH_BEFORE = frozenset(
    _words(
        "no not without never none nothing nobody neither nor isn't aren't wasn't cannot can't "
        "resembles resemble resembling like mistaken confused similar possible looks "
        "suspected suspects suspect"
    )
)
ENGLISH_AFTER = (
    *("not", "is absent", "is not", "are not", "was not", "were not", "cannot be", "can't be"),
    *("alarm", "alert", "detector", "trigger", "was reported by", "colour", "color"),
)
KOREAN_HARMLESS = ("불꽃색", "불꽃 색")
"""Compounds that name a colour, not the thing."""
KOREAN_AFTER = tuple(_words("없 않 아니 아닌 아님 아닙 경보 오인 처럼 의심 착각 비슷 유사"))

_SMALL = _words("two three four five six seven eight nine ten")
NUMBER_WORDS = {word: number for number, word in enumerate(_SMALL, start=2)}
KOREAN_NUMBERS = {
    word: number for number, word in enumerate(_words("한 두 세 네 다섯 여섯 일곱 여덟 아홉 열"), start=1)
}
