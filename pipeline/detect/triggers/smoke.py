"""Smoke: greyish areas that hide the background's detail and spread.

Loss of fine texture against the learned background, low colour, and growth are the classic cues (Toreyin
et al., "Wavelet based real-time smoke detection in video", 2005). Worked out on blocks of the small frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect import facts
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.triggers.fire import around
from pipeline.types import Array, EventType, Image


@dataclass(frozen=True, slots=True)
class SmokeParams:
    """Thresholds.

    Attributes:
        block: Side of a block, px of the small frame.
        texture_loss: Share of its fine detail a block must have lost.
        brightness_change: Grey levels its mean must have moved.
        max_saturation: Largest colour saturation (0..255) of smoke.
        min_area: Least share of blocks.
        frames: How many of the last eight frames must agree.
        background_s: Time constant of the background.
        stay_s: A block must look so this long: people pass, smoke stays.
        still_area: Least smoke-like share of a single picture, where nothing scores appearance.
        attribute: From this ``smoke`` probability of an appearance scorer on, the look alone counts.
        attribute_frames: In so many frames in a row.
        still_attribute: Least such probability on a single picture.
        veto: Below this one, texture and colour do not count.
    """

    block: int = 10
    texture_loss: float = 0.35
    brightness_change: float = 7.0
    max_saturation: float = 90.0
    min_area: float = 0.02
    frames: int = 5
    background_s: float = 15.0
    stay_s: float = 1.0
    still_area: float = 0.04
    attribute: float = 0.4
    attribute_frames: int = 7
    still_attribute: float = 0.05
    veto: float = 0.05


class SmokeTrigger:
    """Suspects smoke.

    Args:
        params: Thresholds.
    """

    name = "smoke-texture-colour"
    event_type = EventType.SMOKE

    def __init__(self, params: SmokeParams | None = None) -> None:
        self.params = params or SmokeParams()
        self._texture: Array | None = None
        self._mean: Array | None = None
        self._stay: Array | None = None
        self._looks = 0
        self._votes: deque[bool] = deque(maxlen=8)
        self._areas: deque[tuple[float, float]] = deque(maxlen=40)

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if scene.is_still:
            return self._still(scene)
        texture, mean, saturation = blocks(scene.small, self.params.block)
        if self._texture is None or self._mean is None or self._texture.shape != texture.shape:
            self._texture, self._mean, self._stay = texture, mean, np.zeros_like(mean)
            return None
        lost = 1.0 - texture / np.maximum(self._texture, 1e-3)
        changed = np.abs(mean - self._mean) >= self.params.brightness_change
        smoky = (
            (lost >= self.params.texture_loss)
            & changed
            & (self._texture >= 3.0)
            & (saturation <= self.params.max_saturation)
            & (mean >= 50)
        )
        smoky &= ~_alive(scene, mean.shape)
        assert self._stay is not None
        self._stay = np.where(smoky, self._stay + scene.dt_s, np.maximum(self._stay - scene.dt_s, 0)).astype(
            np.float32
        )
        smoky &= self._stay >= self.params.stay_s
        rate = min(1.0, scene.dt_s / self.params.background_s)
        self._texture += rate * (texture - self._texture)
        self._mean += rate * (mean - self._mean)
        area = float(smoky.mean())
        self._areas.append((scene.t_s, area))
        sudden = scene.motion.global_change > 0.3
        seen = scene.attributes.get("smoke")
        hazy = area >= self.params.min_area and not sudden
        self._votes.append(hazy and (seen is None or seen >= self.params.veto))
        self._looks = self._looks + 1 if (seen or 0.0) >= self.params.attribute else 0
        spreads = self._votes[-1] and sum(self._votes) >= self.params.frames
        if not spreads and self._looks < self.params.attribute_frames:
            return None
        first_s, first = self._areas[0]
        spread = (area - first) / max(scene.t_s - first_s, 0.5)
        hidden = float(lost[smoky].mean()) if area else 0.0
        score = 0.2 + 0.2 * min(1.0, area / 0.15) + 0.2 * min(1.0, hidden / 0.8) + 0.4 * (seen or 0.0)
        measured = {
            facts.SMOKE_AREA: round(area, 3),
            facts.SMOKE_SPREAD: round(spread, 4),
            facts.TEXTURE_LOSS: round(hidden, 2),
            facts.MOTION_AREA: round(scene.motion.area, 4),
        }
        note = (
            f"A greyish area over {area:.0%} of the frame hides {hidden:.0%} of the background's detail."
            if spreads
            else "The picture as a whole looks like smoke."
        )
        return Firing(score, note, measured, around(smoky))

    def _still(self, scene: Scene) -> Firing | None:
        plume = smoke_like(scene.small)
        share, seen = float(plume.mean()), scene.attributes.get("smoke")
        if share < self.params.still_area if seen is None else seen < self.params.still_attribute:
            return None
        measured = {facts.SMOKE_AREA: round(share, 3), facts.STILL_IMAGE: True}
        score = 0.2 + 0.3 * min(1.0, share / 0.3) if seen is None else 0.2 + 0.7 * seen
        note = f"Pale, colourless, textureless haze covers {share:.0%} of the picture."
        return Firing(score, note, measured, around(plume) if share else None)


def _alive(scene: Scene, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Blocks behind people, vehicles and animals: those hide the background too."""
    covered = np.zeros(shape, bool)
    rows, columns = shape
    for track in scene.tracks:
        x1, y1, x2, y2 = scene.norm(track.box)
        covered[
            max(0, int(y1 * rows) - 1) : int(y2 * rows) + 2,
            max(0, int(x1 * columns) - 1) : int(x2 * columns) + 2,
        ] = True
    return covered


def blocks(small: Image, side: int) -> tuple[Array, Array, Array]:
    """Fine detail, mean grey level and mean saturation of each block.

    Returns:
        Three arrays (rows, columns) float32; detail is the mean absolute Laplacian, grey levels.
    """
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    size = (max(1, small.shape[1] // side), max(1, small.shape[0] // side))
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    saturation = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)[..., 1]
    texture, mean, colour = (
        cv2.resize(np.asarray(part, np.float32), size, interpolation=cv2.INTER_AREA)
        for part in (detail, grey, saturation)
    )
    return np.asarray(texture), np.asarray(mean), np.asarray(colour)


def smoke_like(small: Image) -> NDArray[np.bool_]:
    """Blocks of one picture that may be smoke: pale or grey, nearly colourless, soft but not flat.

    Blocks connected to the top edge that are perfectly smooth are taken for sky.
    """
    texture, mean, colour = blocks(small, 8)
    soft = (colour <= 70) & (mean >= 90) & (mean <= 245) & (texture <= 12.0)
    flat_sky = (soft & (texture <= 1.2)).astype(np.uint8)
    count, labels = cv2.connectedComponents(flat_sky)
    for label in range(1, count):
        if np.any(labels[0] == label):
            soft &= labels != label
    return np.asarray(soft, bool)
