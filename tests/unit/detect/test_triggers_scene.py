from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.detect import facts
from pipeline.detect.triggers.fire import FireTrigger, flame_mask
from pipeline.detect.triggers.smoke import SmokeTrigger
from pipeline.detect.triggers.traffic import TrafficParams, TrafficTrigger, touching
from pipeline.detect.triggers.violence import ViolenceTrigger, flow_disorder
from pipeline.detect.triggers.violence_weights import FEATURES, MEAN, SCALE, WEIGHT
from pipeline.types import Box
from tests.unit.detect.scenes_for_tests import HEIGHT, WIDTH, Seen, Stream

FLAME = (40, 140, 250)


def scene_with_light(rng: np.random.Generator, flickers: bool) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), (60, 70, 65), np.uint8)
    low, high = (rng.integers(100, 140), rng.integers(150, 190)) if flickers else (110, 170)
    image[low:high, 140:180] = FLAME
    return image


@pytest.mark.parametrize("flickers", [True, False])
def test_fire_is_flame_colour_that_flickers(flickers: bool) -> None:
    rng, stream, trigger = np.random.default_rng(4), Stream(), FireTrigger()
    fired = [trigger.update(stream.scene(image=scene_with_light(rng, flickers))) for _ in range(10)]
    assert any(fired) is flickers
    for firing in fired:
        if firing is not None:
            assert set(firing.facts) <= facts.ALL
            assert firing.box is not None and firing.box[0] == pytest.approx(140 / WIDTH, abs=0.05)


def test_nothing_flickers_between_two_scenes() -> None:
    """Given a stream that cuts from scene to scene all the time, then what is lit in each is no fire."""
    rng, stream, trigger = np.random.default_rng(4), Stream(), FireTrigger()
    for _ in range(10):
        scene = stream.scene(image=scene_with_light(rng, True))
        assert trigger.update(replace(scene, motion=replace(scene.motion, cut=True))) is None


def test_appearance_can_veto_and_can_fire_alone() -> None:
    rng, stream = np.random.default_rng(4), Stream()
    vetoed, alone = FireTrigger(), FireTrigger()
    assert not any(
        vetoed.update(stream.scene(image=scene_with_light(rng, True), attributes={"fire": 0.001}))
        for _ in range(10)
    )
    assert any(alone.update(stream.scene(attributes={"fire": 0.9})) for _ in range(10))


def test_skin_grass_and_sky_are_no_flames() -> None:
    for colour in ((160, 180, 225), (60, 160, 70), (235, 200, 150), (255, 255, 255)):
        image = np.full((40, 40, 3), (60, 60, 60), np.uint8)
        image[10:30, 10:30] = colour
        assert not flame_mask(image).any(), colour


