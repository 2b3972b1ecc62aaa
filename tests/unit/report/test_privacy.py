"""Faces are hidden, and when in doubt more than faces."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from pipeline import privacy
from pipeline.errors import FrameStoreError
from pipeline.types import Box, Image, Poses


def noise(width: int = 320, height: int = 240) -> Image:
    return np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)


def sharpness(image: Image, box: Box) -> float:
    """How much detail is in a region given in 0..1."""
    height, width = image.shape[:2]
    part = image[int(box[1] * height) : int(box[3] * height), int(box[0] * width) : int(box[2] * width)]
    return float(cv2.Laplacian(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), cv2.CV_64F).std())


def encoded(image: Image) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def person(box: Sequence[float], t_s: float = 2.0) -> dict[str, object]:
    return {"label": "person", "score": 0.9, "box": list(box), "t_s": t_s, "track_id": None}


FULL = {"view": "full", "t_s": 2.0, "box": None}
STANDING = (0.4, 0.1, 0.6, 0.9)


class OnePose:
    """Finds one person with a face at a given place, as a pose estimator would."""

    name = "one"

    def __init__(self, x: float, y: float) -> None:
        self.spot = x, y

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        found = []
        for image in images:
            height, width = image.shape[:2]
            x, y = self.spot[0] * width, self.spot[1] * height
            points = np.zeros((1, 17, 3), np.float32)
            points[0, :5] = [(x + dx, y, 0.8) for dx in (0, -3, 3, -6, 6)]
            points[0, 5:7] = [(x - 15, y + 20, 0.8), (x + 15, y + 20, 0.8)]
            box = np.array([[x - 20, y - 15, x + 20, y + 100]], np.float32)
            found.append(Poses(points, box, np.array([0.9], np.float32)))
        return found


def test_hidden_heads_keep_no_detail_and_the_rest_stays() -> None:
    image = noise()
    head = (0.4, 0.2, 0.5, 0.35)
    hidden = privacy.hide_faces(image, [head])
    assert sharpness(hidden, head) < 0.05 * sharpness(image, head)
    assert np.array_equal(hidden[:, :120], image[:, :120])
    assert np.array_equal(image, noise()), "the picture given stays as it was"


def test_a_head_can_hardly_be_told_from_another() -> None:
    faces = [np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8) for seed in (1, 2)]
    hidden = [privacy.hide_faces(face, [(0, 0, 1, 1)]).astype(int) for face in faces]
    assert np.abs(hidden[0] - hidden[1]).mean() < 0.25 * np.abs(faces[0].astype(int) - faces[1]).mean()


@pytest.mark.parametrize(
    "head", [(-0.5, -0.5, 0.0, 0.0), (0.9, 0.9, 1.6, 1.6), (0.5, 0.5, 0.5, 0.5), (1.2, 0, 1.4, 1)]
)
def test_heads_at_and_beyond_the_edge(head: Box) -> None:
    assert privacy.hide_faces(noise(), [head]).shape == (240, 320, 3)


def test_standing_person_of_the_detector_is_hidden_at_the_top() -> None:
    image = noise()
    shared = privacy.decode(
        privacy.shareable(encoded(image), FULL, {"objects": [person(STANDING)], "counts": {"person": 1}})
    )
    top, legs = (0.42, 0.12, 0.58, 0.28), (0.42, 0.6, 0.58, 0.85)
    assert sharpness(shared, top) < 0.1 * sharpness(image, top)
    assert sharpness(shared, legs) > 0.5 * sharpness(image, legs)


def test_lying_person_is_hidden_at_both_ends() -> None:
    image = noise()
    lying = (0.2, 0.6, 0.8, 0.8)
    shared = privacy.decode(
        privacy.shareable(encoded(image), FULL, {"objects": [person(lying)], "counts": {"person": 1}})
    )
    for end in ((0.22, 0.62, 0.36, 0.78), (0.64, 0.62, 0.78, 0.78)):
        assert sharpness(shared, end) < 0.15 * sharpness(image, end)


def test_box_of_a_region_is_moved_into_the_region() -> None:
    image = noise(128, 384)
    region = {"view": "region", "t_s": 2.0, "box": [0.4, 0.1, 0.6, 0.9]}
    shared = privacy.decode(
        privacy.shareable(encoded(image), region, {"objects": [person(STANDING)], "counts": {"person": 1}})
    )
    assert sharpness(shared, (0.1, 0.02, 0.9, 0.22)) < 0.1 * sharpness(image, (0.1, 0.02, 0.9, 0.22))
    assert sharpness(shared, (0.1, 0.6, 0.9, 0.9)) > 0.5 * sharpness(image, (0.1, 0.6, 0.9, 0.9))


def test_people_who_cannot_be_placed_make_the_whole_picture_coarse() -> None:
    image = noise()
    somewhere = {"objects": [person(STANDING, t_s=9.0)], "counts": {"person": 1}}
    shared = privacy.decode(privacy.shareable(encoded(image), FULL, somewhere))
    for box in ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)):
        assert sharpness(shared, box) < 0.3 * sharpness(image, box)
    nobody = privacy.decode(privacy.shareable(encoded(image), FULL, {"objects": [], "counts": {"car": 1}}))
    assert sharpness(nobody, (0, 0, 1, 1)) > 0.5 * sharpness(image, (0, 0, 1, 1))


def test_pose_finds_the_head_where_nothing_is_stored() -> None:
    image = noise()
    shared = privacy.decode(
        privacy.shareable(encoded(image), FULL, {"counts": {"person": 1}}, OnePose(0.3, 0.3))
    )
    assert sharpness(shared, (0.27, 0.26, 0.33, 0.34)) < 0.1 * sharpness(image, (0.27, 0.26, 0.33, 0.34))
    assert sharpness(shared, (0.6, 0.6, 0.95, 0.95)) > 0.5 * sharpness(image, (0.6, 0.6, 0.95, 0.95))


def test_pose_and_detector_each_cover_what_the_other_missed() -> None:
    image = noise()
    evidence = {"objects": [person((0.7, 0.1, 0.9, 0.9))], "counts": {"person": 1}}
    shared = privacy.decode(privacy.shareable(encoded(image), FULL, evidence, OnePose(0.3, 0.3)))
    for head in ((0.28, 0.27, 0.32, 0.33), (0.72, 0.12, 0.88, 0.28)):
        assert sharpness(shared, head) < 0.12 * sharpness(image, head)


def test_large_pictures_are_made_smaller_and_lose_their_metadata() -> None:
    shared = privacy.shareable(encoded(noise(1600, 900)), FULL, {}, longest_side=480)
    assert privacy.decode(shared).shape == (270, 480, 3)
    assert shared.startswith(b"\xff\xd8\xff")
    assert b"Exif" not in shared


@pytest.mark.parametrize("bad", [b"", b"hello", b"\xff\xd8\xff\xe0" + b"\0" * 40])
def test_what_is_no_image_is_told(bad: bytes) -> None:
    with pytest.raises(FrameStoreError, match="not an image"):
        privacy.shareable(bad, FULL, {})
