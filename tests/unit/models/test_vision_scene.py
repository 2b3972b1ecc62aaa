"""Scene features: untouched networks over tiles and the whole, cached, and what heads make of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.embedded.features import FeatureCache
from models.embedded.heads import HEADS_FILE, DecisionHead
from models.embedded.heads_terms import Line
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionEncoder, VisionFeatures
from models.embedded.vision_motion import MOTION_STATISTICS
from models.embedded.vision_scene import OBJECT_CHANNELS, SCENE_CHANNELS, SceneEncoder, tiles
from pipeline.errors import ModelMissing
from pipeline.types import EventType, Evidence, Image, KeyFrame, Moment, View
from tests.media import moving_square


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def encoder(cache_dir: Path) -> SceneEncoder:
    return SceneEncoder(cache_dir, threads=1)


def encoded(image: Image) -> tuple[str, bytes]:
    data = cv2.imencode(".png", image)[1].tobytes()
    return hashlib.sha256(data).hexdigest(), data


def whole(line: Line) -> np.ndarray:
    """The weights of a line over all scene features."""
    weights = np.zeros(SCENE_CHANNELS, np.float32)
    weights[line.columns] = line.weights
    return weights


def test_tiles_overlap_and_reach_every_corner() -> None:
    image = np.arange(90 * 120 * 3, dtype=np.uint8).reshape(90, 120, 3)
    parts = tiles(image)
    assert [part.shape for part in parts] == [(60, 80, 3)] * 4
    assert (parts[0][0, 0] == image[0, 0]).all() and (parts[3][-1, -1] == image[-1, -1]).all()
    assert all(part.shape[0] >= 1 for part in tiles(np.zeros((1, 1, 3), np.uint8)))


def test_object_features_are_the_mean_and_the_largest_of_the_tiles(encoder: SceneEncoder) -> None:
    pictures = [moving_square()(0), moving_square()(5)]
    features = encoder.encode(pictures)
    assert features.shape == (2, SCENE_CHANNELS) and features.dtype == np.float32
    mean, largest = np.split(features[:, :OBJECT_CHANNELS], 2, axis=1)
    assert (largest >= mean - 1e-6).all() and (largest > mean + 1e-3).any()
    assert np.array_equal(features[:, OBJECT_CHANNELS:], encoder.contrast.encode(pictures))


def test_cache_computes_what_is_wanted_once(encoder: SceneEncoder, cache_dir: Path, tmp_path: Path) -> None:
    """Given images of which some are wanted, when asked twice, then the second answer comes from disk.

    Either kind of features is there for those only of which it was wanted.
    """
    eyes = VisionEncoder(cache_dir, threads=1)
    (one, one_bytes), (two, two_bytes) = encoded(moving_square()(0)), encoded(moving_square()(5))
    first = FeatureCache(eyes, tmp_path, scene_encoder=encoder)
    found = first.scenes([one, two], [one_bytes, two_bytes], [True, False], [True, False])
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()
    again = FeatureCache(eyes, tmp_path, scene_encoder=encoder)
    assert np.array_equal(again.scenes([one], [b"not an image any more"], [True], [True])[0], found[0])
    (objects,) = again.scenes([two], [two_bytes], [True], [False])
    assert np.isfinite(objects[:OBJECT_CHANNELS]).all() and np.isnan(objects[OBJECT_CHANNELS:]).all()
    (contrast,) = again.scenes([two], [b"not decoded again"], [False], [True])
    assert np.isnan(contrast[:OBJECT_CHANNELS]).all() and np.isfinite(contrast[OBJECT_CHANNELS:]).all()
    assert np.isfinite(again.scenes([two], [two_bytes], [True], [True])).all()


def test_scene_features_are_computed_only_for_heads_that_read_them(tmp_path: Path) -> None:
    """Half of the time of a verdict would be spent on numbers that are multiplied by nothing."""
    stored = json.loads((WEIGHTS_DIR / HEADS_FILE).read_text())
    reads = {EventType.FALL: slice(0, OBJECT_CHANNELS), EventType.FIRE: slice(OBJECT_CHANNELS, None)}
    for event, part in reads.items():
        weights = np.zeros(SCENE_CHANNELS)
        weights[part] = 0.01
        stored["types"][event.value]["scene"] = {"weights": weights.tolist(), "bias": 0.5}
        stored["types"][event.value]["terms"]["scene"] = {"coefficient": 1.0, "centre": 0.0}
    (tmp_path / HEADS_FILE).write_text(json.dumps(stored))
    head = DecisionHead(tmp_path)
    assert head.scene_parts(EventType.FALL) == (True, False)
    assert head.scene_parts(EventType.FIRE) == (False, True)
    assert head.scene_parts(EventType.CROWDING) == head.scene_parts(EventType.LOITERING) == (False, False)
    frame = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 0.0, 640, 360)
    scene = np.random.default_rng(0).normal(size=(1, SCENE_CHANNELS)).astype(np.float32)
    logits = np.zeros((1, len(ATTRIBUTES)), np.float32)
    motion = np.full((1, len(MOTION_STATISTICS)), np.nan, np.float32)

    def terms(event: EventType, features: np.ndarray) -> dict[str, float]:
        seen = VisionFeatures(np.zeros((1, 9, 1280)), np.zeros((1, 1280)), logits, motion, features)
        return dict(head.testify(event, seen, [frame], Evidence()).terms)

    for event, part in reads.items():
        only, without = np.full_like(scene, np.nan), scene.copy()
        only[:, part], without[:, part] = scene[:, part], np.nan
        assert terms(event, only) == terms(event, scene) and "scene" in terms(event, only)
        assert "scene" not in terms(event, without)


def test_reports_state_what_both_networks_see(tmp_path: Path) -> None:
    """Given smoke that one network is sure of and the other doubts, then the attribute is their mean."""
    stored = json.loads((WEIGHTS_DIR / HEADS_FILE).read_text())
    line = np.zeros(SCENE_CHANNELS - OBJECT_CHANNELS)
    line[3] = 1.0
    stored["seen"] = {"smoke": {"weights": line.tolist(), "bias": 1.0}}
    (tmp_path / HEADS_FILE).write_text(json.dumps(stored))
    frame = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 0.0, 640, 360)
    logits = np.zeros((1, len(ATTRIBUTES)), np.float32)
    logits[0, ATTRIBUTES.index("smoke")] = -1.0
    motion = np.full((1, len(MOTION_STATISTICS)), np.nan, np.float32)

    def smoke(scene: np.ndarray | None) -> float:
        seen = VisionFeatures(np.zeros((1, 9, 1280)), np.zeros((1, 1280)), logits, motion, scene)
        return DecisionHead(tmp_path).log_odds(EventType.SMOKE, seen, [frame], Evidence())[1]["smoke"]

    scene = np.zeros((1, SCENE_CHANNELS), np.float32)
    scene[0, OBJECT_CHANNELS + 3] = 4.0
    assert smoke(None) == pytest.approx(1 / (1 + np.exp(1)))
    assert smoke(scene) == pytest.approx(1 / (1 + np.exp(-2)))
    stored["seen"] = {"dragon": stored["seen"]["smoke"]}
    (tmp_path / HEADS_FILE).write_text(json.dumps(stored))
    with pytest.raises(ModelMissing, match="no attribute"):
        DecisionHead(tmp_path)


def test_an_accident_needs_a_road() -> None:
    """Given features that say crash, when they say no road as well, then the alarm is false."""
    head = DecisionHead()
    frame = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 0.0, 640, 360)
    others = [replace(frame, view=View.REGION), replace(frame, moment=Moment.BEFORE)]
    assert head.wants_scene(EventType.TRAFFIC_ACCIDENT, [frame, *others], Evidence()) == [True, False, False]
    assert head.wants_scene(EventType.VIOLENCE, [frame], Evidence()) == [True]
    # In motion it is weapons that are looked for.
    moving = [frame, replace(frame, view=View.MOTION)]
    assert head.wants_scene(EventType.VIOLENCE, moving, Evidence()) == [True, False]
    accident = head._types[EventType.TRAFFIC_ACCIDENT]
    assert accident.scene is not None and accident.needs is not None and accident.needs.scene is not None
    crash, road = whole(accident.scene), whole(accident.needs.scene)
    # Along the crash probe, away from the road probe.
    apart = crash - road * (crash @ road) / (road @ road)
    both = apart * 6 / (crash @ apart) + road * (6 - accident.needs.scene.bias) / (road @ road)
    no_road = both - road * 12 / (road @ road)
    empty = np.zeros((1, 1280), np.float32)

    def odds(scene: np.ndarray) -> float:
        logits = np.zeros((1, len(ATTRIBUTES)), np.float32)
        motion = np.full((1, len(MOTION_STATISTICS)), np.nan, np.float32)
        seen = VisionFeatures(np.zeros((1, 9, 1280), np.float32), empty, logits, motion, scene[None])
        return head.log_odds(EventType.TRAFFIC_ACCIDENT, seen, [frame], Evidence())[0]

    assert odds(both.astype(np.float32)) > 1 > -4 > odds(no_road.astype(np.float32))
    assert odds(np.full(SCENE_CHANNELS, np.nan, np.float32)) == 0.0


def test_an_alarm_of_another_detector_is_looked_at_in_all_its_moments() -> None:
    """Given a fall that another detector named while the person still stood, then later moments count."""
    head = DecisionHead()
    peak = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 1.0, 640, 360)
    frames = [peak, replace(peak, moment=Moment.AFTER, t_s=3.0)]
    reported = Evidence(facts={"reported": True})
    assert head.wants_scene(EventType.FALL, frames, Evidence()) == [True, False]
    assert head.wants_scene(EventType.FALL, frames, reported) == [True, True]
    line = head._types[EventType.FALL].scene
    assert line is not None
    lying, standing = (
        (value - line.bias) * whole(line) / (line.weights @ line.weights) for value in (1.0, -3.0)
    )
    logits = np.zeros((2, len(ATTRIBUTES)), np.float32)
    motion = np.full((2, len(MOTION_STATISTICS)), np.nan, np.float32)

    def odds(*scenes: np.ndarray) -> float:
        seen = VisionFeatures(np.zeros((2, 9, 1280)), np.zeros((2, 1280)), logits, motion, np.stack(scenes))
        return head.log_odds(EventType.FALL, seen, frames, reported)[0]

    nothing = np.full(SCENE_CHANNELS, np.nan, np.float32)
    assert odds(standing, nothing) < odds(standing, lying) < odds(nothing, lying)


def test_a_weapon_is_a_second_way_for_violence_to_be_real() -> None:
    """Given scene features of a weapon and of nothing like a fight, then the alarm is real, moving or not."""
    head = DecisionHead()
    violence = head._types[EventType.VIOLENCE]
    assert violence.scene is not None and violence.also is not None and violence.also.scene is not None
    frame = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 1.0, 640, 360)

    def odds(direction: np.ndarray, frames: list[KeyFrame]) -> float:
        count = len(frames)
        logits = np.zeros((count, len(ATTRIBUTES)), np.float32)
        motion = np.full((count, len(MOTION_STATISTICS)), np.nan, np.float32)
        scene = np.full((count, SCENE_CHANNELS), np.nan, np.float32)
        scene[0] = 30 * direction / (direction @ direction)
        seen = VisionFeatures(np.zeros((count, 9, 1280)), np.zeros((count, 1280)), logits, motion, scene)
        return head.log_odds(EventType.VIOLENCE, seen, frames, Evidence())[0]

    fight, weapon = whole(violence.scene), whole(violence.also.scene)
    only_weapon = weapon - fight * (fight @ weapon) / (fight @ fight)
    assert odds(only_weapon, [frame]) > odds(-only_weapon, [frame]) + 2
    moving = [frame, replace(frame, view=View.MOTION)]
    assert odds(only_weapon, moving) > odds(-only_weapon, moving) + 2


def test_sharpness_beyond_what_was_trained_on_does_not_count(encoder: SceneEncoder) -> None:
    """Given the same scene in two sizes, then the features are much the same."""
    small = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (252, 336, 3), np.uint8), (0, 0), 3)
    large = cv2.resize(small, (1008, 756), interpolation=cv2.INTER_CUBIC)
    one, other = encoder.encode([small, large])
    objects, contrast = slice(0, OBJECT_CHANNELS), slice(OBJECT_CHANNELS, None)
    assert np.abs(one[objects] - other[objects]).mean() < 0.05 * np.abs(one[objects]).mean()
    alike = one[contrast] @ other[contrast]
    assert alike > 0.98 * np.linalg.norm(one[contrast]) * np.linalg.norm(other[contrast])
