"""A second look at the whole scene, tile by tile, with two networks as others left them.

Fine-tuning on our corpus makes the eyes better at everything but crashes: those come from so few places that
the fine-tuned features learn the places. Untouched features, mean and largest of each over four tiles, tell
crashes from traffic better on places never seen (``models/train/EXPERIMENTS.md``): those of the encoder as
ImageNet left it, and those of a network that has seen people act (``vision_clip``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.embedded.vision_clip import STILL_CHANNELS, StillEncoder
from models.embedded.vision_net import CHANNELS
from pipeline.resize import reduce
from pipeline.types import Array, Image, View

OBJECT_CHANNELS = 2 * CHANNELS
"""So many scene features are object features (ImageNet); the rest are action features (Kinetics)."""
SCENE_CHANNELS = OBJECT_CHANNELS + 2 * STILL_CHANNELS
LONGER_SIDE = 336
"""Pictures are scaled down to this first, px: the size of those that the lines over these features were
fitted on. Sharper tiles look calmer to them: at 960 px crashes lost up to one in log-odds."""
TILE_SHARE = 2 / 3
"""Sides of a tile, share of the picture's; four of them overlap by half a tile."""


class SceneObjects:
    """Object features of scenes: by the encoder as ImageNet left it.

    Args:
        cache_dir: Where the converted network is kept.
        threads: CPU threads, 0 for all cores.

    Raises:
        ModelMissing: The weights file is absent or damaged.
    """

    channels = OBJECT_CHANNELS

    def __init__(self, cache_dir: Path, threads: int = 0) -> None:
        self._encoder = VisionEncoder(cache_dir, threads, weights_dir=WEIGHTS_DIR / "scene")

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic."""
        return self._encoder.features_id

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8 of any size: (n, 2560) float32, means, then largest."""
        parts = [tile for image in images for tile in tiles(shrunk(image))]
        pooled = self._encoder.encode(parts, [View.FULL] * len(parts)).pooled
        by_tile = pooled.reshape(len(images), 4, CHANNELS)
        return np.concatenate([by_tile.mean(axis=1), by_tile.max(axis=1)], axis=1).astype(np.float32)


class SceneActions:
    """Action features of scenes: by the network that has seen people act, as if nothing moved.

    Arguments and errors as of :class:`SceneObjects`.
    """

    channels = SCENE_CHANNELS - OBJECT_CHANNELS

    def __init__(self, cache_dir: Path, threads: int = 0) -> None:
        self._encoder = StillEncoder(cache_dir, threads)

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic."""
        return self._encoder.features_id

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8 of any size: (n, 1664) float32, means, then largest."""
        parts = [tile for image in images for tile in tiles(shrunk(image))]
        found = (values.reshape(len(images), 4, STILL_CHANNELS) for values in self._encoder.encode(parts))
        means, largest = found
        return np.concatenate([means.mean(axis=1), largest.max(axis=1)], axis=1).astype(np.float32)


class SceneEncoder:
    """Both: (n, 4224) float32, object features first. Arguments and errors as of :class:`SceneObjects`."""

    def __init__(self, cache_dir: Path, threads: int = 0) -> None:
        self.objects, self.actions = SceneObjects(cache_dir, threads), SceneActions(cache_dir, threads)

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic."""
        return f"{self.objects.features_id}+{self.actions.features_id}"

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8, any size."""
        return np.concatenate([self.objects.encode(images), self.actions.encode(images)], axis=1)


def tiles(image: Image) -> list[Image]:
    """The four overlapping corners of a picture, in reading order."""
    height, width = image.shape[:2]
    tall, wide = max(1, round(height * TILE_SHARE)), max(1, round(width * TILE_SHARE))
    return [
        np.ascontiguousarray(image[y : y + tall, x : x + wide])
        for y in (0, height - tall)
        for x in (0, width - wide)
    ]


def shrunk(image: Image) -> Image:
    """A picture with its longer side at most 336 px."""
    height, width = image.shape[:2]
    scale = LONGER_SIDE / max(height, width)
    if scale >= 1:
        return image
    return reduce(image, (max(1, round(width * scale)), max(1, round(height * scale))))
