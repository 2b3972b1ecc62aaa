"""The motion gate: what moved since the last sampled frame, at low resolution.

Illumination and camera movement change every pixel without anything happening. Both are taken out before
the difference is read: the median grey-level shift, and the median of a dense optical flow (Kroeger et al.,
"Fast Optical Flow using Dense Inverse Search", 2016). What they explain is reported as ``global_change``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.resize import fitted
from pipeline.types import Array, Box, Image

Mask = NDArray[np.uint8]
_FLOW_LEAST = 48
CUT = 0.4
"""Frames that correlate less have nothing in common. Of the 250 training clips two have such a pair."""
_CUT_SIZE = (32, 24)


@dataclass(frozen=True, slots=True)
class MotionParams:
    """How the gate works.

    Attributes:
        side: Longer side of the analysed frame, px.
        pixel_change: Grey levels (0..255) a pixel must change by, after blurring and compensation.
        min_area: Share of the frame that must move to count as motion.
        min_blob: Share of the frame a single moving blob must cover to be listed.
        hold_s: The gate stays open this long after the last motion.
        global_share: From this share of raw change that compensation explains, a change is global.
    """

    side: int = 320
    pixel_change: int = 14
    min_area: float = 0.0008
    min_blob: float = 0.0006
    hold_s: float = 2.0
    global_share: float = 0.35


@dataclass(frozen=True, slots=True)
class Motion:
    """What moved between two sampled frames.

    Attributes:
        active: Whether the gate is open.
        area: Share of the frame that moved, 0..1.
        energy: Mean compensated grey-level change, 0..1 of full scale.
        mask: Moving pixels, (h, w) uint8 0/255 at analysis resolution.
        blobs: Moving blobs as normalised boxes, largest first, at most 8.
        flow: Compensated flow at half the analysis resolution, (h/2, w/2, 2) frame widths per second;
            ``None`` when too little moved to measure it.
        flow_peak: 99th percentile of its length.
        flow_mean: Mean length where it moves.
        global_change: Share of the frame that changed for no local reason, 0..1.
        cut: It has nothing in common with the frame before: another scene, or a picture that broke. Nothing
            has moved from one to the other.
    """

    active: bool
    area: float
    energy: float
    mask: Mask
    blobs: tuple[Box, ...] = ()
    flow: Array | None = None
    flow_peak: float = 0.0
    flow_mean: float = 0.0
    global_change: float = 0.0
    cut: bool = False

    def share_in(self, box: Box) -> float:
        """Share of a normalised box that moved, 0..1."""
        height, width = self.mask.shape
        x1, x2 = int(box[0] * width), max(int(np.ceil(box[2] * width)), int(box[0] * width) + 1)
        y1, y2 = int(box[1] * height), max(int(np.ceil(box[3] * height)), int(box[1] * height) + 1)
        part = self.mask[y1:y2, x1:x2]
        return float(np.count_nonzero(part)) / part.size if part.size else 0.0


@dataclass(slots=True)
class MotionGate:
    """Keeps the previous frame of one stream."""

    params: MotionParams = field(default_factory=MotionParams)
    _previous: Mask | None = None
    _last_s: float = 0.0
    _open_until_s: float = 0.0
    _still: int = 0

    def small(self, image: Image) -> Image:
        """The frame at analysis resolution."""
        height, width = image.shape[:2]
        scale = self.params.side / max(height, width)
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        return fitted(image, size)

    def update(self, small: Image, t_s: float) -> Motion:
        """Compare with the previous frame of the stream.

        Args:
            small: Frame at analysis resolution, BGR.
            t_s: Its stream time.
        """
        grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0)
        previous, dt = self._previous, max(t_s - self._last_s, 1e-3)
        self._previous, self._last_s = grey, t_s
        cut = previous is not None and previous.shape == grey.shape and alike(previous, grey) < CUT
        if previous is None or previous.shape != grey.shape or cut:
            # A new stream, resolution or scene: look at it once, with nothing to compare to.
            self._open_until_s = t_s + (self.params.hold_s if cut else 0.0)
            nothing = np.zeros_like(grey)
            return Motion(True, 0.0, 0.0, nothing, global_change=float(cut), cut=cut)
        return self._compare(previous, grey, t_s, dt)

    def _compare(self, previous: Mask, grey: Mask, t_s: float, dt: float) -> Motion:
        params = self.params
        raw = cv2.absdiff(grey, previous)
        raw_area = float(np.count_nonzero(raw > params.pixel_change)) / raw.size
        flow = None
        compensated = raw
        if raw_area >= params.min_area / 4:
            shift = float(np.median(grey.astype(np.int16) - previous))
            flow, camera = _flow(previous, grey)
            compensated = _compensate(previous, grey, shift, camera)
        mask = ((compensated > params.pixel_change) * np.uint8(255)).astype(np.uint8)
        if mask.any():
            mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
            mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        area = float(np.count_nonzero(mask)) / mask.size
        peak = mean = 0.0
        if flow is not None:
            flow /= dt
            length = np.hypot(flow[..., 0], flow[..., 1])
            peak = float(np.percentile(length, 99))
            moving = length[length > 0.02]
            mean = float(moving.mean()) if moving.size else 0.0
        moved = area >= params.min_area
        self._still = 0 if moved else self._still + 1
        if moved:
            self._open_until_s = t_s + params.hold_s
        return Motion(
            active=t_s <= self._open_until_s,
            area=area,
            energy=float(compensated.mean()) / 255.0,
            mask=mask,
            # Nothing moves most of the time: an empty mask is not searched.
            blobs=_blobs(mask, params.min_blob) if area else (),
            flow=flow,
            flow_peak=peak,
            flow_mean=mean,
            global_change=max(0.0, raw_area - area) if raw_area >= params.global_share else 0.0,
        )


def alike(one: Mask, other: Mask) -> float:
    """Correlation of two grey pictures of one size at 32 x 24 px, -1 to 1; 1 where either is flat."""
    small = [cv2.resize(image, _CUT_SIZE, interpolation=cv2.INTER_AREA).ravel() for image in (one, other)]
    if min(part.std() for part in small) < 1.0:
        return 1.0
    return float(np.corrcoef(small)[0, 1])


def _flow(previous: Mask, grey: Mask) -> tuple[Array, tuple[float, float]]:
    """Flow in frame widths a frame with the camera's own movement taken out, and that in px."""
    height, width = grey.shape
    # OpenCV's implementation reads out of bounds on images a few pixels high or wide.
    size = (max(_FLOW_LEAST, width // 2), max(_FLOW_LEAST, height // 2))
    before, after = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (previous, grey))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow = dis.calc(before, after, None) * np.array([width / size[0], height / size[1]], np.float32)
    camera = np.median(flow.reshape(-1, 2), axis=0)
    return (flow - camera) / width, (float(camera[0]), float(camera[1]))


def _compensate(previous: Mask, grey: Mask, shift: float, camera: tuple[float, float]) -> Mask:
    if abs(camera[0]) + abs(camera[1]) > 0.2:
        matrix = np.array([[1, 0, camera[0]], [0, 1, camera[1]]], np.float32)
        size = (grey.shape[1], grey.shape[0])
        previous = cv2.warpAffine(previous, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    difference = np.abs(grey.astype(np.int16) - previous - round(shift))
    clipped: Mask = np.minimum(difference, 255).astype(np.uint8)
    return clipped


def _blobs(mask: Mask, min_share: float) -> tuple[Box, ...]:
    height, width = mask.shape
    joined = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    parts = sorted(
        (row for row in stats[1:] if row[4] >= min_share * mask.size), key=lambda row: -int(row[4])
    )
    return tuple(
        (int(x) / width, int(y) / height, int(x + w) / width, int(y + h) / height)
        for x, y, w, h, _ in parts[:8]
    )
