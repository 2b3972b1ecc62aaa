"""A second look at the whole scene, tile by tile, with the encoder as ImageNet left it.

Fine-tuning on our corpus makes the eyes better at everything but crashes: those come from so few places that
the fine-tuned features learn the places. The untouched features, mean and largest of each over four tiles,
tell crashes from traffic better on places never seen (``models/train/EXPERIMENTS.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.embedded.vision_net import CHANNELS
from pipeline.types import Array, Image, View

SCENE_CHANNELS = 2 * CHANNELS
TILE_SHARE = 2 / 3
"""Sides of a tile, share of the picture's; four of them overlap by half a tile."""


class SceneEncoder:
    """Scene features of pictures; about 70 ms a picture on two quiet cores.

    Args:
        cache_dir: Where the converted network is kept.
        threads: CPU threads, 0 for all cores.
        weights_dir: Where the weights are; the committed ones by default.

    Raises:
        ModelMissing: The weights file is absent or damaged.
    """

    def __init__(
        self, cache_dir: Path, threads: int = 0, *, weights_dir: Path = WEIGHTS_DIR / "scene"
    ) -> None:
        self._encoder = VisionEncoder(cache_dir, threads, weights_dir=weights_dir)

    @property
    def weights_id(self) -> str:
        """Name of exactly these weights."""
        return self._encoder.weights_id

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures.

        Args:
            images: BGR uint8, any size.

        Returns:
            (n, 2560) float32: for each channel its mean over the four tiles, then its largest.
        """
        parts = [tile for image in images for tile in tiles(image)]
        pooled = self._encoder.encode(parts, [View.FULL] * len(parts)).pooled
        by_tile = pooled.reshape(len(images), 4, CHANNELS)
        return np.concatenate([by_tile.mean(axis=1), by_tile.max(axis=1)], axis=1).astype(np.float32)


def tiles(image: Image) -> list[Image]:
    """The four overlapping corners of a picture, in reading order."""
    height, width = image.shape[:2]
    tall, wide = max(1, round(height * TILE_SHARE)), max(1, round(width * TILE_SHARE))
    return [
        np.ascontiguousarray(image[y : y + tall, x : x + wide])
        for y in (0, height - tall)
        for x in (0, width - wide)
    ]
