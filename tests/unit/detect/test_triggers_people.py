from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.detect import facts
from pipeline.detect.motion import Motion
from pipeline.detect.posture import limb_speed, posture
from pipeline.detect.triggers.abandoned import AbandonedParams, AbandonedTrigger
from pipeline.detect.triggers.crowding import CrowdingTrigger, covered
from pipeline.detect.triggers.fall import FallTrigger
from pipeline.detect.triggers.presence import (
    IntrusionParams,
    IntrusionTrigger,
    LoiteringParams,
    LoiteringTrigger,
    is_night,
)
from pipeline.detect.triggers.violence import ViolenceParams, ViolenceTrigger
from pipeline.detect.zones import Line, Zone
from pipeline.errors import ConfigError
from tests.unit.detect.scenes_for_tests import HEIGHT, WIDTH, Seen, Stream, pose


def person(x: float, y: float, wide: float, tall: float, score: float = 0.8) -> Seen:
    return ("person", score, (x, y, x + wide, y + tall))


def test_posture_angles() -> None:
    box = (0.0, 0.0, 50.0, 100.0)
    upright = posture(pose((20, 30), (20, 60), (20, 15), box).keypoints[0])
    level = posture(pose((20, 60), (60, 60), (5, 62), box).keypoints[0])
    assert upright is not None and upright.torso_angle_deg == pytest.approx(0) and not upright.head_below_hip
    assert level is not None and level.torso_angle_deg == pytest.approx(90) and level.head_below_hip
    assert posture(np.zeros((17, 3), np.float32)) is None


def test_limb_speed_leaves_out_the_bodys_own_movement() -> None:
    before = pose((20, 30), (20, 60), (20, 15), (0, 0, 50, 100)).keypoints[0]
    before[9] = (30, 50, 0.9)
    walked = before.copy()
    walked[:, 0] += 20
    struck = walked.copy()
    struck[9, 0] += 50
    assert limb_speed(walked, before, 100, 0.2) == pytest.approx(0)
    assert limb_speed(struck, before, 100, 0.2) == pytest.approx(2.5)


def fall_boxes() -> list[Seen]:
    standing = [person(100 + 2 * i, 60, 30, 100) for i in range(8)]
    falling = [person(116, 60 + 25 * i, 30 + 20 * i, 100 - 22 * i) for i in range(1, 4)]
    return standing + falling + [person(112, 132, 95, 32)] * 6


def test_fall_fires_with_what_it_measured() -> None:
    stream, trigger = Stream(), FallTrigger()
    fired = [trigger.update(stream.scene([seen])) for seen in fall_boxes()]
    assert not any(fired[:8]), "walking is no fall"
    best = max((firing for firing in fired if firing), key=lambda firing: firing.score)
    assert best.score > 0.6 and "sank" in best.note
    descent, aspect = best.facts[facts.DESCENT], best.facts[facts.BOX_ASPECT]
    assert isinstance(descent, float) and descent > 0.5
    assert isinstance(aspect, float) and aspect > 1
    assert set(best.facts) <= facts.ALL


def test_only_who_is_seen_at_once_is_counted() -> None:
    """Given somebody who was lost from view before another falls, then one person is counted, not two."""
    stream, trigger = Stream(), FallTrigger()
    other = person(260, 60, 30, 100)
    boxes = [[seen, other] if i < 7 else [seen] for i, seen in enumerate(fall_boxes())]
    fired = [trigger.update(stream.scene(both)) for both in boxes]
    assert len(stream.tracker.tracks) == 2
    assert {firing.facts[facts.PERSON_COUNT] for firing in fired if firing} == {1}


def test_walking_towards_the_camera_is_no_fall() -> None:
    stream, trigger = Stream(), FallTrigger()
    boxes = [person(140 - i, 40 + 3 * i, 30 + i, 90 + 3 * i) for i in range(20)]
    assert not any(trigger.update(stream.scene([seen])) for seen in boxes)


def test_person_lost_after_a_descent_and_called_a_dog() -> None:
    stream, trigger = Stream(), FallTrigger()
    for seen in fall_boxes()[:11]:
        trigger.update(stream.scene([seen]))
    fired = [trigger.update(stream.scene([("dog", 0.5, (110.0, 130.0, 200.0, 165.0))])) for _ in range(5)]
    last = fired[-1]
    assert last is not None
    assert last.facts[facts.PERSON_VANISHED] is True and last.facts[facts.ANIMAL_LABEL_NEAR] is True


