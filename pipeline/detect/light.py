"""How bright and how colourful a picture is: what a rule on colour or darkness may be asked about."""

from __future__ import annotations

from typing import Final

import cv2

from pipeline.types import Image

COLOURLESS: Final = 14.0
"""Mean colour saturation (0..255) below which a picture has no colours to speak of (infrared light, say)."""


def brightness_and_colour(small: Image) -> tuple[float, float]:
    """Mean brightness and mean colour saturation of a BGR picture, both 0..255 (V and S of HSV)."""
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    return float(hsv[..., 2].mean()), float(hsv[..., 1].mean())
