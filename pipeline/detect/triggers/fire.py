"""Fire: flame colours that flicker.

Flame colour rules after Celik & Demirel, "Fire detection in video sequences using a generic color model",
2009 (R > G > B, bright, Cr above Cb); flames change their shape all the time, lamps and signs do not
(Toreyin et al., "Computer vision based method for real-time fire and flame detection", 2006).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detect import facts
from pipeline.detect.light import COLOURLESS, brightness_and_colour
from pipeline.detect.scene import Firing, Scene
from pipeline.types import Box, EventType, Image, JsonScalar

_Mask = NDArray[np.bool_]
_RED = 180
_RED_OVER_BLUE = 70


@dataclass(frozen=True, slots=True)
class FireParams:
    """Thresholds.

    Attributes:
        min_pixels: Least share of the frame in flame colours.
        flicker: Least share of the flame-coloured area that changes between sampled frames.
        frames: How many of the last five frames must agree.
        still_pixels: Least share of a single picture in flame colours, where nothing scores appearance.
        attribute: From this ``fire`` probability of an appearance scorer on, the look alone counts.
        attribute_frames: In so many frames in a row.
        still_attribute: Least such probability on a single picture.
        veto: Below this one, colours do not count.
    """

    min_pixels: float = 0.0006
    flicker: float = 0.12
    frames: int = 3
    still_pixels: float = 0.002
    attribute: float = 0.4
    attribute_frames: int = 7
    still_attribute: float = 0.1
    veto: float = 0.05


class FireTrigger:
    """Suspects open flames.

    Args:
        params: Thresholds.
    """

    name = "fire-colour-flicker"
    event_type = EventType.FIRE

    def __init__(self, params: FireParams | None = None) -> None:
        self.params = params or FireParams()
        self._mask: _Mask | None = None
        self._grey: Image | None = None
        self._votes: deque[bool] = deque(maxlen=5)
        self._first_share = 0.0
        self._looks = 0

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        # Codecs repaint fine noise at every key frame; that is not flicker.
        small: Image = cv2.blur(scene.small, (3, 3))
        mask = flame_mask(small)
        share = float(mask.mean())
        if scene.is_still:
            return self._still(scene, mask, share)
        grey: Image = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        earlier, earlier_grey = self._mask, self._grey
        self._mask, self._grey = mask, grey
        if earlier is None or earlier_grey is None or earlier.shape != mask.shape or scene.motion.cut:
            # Between two scenes nothing flickers, and what one looked like says nothing of the other.
            self._votes.clear()
            self._looks = 0
            return None
        flicker = flickering(mask, earlier, grey, earlier_grey)
        seen = scene.attributes.get("fire")
        coloured = share >= self.params.min_pixels and flicker >= self.params.flicker
        self._votes.append(coloured and (seen is None or seen >= self.params.veto))
        self._looks = self._looks + 1 if (seen or 0.0) >= self.params.attribute else 0
        burns = self._votes[-1] and sum(self._votes) >= self.params.frames
        if not burns and self._looks < self.params.attribute_frames:
            if not any(self._votes):
                self._first_share = 0.0
            return None
        self._first_share = self._first_share or share
        score = (
            0.2 + 0.2 * min(1.0, share / 0.03) ** 0.5 + 0.2 * min(1.0, flicker / 0.5) + 0.4 * (seen or 0.0)
        )
        measured = _flames(scene, share) | {
            facts.FIRE_FLICKER: round(flicker, 2),
            facts.FIRE_GROWTH: round(min(99.0, share / max(self._first_share, 1e-4)), 2),
            facts.MOTION_AREA: round(scene.motion.area, 4),
        }
        note = (
            f"Flame-coloured light covers {share:.1%} of the frame and flickers."
            if burns
            else "The picture as a whole looks like fire."
        )
        return Firing(score, note, measured, around(mask) if coloured else None)

    def _still(self, scene: Scene, mask: _Mask, share: float) -> Firing | None:
        seen = scene.attributes.get("fire")
        if share < self.params.still_pixels if seen is None else seen < self.params.still_attribute:
            return None
        score = 0.2 + 0.4 * min(1.0, share / 0.05) ** 0.5 if seen is None else 0.2 + 0.7 * seen
        measured = _flames(scene, share) | {facts.STILL_IMAGE: True}
        note = f"Flame-coloured light covers {share:.1%} of the picture."
        return Firing(score, note, measured, around(mask) if share else None)


def _flames(scene: Scene, share: float) -> dict[str, JsonScalar]:
    """The share in flame colours, where there are colours: under infrared light a fire has none."""
    _, colour = brightness_and_colour(scene.small)
    return {facts.FIRE_PIXELS: round(share, 4)} if colour >= COLOURLESS else {}


def flame_mask(small: Image) -> _Mask:
    """Pixels in flame colours, without specks."""
    # Most pictures have no such red anywhere: that is seen for a tenth of what the whole rule costs.
    if not (cv2.subtract(small[..., 2], small[..., 0])[small[..., 2] >= _RED] >= _RED_OVER_BLUE).any():
        return np.zeros(small.shape[:2], np.bool_)
    blue, green, red = (small[..., channel].astype(np.int16) for channel in range(3))
    ycrcb = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)
    luma, cr, cb = (ycrcb[..., channel].astype(np.int16) for channel in range(3))
    rule = (red >= _RED) & (red > green) & (green > blue) & (red - blue >= _RED_OVER_BLUE) & (cr - cb >= 35)
    rule &= luma > luma.mean()
    opened = cv2.morphologyEx(rule.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    result: _Mask = opened > 0
    return result


def flickering(mask: _Mask, earlier: _Mask, grey: Image, earlier_grey: Image) -> float:
    """Share of the flame-coloured area (now or before) that changed colour class or brightness, 0..1."""
    either = mask | earlier
    total = int(np.count_nonzero(either))
    if not total:
        return 0.0
    changed = (mask ^ earlier) | (cv2.absdiff(grey, earlier_grey) > 18)
    return float(np.count_nonzero(changed & either)) / total


def around(mask: _Mask) -> Box | None:
    """Box around the middle 96 % of a mask, normalised."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    height, width = mask.shape
    x1, x2 = np.percentile(columns, [2, 98])
    y1, y2 = np.percentile(rows, [2, 98])
    return (float(x1) / width, float(y1) / height, float(x2 + 1) / width, float(y2 + 1) / height)
