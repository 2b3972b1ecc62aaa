"""A second look at the whole scene, with two networks as others left them.

Fine-tuning on our corpus learns the places that its pictures come from; untouched features hold better at
places never seen (``models/train/EXPERIMENTS.md``): those of the encoder as ImageNet left it, mean and
largest of each over four tiles, and those of a network that was taught by captions (``vision_contrast``), of
the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.embedded.assets import Progress
from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.embedded.vision_contrast import CONTRAST_CHANNELS, ContrastEncoder
from models.embedded.vision_net import CHANNELS
from pipeline.resize import reduce
from pipeline.types import Array, Image, View

OBJECT_CHANNELS = 2 * CHANNELS
"""So many scene features are object features (ImageNet); the rest are contrast features (captions)."""
SCENE_CHANNELS = OBJECT_CHANNELS + CONTRAST_CHANNELS
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


class SceneContrast:
    """Contrast features of scenes. Arguments and errors as of :class:`SceneObjects`."""

    channels = CONTRAST_CHANNELS

    def __init__(self, cache_dir: Path, threads: int = 0, progress: Progress | None = None) -> None:
        self._encoder = ContrastEncoder(cache_dir, threads, progress)

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic."""
        return self._encoder.features_id

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8 of any size: (n, 768) float32."""
        return self._encoder.encode([shrunk(image) for image in images])


class SceneEncoder:
    """Both: (n, 3328) float32, object features first. Arguments and errors as of :class:`SceneObjects`."""

    def __init__(self, cache_dir: Path, threads: int = 0, progress: Progress | None = None) -> None:
        self.objects = SceneObjects(cache_dir, threads)
        self.contrast = SceneContrast(cache_dir, threads, progress)

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic."""
        return f"{self.objects.features_id}+{self.contrast.features_id}"

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8, any size."""
        return np.concatenate([self.objects.encode(images), self.contrast.encode(images)], axis=1)


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
