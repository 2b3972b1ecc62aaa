"""The same facts in Korean, by grammar: the English tower writes no Korean.

Particles follow the final consonant of the word before them (은/는, 이/가, 을/를, 으로/로); digits and Latin
letters take the particle of the way they are read aloud in Korean.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.embedded.report_facts import SEVERAL, Facts, Reading
from models.embedded.report_measures import Measure
from pipeline.types import EventType

_DIGIT_FINALS = "영일이삼사오육칠팔구"
_LETTER_FINALS = frozenset("lmnr")
_PAIRS: Mapping[str, tuple[str, str]] = {
    "은": ("은", "는"),
    "이": ("이", "가"),
    "을": ("을", "를"),
    "과": ("과", "와"),
    "으로": ("으로", "로"),
}


def final_consonant(word: str) -> str | None:
    """Final consonant sound of a word: "" for none, "ㄹ", or "other"; ``None`` when it cannot be known.

    >>> final_consonant("현관"), final_consonant("로비"), final_consonant("출입구 1")
    ('other', '', 'ㄹ')
    """
    word = word.rstrip(" \"')”’」]")
    if not word:
        return None
    last = word[-1]
    if last.isdigit() and last.isascii():
        last = _DIGIT_FINALS[int(last)]
    if "가" <= last <= "힣":
        index = (ord(last) - ord("가")) % 28
        return "" if index == 0 else "ㄹ" if index == 8 else "other"
    if last.isascii() and last.isalpha():
        if last.lower() == "l" or last.lower() == "r":
            return "ㄹ"
        return "other" if last.lower() in _LETTER_FINALS else ""
    return None


def with_particle(word: str, particle: str) -> str:
    """The word with 은, 이, 을, 과 or 으로 in the form its final consonant asks for.

    >>> with_particle("연기", "이"), with_particle("불꽃", "이"), with_particle("출구 1", "으로")
    ('연기가', '불꽃이', '출구 1로')
    """
    closed, open_ = _PAIRS[particle]
    final = final_consonant(word)
    if final is None:
        return f"{word}{closed}({open_})"
    if particle == "으로" and final == "ㄹ":
        return word + open_
    return word + (closed if final else open_)


_COUNTED = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")


def people(count: int) -> str:
    """``사람 두 명``; digits above ten."""
    if count < len(_COUNTED):
        return f"사람 {_COUNTED[count]} 명"
    return f"사람 {count}명"


_NAMES: Mapping[EventType, str] = {
    EventType.FALL: "쓰러짐",
    EventType.FIRE: "화재",
    EventType.SMOKE: "연기",
    EventType.VIOLENCE: "폭력",
    EventType.INTRUSION: "침입",
    EventType.LOITERING: "배회",
    EventType.CROWDING: "밀집",
    EventType.ABANDONED_OBJECT: "유기물",
    EventType.TRAFFIC_ACCIDENT: "교통사고",
    EventType.OTHER: "이상 상황",
}
_SEEN: Mapping[EventType, str] = {
    EventType.FALL: "사람이 바닥에 쓰러져 있습니다",
    EventType.FIRE: "불꽃이 보입니다",
    EventType.SMOKE: "연기가 보입니다",
    EventType.VIOLENCE: "사람들이 몸싸움을 하고 있습니다",
    EventType.INTRUSION: "감시 구역 안에 사람이 있습니다",
    EventType.LOITERING: "사람이 같은 곳에 계속 머물고 있습니다",
    EventType.CROWDING: "많은 사람이 빽빽하게 모여 있습니다",
    EventType.ABANDONED_OBJECT: "주인 없이 남겨진 물건이 있습니다",
    EventType.TRAFFIC_ACCIDENT: "차량이 충돌한 모습이 보입니다",
    EventType.OTHER: "평소와 다른 움직임이 보입니다",
}
_SIMILAR: Mapping[EventType, str] = {
    EventType.FALL: "자세가 쓰러진 사람과 비슷합니다",
    EventType.FIRE: "화면 일부가 화재처럼 보입니다",
    EventType.SMOKE: "화면 일부가 연기처럼 보입니다",
    EventType.VIOLENCE: "화면 속 모습이 몸싸움과 비슷합니다",
    EventType.INTRUSION: "감시 구역 안에 움직임이 있습니다",
    EventType.LOITERING: "무언가가 같은 곳에 계속 있습니다",
    EventType.CROWDING: "화면이 붐비는 것처럼 보입니다",
    EventType.TRAFFIC_ACCIDENT: "화면 속 모습이 차량 충돌과 비슷합니다",
}
_LIKELY: Mapping[EventType, str] = {
    EventType.FALL: "사람이 쓰러진 것으로 추정됩니다",
    EventType.FIRE: "화재가 난 것으로 추정됩니다",
    EventType.SMOKE: "연기가 나는 것으로 추정됩니다",
    EventType.VIOLENCE: "몸싸움이 벌어진 것으로 추정됩니다",
    EventType.INTRUSION: "감시 구역에 사람이 들어온 것으로 추정됩니다",
    EventType.LOITERING: "사람이 배회하는 것으로 추정됩니다",
    EventType.CROWDING: "인파가 밀집한 것으로 추정됩니다",
    EventType.ABANDONED_OBJECT: "물건이 버려진 것으로 추정됩니다",
    EventType.TRAFFIC_ACCIDENT: "차량이 충돌한 것으로 추정됩니다",
    EventType.OTHER: "평소와 다른 상황으로 추정됩니다",
}
_ARMED = "무기를 든 사람이 있는 것으로 의심됩니다"
_SUSPECTED: Mapping[EventType, str] = {
    EventType.FALL: "쓰러짐이 의심됩니다",
    EventType.FIRE: "화재가 의심됩니다",
    EventType.SMOKE: "연기 발생이 의심됩니다",
    EventType.VIOLENCE: "몸싸움이 의심됩니다",
    EventType.INTRUSION: "침입이 의심됩니다",
    EventType.LOITERING: "배회가 의심됩니다",
    EventType.CROWDING: "인파 밀집이 의심됩니다",
    EventType.ABANDONED_OBJECT: "버려진 물건이 의심됩니다",
    EventType.TRAFFIC_ACCIDENT: "차량 충돌이 의심됩니다",
    EventType.OTHER: "평소와 다른 움직임이 의심됩니다",
}
_UNSEEN: Mapping[EventType, str] = {
    EventType.FALL: "쓰러진 사람은 보이지 않습니다",
    EventType.FIRE: "불꽃은 보이지 않습니다",
    EventType.SMOKE: "화재로 인한 연기는 보이지 않습니다",
    EventType.VIOLENCE: "싸우는 사람은 보이지 않습니다",
    EventType.INTRUSION: "침입한 사람은 보이지 않습니다",
    EventType.LOITERING: "배회하는 사람은 보이지 않습니다",
    EventType.CROWDING: "위험할 만큼 사람이 모여 있지 않습니다",
    EventType.ABANDONED_OBJECT: "버려진 물건은 보이지 않습니다",
    EventType.TRAFFIC_ACCIDENT: "충돌한 차량은 보이지 않습니다",
    EventType.OTHER: "특별한 이상은 보이지 않습니다",
}
_ALSO: Mapping[str, str] = {
    "fire": "불꽃도 함께 보입니다",
    "smoke": "연기도 함께 보입니다",
    "fight": "몸싸움도 보입니다",
    "person_down": "바닥에 누운 사람도 보입니다",
    "crash": "충돌한 차량도 보입니다",
    "crowd": "많은 사람이 모여 있습니다",
    "weapon": "무기로 의심되는 물건이 보입니다",
}
_PERHAPS: Mapping[str, str] = {
    "fire": "불꽃도 있을 수 있습니다",
    "smoke": "연기도 있을 수 있습니다",
}
_NOTHING_ELSE = "그 밖에 인식된 것은 없습니다"
_ABOUT_PEOPLE = frozenset(
    {
        EventType.FALL,
        EventType.VIOLENCE,
        EventType.CROWDING,
        EventType.INTRUSION,
        EventType.LOITERING,
    }
)
_MEASURES: Mapping[str, str] = {
    "still_s": "움직임 없는 시간 {}초",
    "torso_angle_deg": "몸통 기울기 {}도",
    "descent": "빠른 하강",
    "fire_pixels": "화면의 {}%에 불꽃색",
    "fire_flicker": "밝은 영역의 {}%에서 깜박임",
    "smoke_area": "화면의 {}%에 뿌연 영역",
    "texture_loss": "배경 세부의 {}% 가려짐",
    "motion_area": "화면의 {}%에서 움직임",
    "flow_peak": "빠른 움직임",
    "limb_speed": "팔다리의 빠른 움직임",
    "dwell_s": "머문 시간 {}초",
    "crowd_density": "화면의 {}%를 차지한 사람",
    "vehicle_overlap": "차량 겹침 {}%",
    "vehicle_stop": "차량의 갑작스러운 감속",
}
_ACTIONS: Mapping[EventType, str] = {
    EventType.FALL: "즉시 사람을 보내 상태를 확인하고, 반응이 없으면 119에 신고하십시오.",
    EventType.FIRE: "119에 신고하고 주변 사람을 대피시키십시오.",
    EventType.SMOKE: "사람을 보내 원인을 찾고, 연기가 커지면 119에 신고하십시오.",
    EventType.VIOLENCE: "즉시 보안 요원을 보내고, 계속되면 112에 신고하십시오.",
    EventType.INTRUSION: "보안 요원을 보내 구역 안의 사람을 확인하십시오.",
    EventType.LOITERING: "계속 지켜보고, 보안 요원이 말을 걸게 하십시오.",
    EventType.CROWDING: "밀집도를 지켜보며 유입을 줄이고 출구를 더 여십시오.",
    EventType.ABANDONED_OBJECT: "주인을 찾고, 확인될 때까지 접근을 막으십시오.",
    EventType.TRAFFIC_ACCIDENT: "119와 112에 신고하고 뒤따르는 차량에 알리십시오.",
    EventType.OTHER: "보안 요원이 바로 확인하게 하십시오.",
}
_ACTION_ARMED = "112에 신고하고, 사람들이 다가가지 못하게 하십시오. 보호 장비 없이 사람을 보내지 마십시오."
_STATES: Mapping[Reading, str] = {
    Reading.REAL: "실제 상황으로 보입니다",
    Reading.LIKELY: "실제 상황일 가능성이 높습니다",
    Reading.UNCLEAR: "확실하지 않습니다",
    Reading.FALSE: "오경보로 보입니다",
    Reading.EXPECTED: "이 현장에서 예상된 상황입니다",
}


def measure_korean(measure: Measure) -> str:
    """A measurement as a noun phrase."""
    return _MEASURES[measure.name].format(measure.value)


def _main(facts: Facts) -> str:
    if facts.reading is Reading.FALSE:
        return _UNSEEN[facts.event_type]
    if facts.reading is Reading.UNCLEAR:
        return _SUSPECTED[facts.event_type]
    if facts.armed:
        return _ARMED
    if facts.reading is Reading.LIKELY:
        return _LIKELY[facts.told_as]
    certain = facts.main_seen and facts.reading is Reading.REAL
    if certain or facts.told_as not in _SIMILAR:
        return _SEEN[facts.told_as]
    return _SIMILAR[facts.told_as]


def _scene(facts: Facts) -> str:
    if facts.others_seen:
        other = facts.others_seen[0]
        return (_PERHAPS if other in facts.perhaps else _ALSO)[other]
    has_people, has_vehicles = "person" in facts.seen, "vehicle" in facts.seen
    if has_people and has_vehicles:
        return "화면에 사람과 차량이 있습니다"
    named = facts.main_seen and facts.reading is Reading.REAL and facts.told_as in _ABOUT_PEOPLE
    if has_people and named and facts.people < 2:
        return _NOTHING_ELSE
    if facts.people == 1:
        return f"화면에 {with_particle(people(facts.people), '이')} 있습니다"
    if facts.people:
        return "화면에 여러 사람이 있습니다" if facts.people >= SEVERAL else "화면에 사람들이 있습니다"
    if has_people:
        return "화면에 사람이 있습니다"
    if has_vehicles:
        return "화면에 차량이 있습니다"
    if "animal" in facts.seen:
        return "화면에 동물이 있습니다"
    return _NOTHING_ELSE


def _title(facts: Facts) -> str:
    name = _NAMES[facts.told_as]
    if facts.armed:
        return "무기 의심"
    if facts.reading is Reading.REAL:
        return name if facts.main_seen or facts.told_as not in _SIMILAR else f"{name} 의심"
    return {
        Reading.LIKELY: f"{name} 추정",
        Reading.UNCLEAR: f"{name} 의심",
        Reading.FALSE: f"{name} 아님",
        Reading.EXPECTED: f"{name} 의심, 현장에서 예상됨",
    }[facts.reading]


def _reason(facts: Facts) -> str:
    if facts.reading is Reading.EXPECTED:
        return "현장 설명에 이러한 장면이 예상된다고 되어 있습니다."
    if facts.armed:
        grounds = "화면에 무기로 의심되는 물건이 있습니다"
    elif facts.reading is Reading.LIKELY:
        grounds = "화면이 경보 내용을 대체로 뒷받침합니다"
    elif facts.reading is Reading.REAL:
        grounds = "화면에서 직접 확인됩니다" if facts.main_seen else "측정값이 이를 가리킵니다"
    elif facts.reading is Reading.UNCLEAR:
        grounds = "화면만으로는 확실하지 않습니다"
    else:
        grounds = "화면이 경보 내용을 뒷받침하지 않습니다"
    measured = ", ".join(measure_korean(measure) for measure in facts.measures)
    return f"{grounds}. 측정: {measured}." if measured else f"{grounds}."


def _observed(facts: Facts, main: str, scene: str) -> list[str]:
    if facts.reading is not Reading.UNCLEAR:
        return [f"{main}.", f"{scene}."]
    return ["판단할 만한 것이 인식되지 않았습니다."] if scene == _NOTHING_ELSE else [f"{scene}."]


def write(facts: Facts) -> dict[str, object]:
    """The whole report in Korean, by the field names of a report."""
    main, scene, name = _main(facts), _scene(facts), _NAMES[facts.event_type]
    where = f" '{facts.zone}' 구역" if facts.zone else ""
    length = f", {facts.duration}초" if facts.duration else ""
    if facts.reading is Reading.UNCLEAR:
        narrative = f"{main}. 다만 화면만으로는 실제인지 확실하지 않습니다. {scene}."
    elif facts.reading is Reading.EXPECTED:
        narrative = f"{main}. 현장 설명에 따르면 예상된 상황입니다. {scene}."
    else:
        told = with_particle(_NAMES[facts.told_as], "은")
        narrative = f"{main}. {scene}. {told} {_STATES[facts.reading]}."
        if facts.reading is Reading.FALSE:
            ending = (
                "화면을 확인해 볼 필요가 있습니다"
                if facts.others_seen
                else f"이 경보는 {_STATES[facts.reading]}"
            )
            narrative = f"{main}. {scene}. {ending}."
    now, state = facts.called and facts.reading is Reading.UNCLEAR, _STATES[facts.reading]
    check = "조치하기 전에 화면과 실시간 영상을 확인하십시오."
    if now:
        check = f"지금 실시간 영상을 확인하십시오. 실제 상황이면 이렇게 하십시오: {_ACTIONS[facts.told_as]}"
    actions = {
        Reading.REAL: _ACTIONS[facts.told_as],
        Reading.LIKELY: _ACTIONS[facts.told_as],
        Reading.UNCLEAR: check,
        Reading.FALSE: "조치가 필요하지 않습니다.",
        Reading.EXPECTED: "예상된 동안에는 조치하지 말고 계속 지켜보십시오.",
    }
    return {
        "observations": _observed(facts, main, scene),
        "title": _title(facts),
        "summary": f"{name} 경보{where}{length}: {state}.{' 지금 확인하십시오.' if now else ''}",
        "narrative": narrative,
        "reason": _reason(facts),
        "recommended_action": _ACTION_ARMED if facts.armed else actions[facts.reading],
    }
