from __future__ import annotations

import numpy as np
import pytest

from pipeline.detect.keyframes import FrameRing, Shot, motion_view, region_box, store_views
from pipeline.resize import crop
from pipeline.types import Frame, Moment, View
from tests.media import MemoryFrames, moving_square


def frame(index: int, image: np.ndarray | None = None) -> Frame:
    return Frame(moving_square()(index) if image is None else image, index * 0.2, index)


def test_motion_view_holds_the_three_grey_frames_in_order() -> None:
    greys = [np.full((8, 8, 3), level, np.uint8) for level in (10, 100, 200)]
    view = motion_view(*greys)
    assert view.shape == (8, 8, 3) and view.dtype == np.uint8
    assert view[0, 0].tolist() == [10, 100, 200]


def test_motion_view_refuses_frames_of_different_size() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        motion_view(*(np.zeros((size, 8, 3), np.uint8) for size in (8, 8, 9)))


@pytest.mark.parametrize(
    ("box", "wide", "tall"),
    [
        ((0.4, 0.4, 0.6, 0.6), 0.3, 0.3),
        ((0.5, 0.5, 0.51, 0.51), 0.125, 0.25),
        ((0.0, 0.0, 1.0, 1.0), 1.0, 1.0),
        ((0.98, 0.98, 1.0, 1.0), 0.125, 0.25),
    ],
)
def test_region_is_larger_than_the_box_and_inside_the_frame(
    box: tuple[float, float, float, float], wide: float, tall: float
) -> None:
    x1, y1, x2, y2 = region_box(box, 400, 200)
    assert x2 - x1 == pytest.approx(wide) and y2 - y1 == pytest.approx(tall)
    assert min(x1, y1) >= 0 and max(x2, y2) <= 1 + 1e-9
    assert x1 <= box[0] + 1e-9 and x2 >= box[2] - 1e-9


def test_crop_is_never_empty() -> None:
    assert crop(np.zeros((50, 50, 3), np.uint8), (0.999, 0.999, 1.0, 1.0)).size > 0


def test_ring_is_bounded_in_time_number_and_size() -> None:
    ring = FrameRing(span_s=1.0, capacity=4)
    for index in range(50):
        kept = ring.push(frame(index, np.zeros((1000, 2000, 3), np.uint8)))
        assert max(kept.image.shape) <= 1280
    assert len(ring) == 4
    nearest = ring.near(9.45)
    assert nearest is not None and nearest.index == 47


def test_ring_starts_afresh_when_the_resolution_changes() -> None:
    ring = FrameRing()
    ring.push(frame(0))
    ring.push(frame(1, np.zeros((50, 70, 3), np.uint8)))
    assert len(ring) == 1


def test_views_of_a_moment() -> None:
    store = MemoryFrames()
    shot = Shot(Moment.PEAK, frame(1), frame(0), frame(2), (0.2, 0.2, 0.4, 0.5))
    full, region, motion = store_views(shot, store)
    assert [key.view for key in (full, region, motion)] == [View.FULL, View.REGION, View.MOTION]
    assert full.box is None and region.box == motion.box is not None
    assert (full.width, full.height) == (160, 120)
    for key in (full, region, motion):
        assert store.image(key.sha256).shape == (key.height, key.width, 3)
    shown = store.image(motion.sha256).astype(int)
    wanted = motion_view(*(crop(frame(index).image, motion.box) for index in range(3))).astype(int)
    assert np.abs(shown - wanted).mean() < 12, "the colours that carry motion survive the encoding"


def test_a_still_has_no_motion_view_and_always_a_region() -> None:
    keys = store_views(Shot(Moment.PEAK, frame(0)), MemoryFrames(), is_still=True)
    assert [key.view for key in keys] == [View.FULL, View.REGION]


def test_first_frame_has_no_motion_view() -> None:
    keys = store_views(Shot(Moment.PEAK, frame(0), None, frame(1)), MemoryFrames())
    assert [key.view for key in keys] == [View.FULL]


@pytest.mark.parametrize("known", [(0, 1, 2), (-2, -1, 0), (-1, 0, 1)])
def test_moments_at_the_ends_of_a_clip_have_a_motion_view_too(known: tuple[int, int, int]) -> None:
    """Given neighbours on one side only, when views are stored, then motion is seen beside the moment."""
    ring = FrameRing()
    for index in (index for index in known if index <= 0):
        ring.push(frame(index + 10))
    shot = ring.shot(Moment.PEAK, 2.0, None)
    assert shot is not None and shot.now.index == 10
    for index in (index for index in known if index > 0):
        shot.take(frame(index + 10))
    assert View.MOTION in [key.view for key in store_views(shot, MemoryFrames())]


def test_views_hold_no_frames_of_another_scene() -> None:
    """Given a cut right after a moment, then its views are made of what was seen before it."""
    ring = FrameRing()
    for index in range(8):
        ring.push(frame(index))
    shot = ring.shot(Moment.PEAK, 1.4, None)
    assert shot is not None and shot.after is None
    shot.end()
    ring.clear()
    white = np.full((120, 160, 3), 255, np.uint8)
    for index in range(8, 12):
        shot.take(ring.push(frame(index, white)))
    assert shot.after is None and shot.later is None and len(ring) == 4
    triple = shot.triple()
    assert triple is not None and [one.index for one in triple] == [5, 6, 7]
    (seen,) = shot.clips()
    assert seen.sheet.mean() < 200