def smoke_frames(grows: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    base = rng.integers(40, 180, (HEIGHT, WIDTH, 3), np.uint8)
    frames = []
    for i in range(40):
        image = base.copy()
        if grows and i >= 8:
            right = min(WIDTH, 60 + 6 * (i - 8))
            part = image[20:140, 40:right].astype(float)
            image[20:140, 40:right] = (0.15 * part + 0.85 * 190).astype(np.uint8)
        frames.append(image)
    return frames


@pytest.mark.parametrize("grows", [True, False])
def test_smoke_hides_the_background(grows: bool) -> None:
    stream, trigger = Stream(), SmokeTrigger()
    fired = [trigger.update(stream.scene(image=image)) for image in smoke_frames(grows)]
    assert any(fired) is grows
    if grows:
        loss = [firing.facts[facts.TEXTURE_LOSS] for firing in fired if firing]
        assert all(isinstance(value, float) and value > 0.35 for value in loss)


def test_person_in_front_of_the_background_is_no_smoke() -> None:
    stream, trigger = Stream(), SmokeTrigger()
    base = smoke_frames(False)[0]
    for i in range(30):
        image, seen = base.copy(), []
        if i >= 8:
            image[60:220, 100:160] = 150
            seen = [("person", 0.9, (100.0, 60.0, 160.0, 220.0))]
        assert trigger.update(stream.scene(seen, image=image)) is None


def car(x: float, y: float = 100.0) -> Seen:
    return ("car", 0.9, (x, y, x + 60, y + 35))


def test_crash_is_an_abrupt_stop_with_overlap() -> None:
    stream, trigger = Stream(), TrafficTrigger()
    xs = [10 + 20 * i for i in range(7)] + [132] * 8
    fired = [trigger.update(stream.scene([car(x), car(170)])) for x in xs]
    best = max((firing for firing in fired if firing), key=lambda firing: firing.score)
    stop = best.facts[facts.VEHICLE_STOP]
    assert isinstance(stop, float) and stop > 0.6
    assert best.facts[facts.VEHICLE_COUNT] == 2


def test_cars_that_pass_in_order_are_no_crash() -> None:
    stream, trigger = Stream(), TrafficTrigger()
    pairs = [[car(10 + 12 * i, 60), car(240 - 12 * i, 140)] for i in range(18)]
    assert not any(trigger.update(stream.scene(pair)) for pair in pairs)


def test_one_vehicle_with_two_labels_is_not_two() -> None:
    box = (0.0, 0.0, 50.0, 30.0)
    assert touching([box, (1.0, 0.0, 50.0, 30.0)]) == (0.0, None)
    assert touching([box, (40.0, 0.0, 90.0, 30.0)])[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("other", "fires"), [((0.0, 0.0, 320.0, 240.0), False), ((150.0, 100, 210, 135), True)]
)
def test_a_box_around_the_whole_scene_hits_nobody(other: Box, fires: bool) -> None:
    """Given a car that slows down, only a vehicle beside it makes that a crash, not one that holds it."""
    stream, trigger = Stream(), TrafficTrigger(TrafficParams(hard_stop=99.0))
    xs = [10 + 20 * i for i in range(7)] + [132] * 8
    around: Seen = ("truck", 0.9, other)
    assert any(trigger.update(stream.scene([car(x), around])) for x in xs) is fires


@pytest.mark.parametrize(
    ("first", "fires"), [(car(80), True), (("bicycle", 0.9, (76, 110, 104, 170)), False)]
)
def test_a_box_that_jumps_to_another_thing_did_not_stop(first: Seen, fires: bool) -> None:
    """Given something seen for a moment where then a parked car is, the car has not braked."""
    stream, trigger = Stream(), TrafficTrigger()
    seen = [first, car(110)] if fires else [first, car(95)]
    fired = [trigger.update(stream.scene([one])) for one in [*seen, *[seen[-1]] * 8]]
    assert any(fired) is fires


@pytest.mark.parametrize(
    ("steps", "fires"), [((12, 15), False), ((12, 0), True), ((), True)], ids=["flows", "one stands", "none"]
)
def test_where_all_traffic_rolls_on_nothing_has_crashed(steps: tuple[int, ...], fires: bool) -> None:
    """Given a look at a crash and nothing else, then it counts unless every vehicle in view keeps rolling."""
    stream, trigger = Stream(), TrafficTrigger()
    fired = []
    for i in range(16):
        cars = [car(10 + step * i, 40 + 90 * row) for row, step in enumerate(steps)]
        fired.append(trigger.update(stream.scene(cars, attributes={"crash": 0.9})))
    assert any(fired) is fires


@pytest.mark.parametrize(("step", "fires"), [(12, False), (0, True)])
def test_a_jolt_where_all_traffic_rolls_on_is_a_car_that_came_closer(step: int, fires: bool) -> None:
    stream, trigger = Stream(), TrafficTrigger()
    fired = [
        trigger.update(stream.scene([car(10 + step * i)], flow_peak=0.5 if i == 12 else 0.05))
        for i in range(14)
    ]
    assert any(fired) is fires


@pytest.mark.parametrize("still", [True, False])
def test_flames_are_not_measured_where_there_are_no_colours(still: bool) -> None:
    """Under infrared light a fire has no flame colours, and their absence says nothing against it."""
    grey = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    measured = []
    for image in (grey, scene_with_light(np.random.default_rng(0), False)):
        stream, trigger = Stream(), FireTrigger()
        fired = [
            trigger.update(stream.scene(image=image, attributes={"fire": 0.9}, is_still=still))
            for _ in range(1 if still else 9)
        ]
        firing = fired[-1]
        assert firing is not None
        measured.append(facts.FIRE_PIXELS in firing.facts)
    assert measured == [False, True]


def test_violence_weights_fit_their_features() -> None:
    assert len(FEATURES) == len(MEAN) == len(SCALE) == len(WEIGHT)
    assert min(SCALE) > 0


def test_disorder_tells_one_way_from_all_ways() -> None:
    one_way = np.zeros((40, 40, 2), np.float32)
    one_way[10:30, 10:30, 0] = 0.5
    all_ways = np.random.default_rng(1).normal(0, 0.5, (40, 40, 2)).astype(np.float32)
    assert flow_disorder(one_way)[0] < 0.2 < 0.8 < flow_disorder(all_ways)[0]
    assert flow_disorder(np.zeros((40, 40, 2), np.float32)) == (0.0, 0.0)


def test_still_scene_is_no_violence() -> None:
    stream, trigger = Stream(), ViolenceTrigger()
    standing = ("person", 0.9, (50.0, 50.0, 90.0, 160.0))
    assert not any(trigger.update(stream.scene([standing])) for _ in range(15))


def test_two_people_grappling_on_a_picture() -> None:
    pair = [("person", 0.9, (50.0, 50.0, 90.0, 160.0)), ("person", 0.8, (75.0, 55.0, 120.0, 165.0))]
    apart = [pair[0], ("person", 0.8, (220.0, 55.0, 260.0, 165.0))]
    firing = ViolenceTrigger().update(Stream().scene(pair, is_still=True))
    assert firing is not None and firing.facts[facts.PEOPLE_DISTANCE] == 0.0
    assert ViolenceTrigger().update(Stream().scene(apart, is_still=True)) is None