def test_person_who_leaves_at_the_edge_did_not_fall() -> None:
    stream, trigger = Stream(), FallTrigger()
    fired = [
        trigger.update(stream.scene([person(max(0.0, 60 - 10 * i), 60, 30, 100)] if i < 7 else []))
        for i in range(14)
    ]
    assert not any(fired)


@pytest.mark.parametrize(("step", "fell"), [(20, False), (0, True)])
def test_who_was_walking_out_when_last_seen_did_not_fall(step: int, fell: bool) -> None:
    """Given somebody who gets lower and is lost short of the edge, only walking on explains it."""
    stream, trigger = Stream(), FallTrigger()
    boxes = [person(150 + step * i, 60 + 9 * max(0, i - 2), 24, 100 - 9 * max(0, i - 2)) for i in range(7)]
    fired = [trigger.update(stream.scene([box])) for box in boxes]
    fired += [trigger.update(stream.scene()) for _ in range(8)]
    vanished = [firing for firing in fired if firing and firing.facts.get(facts.PERSON_VANISHED)]
    assert bool(vanished) is fell


def test_lying_person_on_a_picture() -> None:
    box = (60.0, 150.0, 200.0, 200.0)
    lying = pose((170, 175), (110, 178), (190, 178), box)
    scene = Stream().scene([("person", 0.6, box)], poses=lying, is_still=True)
    firing = FallTrigger().update(scene)
    assert firing is not None and firing.facts[facts.STILL_IMAGE] is True
    assert FallTrigger().update(Stream().scene([person(100, 60, 30, 100)], is_still=True)) is None


def test_a_look_that_fires_alone_says_how_people_stand() -> None:
    upright, box = person(100, 40, 40, 120), (100.0, 40.0, 140.0, 160.0)
    stance = pose((120, 60), (120, 100), (120, 45), box)
    looks = {"person_down": 0.9}
    still = FallTrigger().update(Stream().scene([upright], poses=stance, attributes=looks, is_still=True))
    stream, trigger = Stream(), FallTrigger()
    moving = [trigger.update(stream.scene([upright], poses=stance, attributes=looks)) for _ in range(9)][-1]
    for firing in (still, moving):
        assert firing is not None and firing.box is None
        assert firing.facts[facts.TORSO_ANGLE_DEG] == 0
        assert firing.facts[facts.BOX_ASPECT] == pytest.approx(0.33)
        assert firing.facts[facts.PERSON_COUNT] == 1
    nobody = FallTrigger().update(Stream().scene(attributes=looks, is_still=True))
    assert nobody is not None and nobody.facts[facts.PERSON_COUNT] == 0
    assert facts.BOX_ASPECT not in nobody.facts


def test_a_pose_read_wrongly_once_does_not_stand_for_all_of_a_look() -> None:
    upright, box = person(100, 40, 40, 120), (100.0, 40.0, 140.0, 160.0)
    right, wrong = pose((120, 60), (120, 100), (120, 45), box), pose((135, 100), (105, 100), (139, 104), box)
    stream, trigger = Stream(), FallTrigger()
    fired = [
        trigger.update(
            stream.scene([upright], poses=wrong if i == 5 else right, attributes={"person_down": 0.9})
        )
        for i in range(12)
    ]
    angles = {firing.facts[facts.TORSO_ANGLE_DEG] for firing in fired if firing}
    assert angles == {0}


@pytest.mark.parametrize(
    ("before", "now", "fires"),
    [
        ([], ["cat"], False),
        ([], ["person", "cat"], True),
        (["person"], ["dog"], True),
        ([], [], True),
        ([], ["chair"], True),
    ],
)
def test_what_only_people_do_is_not_suspected_of_animals(
    before: list[str], now: list[str], fires: bool
) -> None:
    """Given a look at a fall or a fight, then a cat alone raises no alarm, nor does it hide a person's.

    Who walked in and lies is often taken for a dog: that they were seen on their feet is remembered.
    """
    looks = {"person_down": 0.9, "fight": 0.9}
    fight = ViolenceTrigger(ViolenceParams(score=0.0, look_score=0.0, min_energy=0.0))
    for trigger in (FallTrigger(), fight):
        stream = Stream()
        for _ in range(3):
            trigger.update(stream.scene([(label, 0.8, (100.0, 40, 140, 160)) for label in before]))
        seen = [(label, 0.8, (100.0 + 50 * i, 120, 160 + 50 * i, 160)) for i, label in enumerate(now)]
        fired = [trigger.update(stream.scene(seen, attributes=looks)) for _ in range(12)]
        assert any(fired[8:]) is fires, trigger.name


