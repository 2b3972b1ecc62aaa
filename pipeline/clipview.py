"""The clip view: eight frames around a moment in one picture, for what no single frame shows.

They lie 0.2 s apart, in reading order on a sheet four across and two down. A moment has two, which overlap:
the 1.4 s up to it, and from 0.8 s before to 0.6 s after it. At the ends of a stream both move to where frames
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np

from pipeline.resize import crop, fitted
from pipeline.types import Box, Frame, Image

CLIP_FRAMES = 8
CLIP_STEP_S = 0.2
CLIP_COLUMNS, CLIP_ROWS = 4, 2
CELL_SIDE = 160
"""Longer side of one frame on the sheet, px."""
_SPAN_S = (CLIP_FRAMES - 1) * CLIP_STEP_S
_SHIFT_S = 0.6
"""The second clip view of a moment begins this much later than the first."""
_WHOLE_S = _SPAN_S + _SHIFT_S
_LEAD_S = _SPAN_S
_GRACE_S = 0.05
_LEAST_FRAMES = 3
_LEAST_SHARE = 0.5
"""A clip view's part of the frame is at least this share of the frame's shorter side."""
_ENERGY_SIZE = (80, 60)
_ENERGY_BLUR = 3.0
_ENERGY_SHARE = 0.4
"""It moves where differences are at least this share of the largest."""
_ENERGY_STEP = 2.0
"""Smaller differences between two frames, grey levels, are noise."""
_ENERGY_MARGIN = 1.3


@dataclass(frozen=True, slots=True)
class ClipView:
    """A sheet and the part of the frame that it shows, normalised; ``None`` for all of it."""

    sheet: Image
    box: Box | None


@dataclass(slots=True)
class Strip:
    """Frames around one moment, gathered as they arrive.

    Attributes:
        moment_s: The moment.
        frames: What is known so far, in order of time, no further away than may be needed.
    """

    moment_s: float
    frames: list[Frame] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """Take in a frame if it may be needed; frames come in order."""
        if self.frames and frame.t_s <= self.frames[-1].t_s:
            return
        if self.moment_s - _WHOLE_S - _GRACE_S <= frame.t_s <= self._until() + _GRACE_S:
            self.frames.append(frame)

    def is_complete(self) -> bool:
        """Whether no later frame can be needed."""
        return bool(self.frames) and self.frames[-1].t_s >= self._until() - _GRACE_S

    def chosen(self) -> list[list[Frame]]:
        """Eight frames for each sheet, some twice where few were seen.

        Two sheets; one where the stream is too short for a second to show more; none when nothing can move.
        """
        if len(self.frames) < _LEAST_FRAMES:
            return []
        times = np.array([frame.t_s for frame in self.frames])
        start = min(max(self.moment_s - _LEAD_S, times[0]), max(times[-1] - _WHOLE_S, times[0]))
        later = min(start + _SHIFT_S, times[-1] - _SPAN_S)
        starts = [start, later] if later - start >= CLIP_STEP_S - _GRACE_S else [start]
        steps = CLIP_STEP_S * np.arange(CLIP_FRAMES)
        return [[self.frames[int(np.abs(times - at).argmin())] for at in one + steps] for one in starts]

    def _until(self) -> float:
        """Until when frames are needed: later where the stream began shortly before the moment."""
        first = self.frames[0].t_s if self.frames else self.moment_s
        return max(self.moment_s - _LEAD_S, first) + _WHOLE_S


def clip_view(images: Sequence[Image], box: Box | None) -> ClipView:
    """The clip view of what a trigger saw and of where it moves meanwhile.

    What the trigger saw at one moment is often less than what moves around it in a second and a half: a clip
    view of that alone tells fights apart less well (``models/train/EXPERIMENTS.md``).

    Args:
        images: Eight BGR uint8 frames of one size.
        box: What the trigger saw, normalised; ``None`` for the whole frame.
    """
    if box is None:
        return ClipView(clip_sheet(images), None)
    height, width = images[0].shape[:2]
    moving = moving_box(images)
    if moving is not None:
        box = (
            min(box[0], moving[0]),
            min(box[1], moving[1]),
            max(box[2], moving[2]),
            max(box[3], moving[3]),
        )
    part = squared(box, 1.0, width, height, least=_LEAST_SHARE)
    return ClipView(clip_sheet([crop(image, part) for image in images]), part)


def moving_box(images: Sequence[Image]) -> Box | None:
    """Box around the strongest movement in frames of one size, square in pixels; ``None`` if all is still."""
    grey = [
        cv2.cvtColor(fitted(image, _ENERGY_SIZE), cv2.COLOR_BGR2GRAY).astype(np.float32) for image in images
    ]
    energy = np.sum([cv2.absdiff(one, other) for one, other in pairwise(grey)], axis=0)
    energy = cv2.GaussianBlur(energy, (0, 0), _ENERGY_BLUR)
    if energy.max() < _ENERGY_STEP * (len(images) - 1):
        return None
    rows, columns = np.nonzero(energy > _ENERGY_SHARE * energy.max())
    width, height = _ENERGY_SIZE
    box = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    return squared(box, _ENERGY_MARGIN, images[0].shape[1], images[0].shape[0])


def squared(box: Box, factor: float, width: float, height: float, *, least: float = 0.0) -> Box:
    """A box grown about its centre and made square in pixels, moved inside the frame and clipped to it.

    Args:
        box: Normalised.
        factor: Growth of the longer side.
        width: Of the frame, in any unit.
        height: Of the frame, in the same unit.
        least: Its side is at least this share of the frame's shorter side.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    side = max(max((x2 - x1) * width, (y2 - y1) * height) * factor, least * min(width, height))
    half_w, half_h = min(side / width, 1.0) / 2, min(side / height, 1.0) / 2
    x, y = min(max((x1 + x2) / 2, half_w), 1 - half_w), min(max((y1 + y2) / 2, half_h), 1 - half_h)
    return (x - half_w, y - half_h, x + half_w, y + half_h)


def clip_sheet(images: Sequence[Image]) -> Image:
    """Frames of one size on one sheet.

    Args:
        images: Eight BGR uint8 pictures.

    Returns:
        uint8 of four by two cells, each with its longer side 160 px.

    Raises:
        ValueError: They are not eight, or differ in size.
    """
    if len(images) != CLIP_FRAMES or len({image.shape for image in images}) != 1:
        raise ValueError(f"a clip view needs {CLIP_FRAMES} frames of one size, got {len(images)}")
    height, width = images[0].shape[:2]
    scale = CELL_SIDE / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = [fitted(image, size) for image in images]
    rows = [np.hstack(small[row * CLIP_COLUMNS : (row + 1) * CLIP_COLUMNS]) for row in range(CLIP_ROWS)]
    return np.ascontiguousarray(np.vstack(rows))


def cells(sheet: Image) -> list[Image]:
    """The eight frames of a sheet, in order of time."""
    height, width = sheet.shape[0] // CLIP_ROWS, sheet.shape[1] // CLIP_COLUMNS
    return [
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y in range(CLIP_ROWS)
        for x in range(CLIP_COLUMNS)
    ]
