"""The decision head: any subset of views, every event type, evidence that helps or is missing."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from models.embedded.heads import HEADS_FILE, DecisionHead
from models.embedded.heads_evidence import AdditiveModel, evidence_numbers
from models.embedded.heads_terms import LIMIT, either, pool_stills
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionFeatures
from models.embedded.vision_motion import MOTION_STATISTICS
from pipeline.errors import ModelMissing
from pipeline.types import EventType, Evidence, KeyFrame, Moment, SeenObject, View


def key_frame(view: View, t_s: float = 0.0) -> KeyFrame:
    return KeyFrame("0" * 64, view, Moment.PEAK, t_s, 640, 360)


def features(views: list[View], **logits: float) -> VisionFeatures:
    """Features whose every view has the given attribute logits, -3 for the others."""
    count = len(views)
    table = np.full((count, len(ATTRIBUTES)), -3.0, np.float32)
    for name, value in logits.items():
        table[:, ATTRIBUTES.index(name)] = value
    motion = np.full((count, len(MOTION_STATISTICS)), np.nan, np.float32)
    motion[[view is View.MOTION for view in views]] = 0.1
    return VisionFeatures(
        np.zeros((count, 9, 1280), np.float32), np.zeros((count, 1280), np.float32), table, motion
    )


@pytest.fixture(scope="module")
def head() -> DecisionHead:
    return DecisionHead()


ATTRIBUTE_OF = {
    EventType.FIRE: "fire",
    EventType.SMOKE: "smoke",
    EventType.FALL: "person_down",
    EventType.VIOLENCE: "fight",
    EventType.CROWDING: "crowd",
    EventType.INTRUSION: "person",
}


@pytest.mark.parametrize("event_type", list(EventType))
@pytest.mark.parametrize(
    "views",
    [
        [],
        [View.FULL],
        [View.REGION],
        [View.MOTION],
        [View.FULL, View.REGION, View.MOTION] * 4,
    ],
)
def test_every_type_takes_any_views(head, event_type, views):
    frames = [key_frame(view, index // 3) for index, view in enumerate(views)]
    odds, attributes = head.log_odds(event_type, features(views), frames, Evidence())
    assert math.isfinite(odds) and abs(odds) <= LIMIT
    assert all(0.0 <= value <= 1.0 for value in attributes.values())
    assert set(attributes) <= set(ATTRIBUTES)


@pytest.mark.parametrize(("event_type", "attribute"), ATTRIBUTE_OF.items())
def test_seeing_the_event_speaks_for_it(head, event_type, attribute):
    views = [View.FULL, View.REGION]
    frames = [key_frame(view) for view in views]
    low, _ = head.log_odds(event_type, features(views, **{attribute: -4.0}), frames, Evidence())
    high, seen = head.log_odds(event_type, features(views, **{attribute: 4.0}), frames, Evidence())
    assert high > low + 0.5
    assert seen[attribute] > 0.9


def test_a_weapon_is_enough_for_a_violence_alarm(head):
    """Given a picture in which nobody fights, when somebody is armed, then the alarm is real all the same."""
    views = [View.FULL]
    frames = [key_frame(view) for view in views]

    def odds(weapon: float | None) -> float:
        seen = features(views)
        return head.testify(EventType.VIOLENCE, seen, frames, Evidence(), also_odds=weapon).log_odds

    assert odds(-9.0) < -1 and odds(9.0) > 0.5
    # Where nobody could look for a weapon, that is no even chance of one.
    assert odds(None) < -1


@pytest.mark.parametrize(("one", "other"), [(0.0, 0.0), (-3.0, 2.0), (8.0, -8.0), (-8.0, -8.0)])
def test_either_of_two_is_the_noisy_or(one, other):
    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    neither = (1 - sigmoid(one)) * (1 - sigmoid(other))
    assert sigmoid(either(one, other)) == pytest.approx(1 - neither)
    assert either(one, other) == pytest.approx(either(other, one))


def test_motion_speaks_for_violence(head):
    views = [View.FULL, View.MOTION]
    frames = [key_frame(view) for view in views]
    calm, wild = features(views, fight=0.0), features(views, fight=0.0)
    calm.logits[1, ATTRIBUTES.index("fight")] = -4.0
    wild.logits[1, ATTRIBUTES.index("fight")] = 4.0
    testify = [head.log_odds(EventType.VIOLENCE, seen, frames, Evidence())[0] for seen in (calm, wild)]
    assert testify[1] > testify[0] + 0.5


@pytest.mark.parametrize("event_type", [EventType.ABANDONED_OBJECT, EventType.OTHER])
def test_types_nobody_taught_stay_neutral(head, event_type):
    odds, _ = head.log_odds(event_type, features([View.FULL], fire=9.0), [key_frame(View.FULL)], Evidence())
    assert odds == 0.0


def test_a_lying_person_speaks_for_a_fall(head):
    views, frames = [View.FULL], [key_frame(View.FULL)]

    def odds(box, angle):
        evidence = Evidence(
            objects=(SeenObject("person", 0.8, box, 0.0),),
            facts={"torso_angle_deg": angle, "pose_score": 0.6},
        )
        return head.log_odds(EventType.FALL, features(views, person_down=0.0), frames, evidence)[0]

    assert odds((0.3, 0.7, 0.6, 0.9), 85.0) > odds((0.45, 0.2, 0.55, 0.9), 5.0)


def test_facts_that_are_no_numbers_are_ignored(head):
    evidence = Evidence(facts={"torso_angle_deg": "steep", "box_aspect": None, "pose_score": math.nan})
    odds, _ = head.log_odds(EventType.FALL, features([View.FULL]), [key_frame(View.FULL)], evidence)
    assert math.isfinite(odds)


def test_views_and_frames_must_match(head):
    with pytest.raises(ValueError, match="2 views for 1 key frames"):
        head.log_odds(EventType.FIRE, features([View.FULL] * 2), [key_frame(View.FULL)], Evidence())


def test_pooling_takes_what_two_moments_agree_on():
    frames = [key_frame(View.FULL, t) for t in (0.0, 1.0, 2.0, 3.0)]
    assert pool_stills(np.float32([1, 5, 3, -9]), frames, 0.5) == 3.0
    assert pool_stills(np.float32([1, 5, 3, -9]), frames, 0.5, told=True) == 4.0
    assert pool_stills(np.float32([1, 5]), frames[:2], 0.5) == 3.0
    assert pool_stills(np.float32([1]), frames[:1], 0.5) == 1.0
    assert pool_stills(np.float32([]), [], 0.5) is None


def test_pooling_mixes_the_views_of_one_moment():
    frames = [key_frame(View.FULL), key_frame(View.REGION), key_frame(View.MOTION)]
    assert pool_stills(np.float32([0.0, 4.0, 100.0]), frames, 0.25) == 1.0
    assert pool_stills(np.float32([4.0]), frames[1:2], 0.25) == 4.0


def test_missing_measurements_add_nothing():
    model = AdditiveModel({"a": np.float32([1, 2])}, {"a": np.float32([-1, 0.5, 2])})
    assert model.log_odds({}) == 0.0
    assert model.log_odds({"a": math.nan}) == 0.0
    assert [model.log_odds({"a": value}) for value in (0.0, 1.5, 9.0)] == [-1.0, 0.5, 2.0]


def test_only_what_was_measured_is_evidence():
    """Given another detector's alarm without measurements, then nothing is said of poses; a look says it."""
    dog = SeenObject("dog", 0.7, (0.0, 0.0, 0.5, 0.5), 0.0)
    told = evidence_numbers(Evidence(objects=(dog,)))
    assert math.isnan(told["pose_seen"]) and math.isnan(told["torso_angle_deg"])
    assert (told["animal_score"], told["person_score"]) == (0.7, 0.0)
    assert evidence_numbers(Evidence(facts={"person_count": 0}))["pose_seen"] == 0.0
    facts = {"person_count": 1, "torso_angle_deg": 85, "head_below_hip": True}
    lying = evidence_numbers(Evidence(facts=facts))
    assert (lying["pose_seen"], lying["torso_angle_deg"], lying["head_below_hip"]) == (1.0, 85.0, 1.0)


