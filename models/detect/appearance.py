"""Appearance scores for stage 1 from the eyes of the embedded model: EfficientNet-lite2, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionEncoder
from pipeline.types import Image, View


class EmbeddedEyes:
    """Reads attributes off whole frames.

    Args:
        data_dir: Where the converted network is cached.
        threads: CPU threads; 0 for all cores.
        weights_dir: Where the weights are; the committed ones by default.

    Raises:
        ModelMissing: The weights are absent or damaged.
    """

    def __init__(self, data_dir: Path, *, threads: int = 0, weights_dir: Path = WEIGHTS_DIR) -> None:
        self._encoder = VisionEncoder(data_dir / "openvino", threads, weights_dir=weights_dir, exact=True)

    @property
    def name(self) -> str:
        """Name of exactly these weights."""
        return self._encoder.weights_id

    def score(self, image: Image) -> Mapping[str, float]:
        """Probability by attribute name; empty when the weights have no trained attribute heads."""
        logits = self._encoder.encode([image], [View.FULL]).logits[0]
        if not np.any(logits):
            # Weights whose attribute heads were never trained say nothing rather than one half.
            return {}
        values = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return {name: float(value) for name, value in zip(ATTRIBUTES, values, strict=True)}
