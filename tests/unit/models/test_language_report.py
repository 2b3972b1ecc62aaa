"""Facts, wordings and Korean: nothing is said that is not a fact, and both languages say the same."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from models.base import Inquiry, Score
from models.embedded import korean, phrases
from models.embedded.decoding import Automaton, ReportWriter, variations
from models.embedded.korean import final_consonant, people, with_particle
from models.embedded.report import action_english, summary_english
from models.embedded.report_facts import EXPECTED, MAIN_ATTRIBUTE, Facts, Reading, gather, reading_of
from models.embedded.report_measures import Measure, measure_english, measures_of, shown
from pipeline.reason.criteria import criteria
from pipeline.types import Action, Candidate, EventType, Evidence, JsonScalar, TriggerScore, VerdictState


def inquiry(event=EventType.FALL, facts=None, counts=None, **more):
    return Inquiry(
        (), (), event, Evidence(counts=counts or {}, facts=facts or {}), (), (), duration_s=4.0, **more
    )


def some_facts():
    for event in EventType:
        for reading in Reading:
            main = MAIN_ATTRIBUTE.get(event)
            for seen in (
                (),
                (main,) if main else (),
                ("smoke", "person", "vehicle"),
                ("animal",),
                ("weapon", "person"),
            ):
                if reading is Reading.FALSE and main in seen and main != "person":
                    continue
                yield Facts(
                    event,
                    reading,
                    seen=tuple(dict.fromkeys(seen)),
                    people=2 if "person" in seen else 0,
                    measures=(Measure("motion_area", "5.2"), Measure("dwell_s", "12")),
                    duration="4.2",
                    zone="gate 1",
                )


@pytest.mark.parametrize("event", list(EventType))
def test_every_type_and_reading_has_words_in_both_languages(event):
    for facts in some_facts():
        if facts.event_type is not event:
            continue
        english, translated = phrases.plain(facts), korean.write(facts)
        assert all(english[name] for name in phrases.FIELDS)
        assert all(text.endswith(".") for name, text in english.items() if name != "title")
        assert all(translated.values())
        hangul = (translated["title"], translated["narrative"], translated["reason"])
        assert all(re.search("[가-힣]", str(text)) for text in hangul)


def test_both_languages_state_the_same_numbers():
    for facts in some_facts():
        english = phrases.plain(facts)["reason"]
        translated = str(korean.write(facts)["reason"])
        if facts.reading is Reading.EXPECTED:
            continue
        assert sorted(re.findall(r"\d+(?:\.\d+)?", english)) == sorted(
            re.findall(r"\d+(?:\.\d+)?", translated)
        )


def test_a_false_alarm_never_states_what_the_alarm_claims():
    score = Score(-4.0, {"person_down": 0.9, "person": 0.9})
    facts = gather(inquiry(), score)
    assert facts.reading is Reading.FALSE
    assert "person_down" not in facts.seen
    assert (
        "lying" not in phrases.plain(facts)["observation"] or "Nobody" in phrases.plain(facts)["observation"]
    )


def test_reading_follows_score_and_site():
    assert reading_of(Score(3.0)) is Reading.REAL
    assert reading_of(Score(0.0)) is Reading.UNCLEAR
    assert reading_of(Score(-3.0)) is Reading.FALSE
    assert reading_of(Score(-3.0, {EXPECTED: 0.8})) is Reading.EXPECTED


@pytest.mark.parametrize(
    ("probability", "state", "reading"),
    [
        (0.8, VerdictState.CONFIRMED, Reading.REAL),
        (0.79, VerdictState.CONFIRMED, Reading.LIKELY),
        (0.56, VerdictState.CONFIRMED, Reading.LIKELY),
        (0.54, VerdictState.CONFIRMED, Reading.UNCLEAR),
        (0.2, VerdictState.CONFIRMED, Reading.UNCLEAR),
        (0.7, VerdictState.UNCERTAIN, Reading.UNCLEAR),
        (0.1, VerdictState.REJECTED, Reading.FALSE),
    ],
)
def test_words_follow_the_decision_and_not_the_raw_score(
    probability: float, state: VerdictState, reading: Reading
) -> None:
    for log_odds in (-3.0, 3.0):
        assert reading_of(Score(log_odds, probability=probability, state=state)) is reading


def test_smoke_beside_a_false_fire_alarm_is_not_called_no_support() -> None:
    facts = gather(inquiry(EventType.FIRE), Score(-4.0, {"fire": 0.1, "smoke": 0.95}))
    for pick in (lambda options: options[0], lambda options: options[-1]):
        assert "Nothing in the pictures supports" not in phrases.write(facts, pick)["reason"]


def test_measures_skip_what_is_not_a_number():
    evidence = Evidence(facts={"still_s": float("nan"), "torso_angle_deg": True, "descent": 1.24})
    assert measures_of(EventType.FALL, evidence) == (Measure("descent", "1.2"),)


def test_speeds_are_told_in_words() -> None:
    """Nobody has a feeling for body heights a second; limbs of people who walk are not called fast."""
    fast, walking = (Evidence(facts={"limb_speed": speed}) for speed in (2.4, 0.5))
    (told,) = measures_of(EventType.VIOLENCE, fast)
    assert measure_english(told) == "fast movement of arms or legs"
    assert korean.measure_korean(told) == "팔다리의 빠른 움직임"
    assert measures_of(EventType.VIOLENCE, walking) == ()


@pytest.mark.parametrize("value", [0.58, 0.9, 1.7, 2.6])
@pytest.mark.parametrize(
    ("event", "fact", "check"),
    [
        (EventType.FALL, "descent", "drops fast"),
        (EventType.VIOLENCE, "limb_speed", "limbs move fast"),
        (EventType.TRAFFIC_ACCIDENT, "vehicle_stop", "a vehicle stops hard"),
    ],
)
def test_reports_and_checks_mean_the_same_by_fast(
    event: EventType, fact: str, check: str, value: float
) -> None:
    """Given a speed, then a report gives it as grounds exactly where the check below it is passed."""
    evidence = Evidence(facts={fact: value})
    candidate = Candidate("c", "camera", "clip", event, 0.0, 0.0, TriggerScore("t", 0.5), evidence, ())
    (passed,) = (one.passed for one in criteria(candidate, {}, None) if one.name == check)
    assert passed == (measures_of(event, evidence) != ())


def test_an_alarm_borne_out_by_a_weapon_is_not_told_as_a_fight() -> None:
    score = Score(1.0, {"weapon": 0.9, "fight": 0.2}, probability=0.7, state=VerdictState.CONFIRMED)
    facts = gather(inquiry(EventType.VIOLENCE), score)
    assert facts.armed
    for wording in variations(facts, 48):
        told = " ".join(wording.values()).lower()
        assert "fight" not in told and ("weapon" in told or "armed" in told)
        assert wording["second"] != wording["observation"]
    assert "무기" in str(korean.write(facts)["title"]) and "몸싸움" not in str(
        korean.write(facts)["narrative"]
    )
    assert "police" in action_english(facts)
    assert "fight" not in summary_english(facts).lower()
    assert facts.others_seen == ()
    fight = gather(inquiry(EventType.VIOLENCE), replace(score, attributes={"weapon": 0.9, "fight": 0.9}))
    assert not fight.armed and "fight" in phrases.plain(fight)["title"].lower()


def test_a_smoke_alarm_borne_out_by_flames_is_told_as_a_fire() -> None:
    """Given flames and no smoke, when a smoke alarm is probable, then the report claims no smoke."""
    score = Score(1.0, {"smoke": 0.2, "fire": 0.83}, probability=0.7, state=VerdictState.CONFIRMED)
    facts = gather(replace(inquiry(EventType.SMOKE), evidence=Evidence(facts={"smoke_area": 0.2})), score)
    for wording in variations(facts, 48):
        told = " ".join(wording.values()).lower()
        assert "smoke" not in told and "haze" not in told
        assert any(word in told for word in ("fire", "flames", "burning"))
        assert wording["second"] != wording["observation"]
    told = korean.write(facts)
    assert "연기" not in f"{told['title']} {told['narrative']}" and "화재" in str(told["title"])
    assert action_english(facts).startswith("Call the fire service")
    assert summary_english(facts).startswith("Smoke alarm")
    smoking = gather(inquiry(EventType.SMOKE), replace(score, attributes={"smoke": 0.9, "fire": 0.83}))
    assert "smoke" in phrases.plain(smoking)["title"].lower() and smoking.others_seen == ("fire",)
    surer = gather(inquiry(EventType.SMOKE), replace(score, probability=0.97))
    assert "looks like smoke" in phrases.plain(surer)["narrative"].replace("look like", "looks like")
    assert surer.others_seen == ("fire",)
    unclear = gather(inquiry(EventType.SMOKE), replace(score, state=VerdictState.UNCERTAIN))
    assert "smoke" in phrases.plain(unclear)["title"].lower(), "an unclear alarm is told as what it alarms of"


STILL = {"still_image": True}


@pytest.mark.parametrize(
    ("event", "attributes", "facts", "told"),
    [
        (EventType.TRAFFIC_ACCIDENT, {"crash": 0.3}, STILL, Reading.UNCLEAR),
        (EventType.TRAFFIC_ACCIDENT, {"crash": 0.6}, STILL, Reading.LIKELY),
        (EventType.TRAFFIC_ACCIDENT, {"crash": 0.9}, {"flow_peak": 0.3}, Reading.UNCLEAR),
        (EventType.TRAFFIC_ACCIDENT, {"crash": 0.9}, {"vehicle_stop": 2.0}, Reading.LIKELY),
        (EventType.TRAFFIC_ACCIDENT, {"crash": 0.6}, {"reported": True}, Reading.LIKELY),
        (EventType.SMOKE, {"smoke": 0.3, "fire": 0.75}, {}, Reading.UNCLEAR),
        (EventType.SMOKE, {"smoke": 0.3, "fire": 0.85}, {}, Reading.LIKELY),
        (EventType.VIOLENCE, {"fight": 0.3, "weapon": 0.9}, {}, Reading.LIKELY),
        (EventType.ABANDONED_OBJECT, {}, {}, Reading.LIKELY),
    ],
)
def test_probable_is_only_what_was_seen_or_measured_too(
    event: EventType, attributes: dict[str, float], facts: dict[str, JsonScalar], told: Reading
) -> None:
    """Given a probable alarm, then it is told as suspected where nothing that makes it real was found."""
    score = Score(1.0, attributes, probability=0.7, state=VerdictState.CONFIRMED)
    asked = replace(inquiry(event), evidence=Evidence(facts=facts))
    assert gather(asked, score).reading is told
    doubted = event is EventType.TRAFFIC_ACCIDENT and told is Reading.UNCLEAR
    sure = gather(asked, replace(score, probability=0.9)).reading
    assert sure is (Reading.UNCLEAR if doubted else Reading.REAL)


@pytest.mark.parametrize("event", list(EventType))
def test_who_is_called_for_what_is_only_suspected_is_told_to_look_now(event: EventType) -> None:
    """Given an unclear alarm, When a person is called, Then both languages say: look now."""
    score = Score(0.1, {}, probability=0.54, state=VerdictState.CONFIRMED, action=Action.ESCALATE)
    called = gather(inquiry(event), score)
    waiting = gather(inquiry(event), replace(score, action=Action.REVIEW))
    assert called.reading is waiting.reading is Reading.UNCLEAR
    assert "now" in summary_english(called) and "now" not in summary_english(waiting)
    real = action_english(replace(called, reading=Reading.REAL))
    action = action_english(called)
    assert action.startswith("Look at the live picture now") and action.lower().endswith(real.lower())
    assert "before acting" in action_english(waiting)
    korean_real = str(korean.write(replace(called, reading=Reading.REAL))["recommended_action"])
    assert str(korean.write(called)["recommended_action"]).endswith(korean_real)
    assert "지금" in str(korean.write(called)["summary"]) and "지금" not in str(
        korean.write(waiting)["summary"]
    )


def test_what_an_unclear_alarm_suspects_is_no_observation() -> None:
    """The page lists observations under "Seen in the pictures"."""
    facts = Facts(EventType.VIOLENCE, Reading.UNCLEAR, seen=("person",), people=2)
    said = phrases.plain(facts)
    assert phrases.observed(facts, said["observation"], said["second"]) == [said["second"]]
    assert korean.write(facts)["observations"] == ["화면에 사람들이 있습니다."]
    empty = replace(facts, seen=(), people=0)
    said = phrases.plain(empty)
    for seen in (
        phrases.observed(empty, said["observation"], said["second"]),
        korean.write(empty)["observations"],
    ):
        assert len(seen) == 1
        assert "else" not in seen[0] and "그 밖" not in seen[0]
    certain = replace(facts, reading=Reading.REAL)
    assert len(phrases.observed(certain, "a", "b")) == len(korean.write(certain)["observations"]) == 2


def test_what_is_likely_is_called_probable() -> None:
    for event in EventType:
        facts = Facts(event, Reading.LIKELY)
        assert all("probab" in phrases.plain(facts)[name].lower() for name in ("observation", "title"))
        assert "추정" in str(korean.write(facts)["title"])


@pytest.mark.parametrize(
    ("value", "text"), [(0.4137, "0.41"), (6.24, "6.2"), (78.3, "78"), (3.0, "3"), (0.0, "0"), (120.4, "120")]
)
def test_numbers_are_shown_short(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("word", "particle", "expected"),
    [
        ("연기", "이", "연기가"),
        ("불꽃", "이", "불꽃이"),
        ("화재", "은", "화재는"),
        ("침입", "은", "침입은"),
        ("차량", "을", "차량을"),
        ("출구 1", "으로", "출구 1로"),
        ("출구 3", "으로", "출구 3으로"),
        ("로비", "과", "로비와"),
        ("Hall", "으로", "Hall로"),
        ("Room", "은", "Room은"),
        ("ATM 2", "이", "ATM 2가"),
        ("…", "을", "…을(를)"),
    ],
)
def test_particles_follow_the_final_consonant(word, particle, expected):
    assert with_particle(word, particle) == expected


def test_final_consonants_and_counters():
    assert final_consonant("현관") == "other"
    assert final_consonant("로비") == ""
    assert final_consonant("서울") == "ㄹ"
    assert people(1) == "사람 한 명"
    assert people(10) == "사람 열 명"
    assert people(12) == "사람 12명"


class ToyTower:
    """Words as tokens, and logits that like whatever token number is given; no weights."""

    def __init__(self, liking=0):
        self.words, self.liking, self.read = [], liking, 0

    def ids(self, text):
        ids = []
        for word in re.findall(r"\s*\S+|\s+", text):
            if word not in self.words:
                self.words.append(word)
            ids.append(self.words.index(word))
        return ids

    plain_ids = ids

    def text(self, ids):
        return "".join(self.words[index] for index in ids)

    def embed(self, ids):
        self.read += len(ids)
        return np.zeros((len(ids), 4), np.float32)

    def extend(self, embeds, among):
        assert len(embeds)
        liked = np.random.default_rng([self.liking, self.read]).normal(size=5000)
        return liked[list(among)].astype(np.float32)


@pytest.mark.parametrize("liking", range(6))
def test_whatever_the_tower_likes_the_report_stays_within_the_facts(liking):
    for facts in some_facts():
        tower = ToyTower(liking)
        written = ReportWriter(tower).write(facts, tower.embed([0]))
        allowed = " ".join(" ".join(wording.values()) for wording in variations(facts, 48))
        for name in phrases.FIELDS:
            text = written.fields[name]
            assert text
            assert set(re.findall(r"[\w.%]+", text)) <= set(re.findall(r"[\w.%]+", allowed))
            if name != "title":
                assert text.endswith(".")
        words = written.fields["narrative"].split()
        runs = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
        assert len(runs) == len(set(runs))
        assert written.fields["observation"] != written.fields["second"]


def test_the_tower_chooses_among_wordings():
    facts = Facts(EventType.FIRE, Reading.REAL, seen=("fire",), measures=(Measure("fire_pixels", "12"),))
    said = set()
    for liking in range(12):
        tower = ToyTower(liking)
        written = ReportWriter(tower).write(facts, tower.embed([0]))
        said.add(written.fields["narrative"])
        assert written.chosen > 3
    assert len(said) > 3


def test_automaton_joins_only_what_some_wording_joins():
    automaton = Automaton([[1, 2, 3, 9], [1, 4, 3, 9]])
    assert automaton.after([]) == [1]
    assert automaton.after([1]) == [2, 4]
    assert automaton.after([1, 2]) == [3]
    assert automaton.after([5]) == []


@pytest.mark.parametrize("event", list(EventType))
def test_doubt_is_told_as_what_the_alarm_suspects(event):
    """Given a score that leaves doubt, When it is worded, Then only the alarm is quoted, whatever is seen."""
    main = MAIN_ATTRIBUTE.get(event, "person")
    for seen in ((), ("person",), (main,)):
        for wording in variations(Facts(event, Reading.UNCLEAR, seen=seen), 48):
            assert re.search(r"suspect", wording["observation"])
            assert "looks like" not in wording["narrative"]
        assert "의심" in str(korean.write(Facts(event, Reading.UNCLEAR, seen=seen))["narrative"])


@pytest.mark.parametrize("event", list(EventType))
def test_absence_is_told_of_what_was_recognised_not_of_the_scene(event):
    """Given a false alarm, When it is worded, Then no sentence vouches for the rest of the picture."""
    for seen in ((), ("person",), ("vehicle",)):
        for wording in variations(Facts(event, Reading.FALSE, seen=seen), 48):
            said = " ".join(wording.values())
            assert not re.search(r"ordinary|stands out|calls for action", said)


def test_a_person_is_named_when_an_intrusion_alarm_is_in_doubt():
    """Given one person and an unclear intrusion, When it is worded, Then the person is mentioned."""
    facts = Facts(EventType.INTRUSION, Reading.UNCLEAR, seen=("person",), people=1)
    assert "ne person" in phrases.plain(facts)["narrative"]
    assert "사람 한 명" in str(korean.write(facts)["narrative"])


def test_an_incident_beside_the_alarm_is_never_left_out():
    """Given flames beside a smoke alarm, When it is worded, Then every narrative tells of the flames."""
    facts = gather(inquiry(EventType.SMOKE), Score(5.0, {"smoke": 0.4, "fire": 0.97}))
    for wording in variations(facts, 48):
        assert "lames" in wording["narrative"]


@pytest.mark.parametrize(
    ("detected", "measured", "told"), [(1, 2, 0), (2, 2, 2), (2, 0, 0), (0, 3, 0), (3, 4, 2), (5, 9, 5)]
)
def test_people_are_counted_only_where_the_counts_agree(detected, measured, told):
    """Given two counts of people, When one is missing or below two, Then only that somebody is there."""
    facts = gather(inquiry(EventType.FALL, {"person_count": measured}, {"person": detected}), Score(0.0))
    assert facts.people == told
    assert "person" in facts.seen


def test_a_vehicle_no_detector_found_needs_a_sure_look():
    """Given no detection, When the model half sees a vehicle, Then it is not told; when it is sure, it is."""
    assert "vehicle" not in gather(inquiry(), Score(0.0, {"vehicle": 0.55})).seen
    assert "vehicle" in gather(inquiry(), Score(0.0, {"vehicle": 0.97})).seen


@pytest.mark.parametrize(("label", "attribute"), [("person", "person"), ("car", "vehicle")])
def test_what_a_detector_found_is_told_when_the_eyes_agree(label, attribute):
    """Given a detection, When the eyes see nothing of it, Then it is not told; when they half do, it is."""
    for seen, told in ((0.1, False), (0.6, True)):
        facts = gather(inquiry(EventType.FIRE, {}, {label: 1}), Score(-4.0, {attribute: seen}))
        assert (attribute in facts.seen) is told


def test_smoke_is_told_beside_a_fire_alarm_and_a_crash_only_by_its_own():
    """Given half-sure smoke and a sure crash, When a fire alarm is worded, Then only the smoke is told."""
    facts = gather(inquiry(EventType.FIRE), Score(-4.0, {"fire": 0.1, "smoke": 0.6, "crash": 0.99}))
    assert facts.others_seen == ("smoke",)
    unsure = gather(inquiry(EventType.SMOKE), Score(0.8, {"smoke": 0.7, "fire": 0.6}))
    assert unsure.others_seen == (), "a hand over the lens was told to burn"


def test_half_sure_smoke_beside_a_fire_alarm_is_told_as_such():
    """Given smoke at 60 % and at 90 %, When a fire alarm is worded, Then only the latter is told plainly."""
    for seen, plainly in ((0.6, False), (0.9, True)):
        facts = gather(inquiry(EventType.FIRE), Score(4.0, {"fire": 0.9, "smoke": seen}))
        assert (facts.perhaps == ()) is plainly
        for wording in variations(facts, 16):
            assert ("may be" in wording["second"]) is not plainly and "moke" in wording["second"]
        assert ("있을 수 있습니다" in str(korean.write(facts)["narrative"])) is not plainly
    beside_smoke = gather(inquiry(EventType.SMOKE), Score(4.0, {"smoke": 0.9, "fire": 0.75}))
    assert "may be" in phrases.plain(beside_smoke)["second"]


@pytest.mark.parametrize("event", [EventType.FALL, EventType.VIOLENCE])
def test_a_person_is_not_claimed_where_detectors_found_an_animal(event):
    """Given a sure verdict, When the detectors found a cat and nobody, Then the alarm is only suspected."""
    sure = Score(5.0, {"person_down": 0.97, "fight": 0.97, "animal": 0.4})
    cat = gather(inquiry(event, {}, {"cat": 2}), sure)
    assert cat.reading is Reading.UNCLEAR and cat.seen[-1:] == ("animal",)
    assert not {"fight", "person_down"} & set(cat.seen)
    told = phrases.plain(cat)
    assert "suspected" in told["narrative"] and "animal is in view" in told["narrative"]
    assert "동물이 있습니다" in str(korean.write(cat)["narrative"])
    assert gather(inquiry(event, {}, {"cat": 2, "person": 1}), sure).reading is Reading.REAL
    assert gather(inquiry(event, {"person_count": 1}, {"cat": 2}), sure).reading is Reading.REAL
    # Whom no detector found may lie there all the same.
    assert gather(inquiry(event, {}, {}), sure).reading is Reading.REAL


def test_a_crowd_is_claimed_only_where_somebody_was_found():
    """Given a hall full of furniture, When no detector found a person, Then the crowd is only suspected."""
    sure = Score(5.0, {"crowd": 0.97, "person": 0.6})
    empty, busy = ({"person_count": count, "crowd_density": 0.0} for count in (0, 4))
    found = gather(inquiry(EventType.CROWDING, empty, {}), sure)
    assert found.reading is Reading.UNCLEAR and "crowd" not in found.seen
    counted = gather(inquiry(EventType.CROWDING, busy, {"person": 4}), sure)
    assert counted.reading is Reading.REAL


def test_an_intruder_is_claimed_only_where_one_was_found():
    """Given something in the zone, When no detector found a person, Then the intrusion is only suspected."""
    sure = Score(5.0, {"person": 0.97})
    assert gather(inquiry(EventType.INTRUSION, {}, {"car": 1}), sure).reading is Reading.UNCLEAR
    logo = gather(inquiry(EventType.INTRUSION, {}, {}), Score(5.0, {"person": 0.8}))
    assert "person" not in logo.seen, "a logo was told to be somebody"
    assert gather(inquiry(EventType.INTRUSION, {}, {"person": 1}), sure).reading is Reading.REAL
    told = gather(inquiry(EventType.INTRUSION, {"reported": True}, {}), sure)
    assert told.reading is Reading.REAL, "another detector saw somebody"
