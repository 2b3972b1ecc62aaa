"""Key frames: the few images of a candidate that people and models see.

A moment is shown in up to three views: the whole frame, a crop around what the trigger saw, and a motion
view that puts three neighbouring frames into the colour channels of one image. The peak of what moves is
also shown as clip views (``pipeline.clipview``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.clipview import ClipView, Strip, clip_view
from pipeline.errors import FrameStoreError
from pipeline.interfaces import FrameStore
from pipeline.resize import crop, reduce
from pipeline.types import Box, Frame, Image, KeyFrame, Moment, View

FULL_SIDE = 960
"""Longer side of a full or region view, px, at most."""
MOTION_SIDE = 640
"""Longer side of a motion view, px, at most."""
MOTION_STEP_S = 0.2
"""Time between the three frames of a motion view."""
REGION_EXPAND = 1.5
"""A region is this many times the box the trigger saw."""
REGION_MIN_SHARE = 0.25
"""A region's sides are at least this share of the frame's shorter side."""
_KEPT_SIDE = 1280


@dataclass(slots=True)
class Shot:
    """One moment on its way to becoming key frames.

    Attributes:
        moment: Where in the event it lies.
        now: The frame.
        before: The frame about 0.2 s earlier, if there is one.
        after: The frame about 0.2 s later; filled in when it arrives.
        box: What the trigger saw, normalised, or ``None`` for the whole frame.
        earlier: The frame about 0.4 s earlier, for moments at the end of a clip.
        later: The frame about 0.4 s later, for moments at its beginning; filled in when it arrives.
        strip: Frames for clip views, for a peak.
        seen: The clip views, as soon as all their frames are there; they are let go of then.
        ended: Frames to come show another scene.
    """

    moment: Moment
    now: Frame
    before: Frame | None = None
    after: Frame | None = None
    box: Box | None = None
    earlier: Frame | None = None
    later: Frame | None = None
    strip: Strip | None = None
    seen: tuple[ClipView, ...] = ()
    ended: bool = False

    def end(self) -> None:
        """No frame to come belongs to it."""
        self.seen, self.strip, self.ended = self.clips(), None, True

    def take(self, frame: Frame) -> None:
        """Fill in what is missing with a frame that has just arrived, if it is of the same size."""
        if self.ended or frame.t_s <= self.now.t_s or frame.image.shape != self.now.image.shape:
            return
        if self.strip is not None:
            self.strip.add(frame)
            if self.strip.is_complete():
                self.seen, self.strip = self.clips(), None
        if self.after is None:
            self.after = frame
        elif self.later is None and frame.t_s > self.after.t_s:
            self.later = frame

    def clips(self) -> tuple[ClipView, ...]:
        """Clip views around what the trigger saw, from the frames known by now; none from too few."""
        if self.strip is None:
            return self.seen
        return tuple(
            clip_view([frame.image for frame in frames], self.region())
            for frames in self.strip.chosen()
            if all(frame.image.shape == self.now.image.shape for frame in frames)
        )

    def region(self) -> Box | None:
        """The part of the frame around what the trigger saw."""
        height, width = self.now.image.shape[:2]
        return None if self.box is None else region_box(self.box, width, height)

    def triple(self) -> tuple[Frame, Frame, Frame] | None:
        """Three neighbouring frames for a motion view, around the moment or, at a clip's ends, beside it."""
        for one, two, three in (
            (self.before, self.now, self.after),
            (self.earlier, self.before, self.now),
            (self.now, self.after, self.later),
        ):
            if one is not None and two is not None and three is not None:
                return one, two, three
        return None


class FrameRing:
    """The last seconds of sampled frames, scaled down to what key frames need, bounded in number.

    Args:
        span_s: How far back it reaches.
        capacity: Most frames it holds.
    """

    def __init__(self, span_s: float = 2.5, capacity: int = 24) -> None:
        self._span_s = span_s
        self._frames: deque[Frame] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: Frame) -> Frame:
        """Add a frame and return it as it is kept (longer side at most 1280 px)."""
        kept = Frame(shrink(frame.image, _KEPT_SIDE), frame.t_s, frame.index)
        if self._frames and self._frames[-1].image.shape != kept.image.shape:
            # A camera that changes its resolution starts afresh: views are made of equal frames only.
            self._frames.clear()
        self._frames.append(kept)
        while kept.t_s - self._frames[0].t_s > self._span_s:
            self._frames.popleft()
        return kept

    def clear(self) -> None:
        """Forget what was seen: the stream shows another scene from here on."""
        self._frames.clear()

    def near(self, t_s: float) -> Frame | None:
        """The kept frame closest to a time, or ``None`` when empty."""
        return min(self._frames, key=lambda frame: abs(frame.t_s - t_s), default=None)

    def shot(self, moment: Moment, t_s: float, box: Box | None) -> Shot | None:
        """A moment from the ring, with the neighbours it already has."""
        now = self.near(t_s)
        if now is None:
            return None
        before = self._before(now)
        shot = Shot(moment, now, before, None, box, None if before is None else self._before(before))
        if moment is Moment.PEAK:
            shot.strip = Strip(now.t_s)
            for frame in self._frames:
                shot.strip.add(frame)
        for step in (1, 2):
            following = self.near(now.t_s + step * MOTION_STEP_S)
            if following is not None:
                shot.take(following)
        return shot

    def _before(self, frame: Frame) -> Frame | None:
        found = self.near(frame.t_s - MOTION_STEP_S)
        return found if found is not None and found.t_s < frame.t_s else None