def test_lying_speaks_for_a_fall_and_standing_against_it():
    """Given the heads that ship, then each bin of their evidence means what it was fitted to mean."""
    head = DecisionHead()._types[EventType.FALL]
    evidence, centre = head.evidence, head.terms["evidence"]["centre"]
    assert evidence is not None
    for name in ("head_below_hip", "pose_seen"):
        assert [0 < edge < 1 for edge in evidence.edges[name]] == [True], name
    stance = {"person_count": 1, "pose_score": 0.6}
    person = (SeenObject("person", 0.6, (0.2, 0.2, 0.4, 0.8), 0.0),)
    lying = stance | {"torso_angle_deg": 85, "box_aspect": 2.0, "head_below_hip": True}
    standing = stance | {"torso_angle_deg": 5, "box_aspect": 0.4, "head_below_hip": False}
    odds = [
        evidence.log_odds(evidence_numbers(Evidence(objects=person, facts=facts)))
        for facts in (lying, standing)
    ]
    assert odds[0] > centre + 1 > centre > odds[1]


def test_damaged_heads_are_refused(tmp_path):
    with pytest.raises(ModelMissing, match="decision heads"):
        DecisionHead(tmp_path)
    shutil.copy(WEIGHTS_DIR / HEADS_FILE, tmp_path)
    stored = json.loads((tmp_path / HEADS_FILE).read_text())
    stored["attributes"] = ["other"]
    (tmp_path / HEADS_FILE).write_text(json.dumps(stored))
    with pytest.raises(ModelMissing, match="another version"):
        DecisionHead(tmp_path)
