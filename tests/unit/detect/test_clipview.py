"""Clip views: which frames they show, and that stage 1 makes them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clipview import CELL_SIDE, CLIP_FRAMES, Strip, cells, clip_sheet, clip_view, moving_box, squared
from pipeline.detect.keyframes import FrameRing, Shot, store_clips
from pipeline.types import Box, Frame, Image, Moment, View
from tests.media import MemoryFrames


def grey(level: int, size: tuple[int, int] = (90, 120)) -> Image:
    return np.full((*size, 3), level, np.uint8)


def at(index: int) -> Frame:
    return Frame(grey(index * 5), index * 0.2, index)


def shown(sheet: Image) -> list[int]:
    return [round(float(cell.mean()) / 5) for cell in cells(sheet)]


def test_a_sheet_holds_its_frames_in_reading_order() -> None:
    sheet = clip_sheet([grey(level * 20) for level in range(CLIP_FRAMES)])
    assert sheet.shape == (2 * 120, 4 * CELL_SIDE, 3)
    assert [int(cell.mean()) for cell in cells(sheet)] == [level * 20 for level in range(CLIP_FRAMES)]


@pytest.mark.parametrize("count", [0, 7, 9])
def test_a_sheet_needs_eight_frames(count: int) -> None:
    with pytest.raises(ValueError, match="8 frames"):
        clip_sheet([grey(0)] * count)
    with pytest.raises(ValueError, match="one size"):
        clip_sheet([grey(0)] * 7 + [grey(0, (80, 120))])


@pytest.mark.parametrize(
    ("moment", "known", "wanted"),
    [
        (20, range(5, 40), [range(13, 21), range(16, 24)]),
        (2, range(40), [range(8), range(3, 11)]),
        (38, range(20, 40), [range(29, 37), range(32, 40)]),
        (8, range(9), [range(8), range(1, 9)]),
        (7, range(8), [range(8)]),
    ],
    ids=["inside", "stream begins", "stream ends", "short stream", "eight frames"],
)
def test_the_windows_move_to_where_frames_are(moment: int, known: range, wanted: list[range]) -> None:
    strip = Strip(moment * 0.2)
    for index in known:
        strip.add(at(index))
    assert [[frame.index for frame in frames] for frames in strip.chosen()] == [list(one) for one in wanted]
    assert len(strip.frames) <= 3 * CLIP_FRAMES


def test_a_stream_of_three_frames_shows_the_last_again() -> None:
    strip = Strip(20 * 0.2)
    for index in range(19, 22):
        strip.add(at(index))
    (only,) = strip.chosen()
    assert [frame.index for frame in only] == [19, 20, 21, 21, 21, 21, 21, 21]


def test_two_frames_show_no_movement() -> None:
    strip = Strip(0.2)
    strip.add(at(0))
    strip.add(at(1))
    assert strip.chosen() == []


def test_a_peak_gets_its_clip_views_and_lets_go_of_the_frames() -> None:
    """When a peak has its later frames, one view leads up to it and one lies around it."""
    ring, store = FrameRing(), MemoryFrames()
    for index in range(15):
        ring.push(at(index))
    shot = ring.shot(Moment.PEAK, 14 * 0.2, None)
    assert shot is not None
    early = [shown(view.sheet) for view in shot.clips()]
    assert early == [list(range(4, 12)), list(range(7, 15))], "what is known so far"
    for index in range(15, 25):
        shot.take(at(index))
    assert shot.strip is None, "frames are not held for the rest of the event"
    keys = store_clips(shot, store)
    assert {(key.view, key.moment, key.t_s) for key in keys} == {(View.CLIP, Moment.PEAK, 2.8)}
    assert [shown(store.image(key.sha256)) for key in keys] == [list(range(7, 15)), list(range(10, 18))]


def strip_of(spots: list[tuple[int, int]], level: int = 200) -> Strip:
    """Eight frames with a bright spot at these places, (row, column)."""
    frames = []
    for index, (row, column) in enumerate(spots):
        picture = grey(0)
        picture[row : row + 10, column : column + 10] = level
        frames.append(Frame(picture, index * 0.2, index))
    return Strip(0.4, frames)


def test_a_clip_view_shows_what_the_trigger_saw() -> None:
    strip = strip_of([(40, 55)] * 8)
    shot = Shot(Moment.PEAK, strip.frames[2], box=(0.45, 0.4, 0.55, 0.6), strip=strip)
    (key,) = store_clips(shot, MemoryFrames())
    assert key.box == pytest.approx((0.3125, 0.25, 0.6875, 0.75), abs=0.01), "half the shorter side, square"
    assert key.height == 2 * CELL_SIDE and key.width == pytest.approx(4 * CELL_SIDE, abs=40)


def test_a_clip_view_shows_where_it_moves_as_well() -> None:
    strip = strip_of([(40, 60 + 6 * step) for step in range(8)])
    shot = Shot(Moment.PEAK, strip.frames[2], box=(0.5, 0.4, 0.6, 0.6), strip=strip)
    (key,) = store_clips(shot, MemoryFrames())
    assert key.box is not None and key.box[2] > 0.9, "the spot goes to the right"


def test_noise_is_no_movement() -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(100, 104, (90, 120, 3)).astype(np.uint8) for _ in range(8)]
    assert moving_box(pictures) is None
    assert clip_view(pictures, None).box is None


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((0.4, 0.4, 0.6, 0.6), (0.4, 0.4 - 0.1 / 3, 0.6, 0.6 + 0.1 / 3)),
        ((0.9, 0.9, 1.0, 1.0), (0.9, 1 - 0.4 / 3, 1.0, 1.0)),
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
    ],
    ids=["grows", "stays inside", "whole frame"],
)
def test_a_part_is_square_in_pixels(box: Box, wanted: Box) -> None:
    assert squared(box, 1.0, 400, 300) == pytest.approx(wanted)


def test_moments_before_and_after_have_none() -> None:
    ring = FrameRing()
    for index in range(10):
        ring.push(at(index))
    shot = ring.shot(Moment.BEFORE, 1.0, None)
    assert shot is not None and store_clips(shot, MemoryFrames()) == []
