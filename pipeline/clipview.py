"""The clip view: eight frames around a moment in one picture, for what no single frame shows.

They lie 0.2 s apart, from 0.8 s before the moment to 0.6 s after it, in reading order on a sheet four
across and two down. At the ends of a stream the window moves to where frames are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.resize import fitted
from pipeline.types import Frame, Image

CLIP_FRAMES = 8
CLIP_STEP_S = 0.2
CLIP_COLUMNS, CLIP_ROWS = 4, 2
CELL_SIDE = 160
"""Longer side of one frame on the sheet, px."""
_LEAD_S = 0.8
_SPAN_S = (CLIP_FRAMES - 1) * CLIP_STEP_S
_GRACE_S = 0.05
_LEAST_FRAMES = 3


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
        if self.moment_s - _SPAN_S - _GRACE_S <= frame.t_s <= self._until() + _GRACE_S:
            self.frames.append(frame)

    def is_complete(self) -> bool:
        """Whether no later frame can be needed."""
        return bool(self.frames) and self.frames[-1].t_s >= self._until() - _GRACE_S

    def chosen(self) -> list[Frame]:
        """Eight frames for the sheet, some twice where few were seen; none when nothing can move in them."""
        if len(self.frames) < _LEAST_FRAMES:
            return []
        times = np.array([frame.t_s for frame in self.frames])
        start = min(max(self.moment_s - _LEAD_S, times[0]), max(times[-1] - _SPAN_S, times[0]))
        wanted = start + CLIP_STEP_S * np.arange(CLIP_FRAMES)
        return [self.frames[int(np.abs(times - at).argmin())] for at in wanted]

    def _until(self) -> float:
        """Until when frames are needed: later where the stream began shortly before the moment."""
        first = self.frames[0].t_s if self.frames else self.moment_s
        return max(self.moment_s - _LEAD_S, first) + _SPAN_S


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