def motion_view(before: Image, now: Image, after: Image) -> Image:
    """Three frames as one image: their grey levels are its B, G and R channels.

    What stands still looks grey, what moves has coloured edges whose order of colours tells the direction.

    Args:
        before: BGR frame, about 0.2 s before ``now``.
        now: BGR frame.
        after: BGR frame, about 0.2 s after ``now``.

    Returns:
        uint8 image of the same height and width, 3 channels.

    Raises:
        ValueError: The frames differ in size.
    """
    if not before.shape == now.shape == after.shape:
        raise ValueError(f"frames differ in size: {before.shape}, {now.shape}, {after.shape}")
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (before, now, after)]
    merged: Image = cv2.merge(greys)
    return merged


def region_box(box: Box, width: int, height: int) -> Box:
    """The part of the frame to crop for a box.

    Args:
        box: What the trigger saw, normalised.
        width: Pixels of the frame.
        height: Pixels of the frame.

    Returns:
        Normalised box: 1.5 times as large, sides at least a quarter of the frame's shorter side, moved
        inside the frame and clipped to it.
    """
    least = REGION_MIN_SHARE * min(width, height)
    spans = []
    for low, high, size in ((box[0], box[2], width), (box[1], box[3], height)):
        side = min(max((high - low) * size * REGION_EXPAND, least), float(size))
        start = min(max((low + high) / 2 * size - side / 2, 0.0), size - side)
        spans.append((start / size, (start + side) / size))
    return (spans[0][0], spans[1][0], spans[0][1], spans[1][1])


def shrink(image: Image, side: int) -> Image:
    """Scale down, never up, until the longer side is at most ``side`` px."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return image
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    return reduce(image, size)


def store_views(shot: Shot, frame_store: FrameStore, *, is_still: bool = False) -> list[KeyFrame]:
    """Encode and store the views of one moment.

    Args:
        shot: The moment.
        frame_store: Where the encoded images go.
        is_still: A still image has no motion view.

    Returns:
        Full view, region view when the trigger saw a box, motion view when enough neighbours are known.

    Raises:
        FrameStoreError: An image cannot be encoded or stored.
    """
    image, box = shot.now.image, shot.region()
    if is_still and box is None:
        box = (0.0, 0.0, 1.0, 1.0)
    views = [_keep(shrink(image, FULL_SIDE), View.FULL, shot, None, frame_store)]
    if box is not None:
        views.append(_keep(shrink(crop(image, box), FULL_SIDE), View.REGION, shot, box, frame_store))
    neighbours = None if is_still else shot.triple()
    if neighbours is not None:
        parts = [frame.image if box is None else crop(frame.image, box) for frame in neighbours]
        motion = motion_view(*(shrink(part, MOTION_SIDE) for part in parts))
        views.append(_keep(motion, View.MOTION, shot, box, frame_store))
    return views


def store_clips(shot: Shot, frame_store: FrameStore) -> list[KeyFrame]:
    """Encode and store the clip views of a peak, of what its trigger saw and where it moves meanwhile.

    Returns:
        Up to two views; nothing where too few frames are known.

    Raises:
        FrameStoreError: It cannot be encoded or stored.
    """
    return [_keep(seen.sheet, View.CLIP, shot, seen.box, frame_store) for seen in shot.clips()]


def _keep(image: Image, view: View, shot: Shot, box: Box | None, frame_store: FrameStore) -> KeyFrame:
    quality = 92 if view is View.MOTION else 90
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if view is View.MOTION:
        # Colour carries the motion here, so it must not be stored at half resolution.
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image), options)
    if not done:
        raise FrameStoreError(f"a {view} view of {image.shape[1]} x {image.shape[0]} px cannot be encoded")
    return KeyFrame(
        sha256=frame_store.put(encoded.tobytes()),
        view=view,
        moment=shot.moment,
        t_s=round(shot.now.t_s, 3),
        width=image.shape[1],
        height=image.shape[0],
        box=None if box is None else tuple(round(value, 4) for value in box),  # type: ignore[arg-type]
    )
