"""When the detectors look, and what is told in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.detect.scene import Scene
from pipeline.detect.scenes import LookParams, SceneReader
from pipeline.types import Detections, Frame, Image, Poses
from tests.unit.detect.scenes_for_tests import detections

STEP_S = 0.2
SIZE = (120, 160, 3)


class Watchman:
    """Sees the same person whenever it is asked, at another place each time so that answers differ."""

    name = "watchman"

    def __init__(self) -> None:
        self.looks = self.poses = 0

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.looks += len(images)
        return [detections([("person", 0.9, (10 + self.looks, 10, 40, 100))]) for _ in images]

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        self.poses += len(images)
        return [Poses.empty() for _ in images]


def picture(moving: int = 0) -> Image:
    image = np.full(SIZE, 90, np.uint8)
    image[40:80, 10 + moving : 40 + moving] = 200
    return image


def watch(moves: Sequence[bool], params: LookParams | None = None) -> tuple[SceneReader, list[Scene]]:
    man = Watchman()
    reader = SceneReader(man, man, params=params)
    scenes, place = [], 0
    for index, moved in enumerate(moves):
        place += 8 * moved
        scenes.append(reader.read(Frame(picture(place % 100), index * STEP_S, index)))
    return reader, scenes


def test_in_a_still_scene_the_last_finding_is_told_again_until_it_is_old() -> None:
    reader, scenes = watch([False] * 100)
    told = [scene for scene in scenes if scene.looked]
    boxes = [tuple(scene.detections.xyxy[0]) for scene in told]
    # Every two seconds the triggers are told, but only one finding in eight seconds is new.
    assert len(set(boxes)) == reader.looks
    assert reader.repeats > reader.looks / 2
    assert reader.looks <= 6 + 20 / LookParams().refresh_s
    assert all(scene.seen for scene in told), "a person who stands still keeps their track"


def test_people_are_not_posed_again_while_nothing_moves() -> None:
    still, _ = watch([False] * 100)
    moving, _ = watch([True] * 20)
    assert isinstance(still.pose, Watchman) and isinstance(moving.pose, Watchman)
    assert still.looks >= 3 and still.pose.poses == 1
    assert moving.pose.poses == moving.looks


def test_motion_after_a_still_spell_is_looked_at_at_once() -> None:
    _, scenes = watch([False] * 40 + [True] * 10)
    before = [scene.detections.xyxy[0][0] for scene in scenes[:40] if scene.looked]
    for scene in scenes[40:]:
        assert scene.looked and scene.motion.active
        assert scene.detections.xyxy[0][0] > before[-1]


def test_a_gate_that_is_merely_held_open_is_looked_through_less_often() -> None:
    _, scenes = watch([True] * 10 + [False] * 9)
    held = scenes[10:]
    assert all(scene.motion.active for scene in held)
    assert 2 <= sum(scene.looked for scene in held) <= 4


def test_a_change_of_resolution_is_looked_at_anew() -> None:
    man = Watchman()
    reader = SceneReader(man, man)
    for index in range(30):
        reader.read(Frame(picture(), index * STEP_S, index))
    looks = reader.looks
    reader.read(Frame(np.full((240, 320, 3), 90, np.uint8), 30 * STEP_S, 30))
    assert reader.looks == looks + 1


class Cat(Watchman):
    """Sees a cat from the sixth look on, and a person before."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.looks += len(images)
        label = "cat" if self.looks > 5 else "person"
        return [detections([(label, 0.9, (10, 60, 60, 100))]) for _ in images]


def test_scenes_remember_whether_there_were_only_animals_of_late() -> None:
    cat, places = Cat(), range(70)
    reader = SceneReader(cat, cat)
    scenes = [reader.read(Frame(picture(8 * i % 100), i * STEP_S, i)) for i in places]
    assert not any(scene.only_animals for scene in scenes[:50]) and scenes[-1].only_animals
    assert not reader.read(Frame(picture(), 20.0, 100), is_still=True).only_animals