def test_who_left_long_ago_is_not_remembered() -> None:
    stream = Stream()
    somebody, cat = person(100, 40, 40, 120), ("cat", 0.8, (100.0, 120.0, 160.0, 160.0))
    stream.scene([somebody])
    said = [stream.scene([somebody]).only_animals]
    said += [stream.scene([cat]).only_animals for _ in range(60)]
    assert not any(said[:50]) and said[-1]
    assert not stream.scene([cat, person(20, 40, 40, 120, score=0.25)]).only_animals


def test_intrusion_needs_the_zone() -> None:
    zone = Zone("yard", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))
    stream, trigger = Stream(), IntrusionTrigger(IntrusionParams(zones=(zone,)))
    fired = [trigger.update(stream.scene([person(20 + 12 * i, 100, 30, 100)])) for i in range(20)]
    entered = next(i for i, firing in enumerate(fired) if firing)
    assert 20 + 12 * entered + 15 >= WIDTH / 2
    firing = fired[-1]
    assert firing is not None and firing.zone == "yard"


@pytest.mark.parametrize(("direction", "fires"), [(0, True), (1, False), (-1, True)])
def test_intrusion_line_knows_its_direction(direction: int, fires: bool) -> None:
    # From top to bottom of the picture: its left, seen from start to end, is the right of the picture.
    fence = Line("fence", (0.5, 0.0), (0.5, 1.0))
    assert fence.crossed((0.4, 0.5), (0.6, 0.5)) == -1
    assert fence.crossed((0.6, 0.5), (0.4, 0.5)) == 1
    assert fence.crossed((0.6, 0.5), (0.7, 0.5)) == 0
    stream = Stream()
    trigger = IntrusionTrigger(IntrusionParams(lines=(fence,), direction=direction))
    fired = [trigger.update(stream.scene([person(60 + 12 * i, 100, 30, 100)])) for i in range(14)]
    assert any(fired) is fires


def test_intrusion_without_zones_means_somebody_in_the_dark() -> None:
    dark = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    stream, day, night = Stream(), IntrusionTrigger(), IntrusionTrigger()
    assert not any(day.update(stream.scene([person(60, 60, 30, 100)])) for _ in range(6))
    stream = Stream()
    assert any(night.update(stream.scene([person(60, 60, 30, 100)], image=dark)) for _ in range(6))


def test_zone_refuses_what_is_not_one() -> None:
    with pytest.raises(ConfigError, match="yard"):
        Zone("yard", ((0.0, 0.0), (1.0, 1.0)))
    with pytest.raises(ConfigError):
        Line("fence", (0.0, 0.0), (3.0, 1.0))


EVERYWHERE = Zone("all", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))


def test_loitering_counts_the_stay_through_short_losses() -> None:
    stream, trigger = Stream(), LoiteringTrigger(LoiteringParams(zones=(EVERYWHERE,), dwell_s=6.0))
    fired = [
        trigger.update(stream.scene([] if i % 9 in (7, 8) else [person(100 + 5 * math.sin(i), 60, 30, 100)]))
        for i in range(45)
    ]
    first = next(i for i, firing in enumerate(fired) if firing)
    assert 6.0 <= first * 0.2 < 7.5
    firing = next(firing for firing in fired if firing)
    assert firing.onset_s == pytest.approx(0.2, abs=0.21)


def test_passing_by_is_no_loitering() -> None:
    stream, trigger = Stream(), LoiteringTrigger(LoiteringParams(zones=(EVERYWHERE,), dwell_s=3.0))
    assert not any(trigger.update(stream.scene([person(5 + 11 * i, 60, 30, 100)])) for i in range(25))


@pytest.mark.parametrize(("grey", "fires"), [(20, True), (120, False)])
def test_without_zones_staying_matters_at_night_only(grey: int, fires: bool) -> None:
    """Given no zone, when somebody stays, then by day it takes minutes, at night seconds."""
    image = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    stream, trigger = Stream(), LoiteringTrigger(LoiteringParams(dwell_s=3.0))
    fired = [trigger.update(stream.scene([person(100, 60, 30, 100)], image=image)) for _ in range(30)]
    assert any(fired) is fires


@pytest.mark.parametrize(("grey", "night"), [(70, True), (140, False)])
def test_black_and_white_by_day_is_not_infrared(grey: int, night: bool) -> None:
    """Given a picture without colour, then it is night only if it is dim as well."""
    assert is_night(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), IntrusionParams()) is night


def test_crowd_is_counted() -> None:
    few = [person(20 * i, 60, 15, 50) for i in range(3)]
    many = [person(20 * i, 60, 15, 50) for i in range(12)]
    stream, trigger = Stream(), CrowdingTrigger()
    assert not any(trigger.update(stream.scene(few)) for _ in range(6))
    fired = [trigger.update(stream.scene(many)) for _ in range(6)]
    assert fired[0] is None, "one frame is not enough"
    last = fired[-1]
    assert last is not None and last.facts[facts.PERSON_COUNT] == 12
    assert covered([(0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.5, 1.0)]) == pytest.approx(0.5)


def leave_thing(owner_goes: bool) -> list[bool]:
    stream, trigger = Stream(), AbandonedTrigger(AbandonedParams(dwell_s=3.0))
    rng = np.random.default_rng(2)
    base = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    fired = []
    for i in range(90):
        image = base + rng.integers(0, 4, base.shape, np.uint8)
        if i >= 30:
            image[150:175, 150:175] = 20
        near = [person(150, 90, 40, 100)] if 25 <= i < (40 if owner_goes else 90) else []
        fired.append(trigger.update(stream.scene(near, image=image)) is not None)
    return fired


def test_thing_left_behind_fires_once_its_owner_is_gone() -> None:
    fired = leave_thing(owner_goes=True)
    assert not any(fired[:40]) and any(fired[45:])


def test_what_goes_away_leaves_no_abandoned_ghost() -> None:
    """Given a thing that was always there, when it is taken away, then nothing was left behind."""
    stream, trigger = Stream(), AbandonedTrigger(AbandonedParams(dwell_s=3.0))
    rng = np.random.default_rng(2)
    for i in range(90):
        image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8) + rng.integers(0, 4, (HEIGHT, WIDTH, 3), np.uint8)
        if i < 30:
            image[150:175, 150:175] = 20
        assert trigger.update(stream.scene(image=image)) is None


@pytest.mark.parametrize(("only_light", "fires"), [(True, False), (False, True)])
def test_what_the_light_brings_out_is_not_left_behind(only_light: bool, fires: bool) -> None:
    """Given a dark floor with bright tiles, a camera that exposes longer makes no things of the tiles."""
    stream, trigger = Stream(), AbandonedTrigger(AbandonedParams(dwell_s=3.0))
    rng = np.random.default_rng(3)
    floor = np.full((HEIGHT, WIDTH, 3), 45.0)
    corners = [(y, x) for y in range(20, 220, 50) for x in range(20, 300, 60)]
    for y, x in corners:
        floor[y : y + 10, x : x + 10] = 100
    later = floor * 1.4
    if not only_light:
        later = floor.copy()
        later[130:145, 130:145] = 100
    fired = []
    for i in range(90):
        noisy = (floor if i < 30 else later) + rng.integers(0, 4, floor.shape)
        fired.append(trigger.update(stream.scene(image=noisy.astype(np.uint8))) is not None)
    assert any(fired) is fires


def test_thing_with_its_owner_is_not_abandoned() -> None:
    assert not any(leave_thing(owner_goes=False))


def test_movement_in_the_dark_counts_even_when_nobody_is_made_out() -> None:
    dark = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    blob = Motion(True, 0.01, 0.0, dark[..., 0], blobs=((0.4, 0.3, 0.5, 0.6),))
    for image, fires in ((dark, True), (None, False)):
        stream, trigger = Stream(), IntrusionTrigger()
        scenes = [replace(stream.scene(image=image), motion=blob) for _ in range(20)]
        fired = [trigger.update(scene) for scene in scenes]
        assert any(fired) is fires and not any(fired[:9])
