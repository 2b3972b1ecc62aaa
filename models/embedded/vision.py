"""The eyes of the embedded model: views of a candidate in, visual tokens and attribute logits out.

Two copies of EfficientNet-lite2 fine-tuned by us: one for full and region views, one for motion views. The
weights are committed; they are built into an OpenVINO graph once, kept as IR in the cache directory, and
built again whenever the cached copy is not exactly what was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.embedded.int8 import recipe_for
from models.embedded.network import ready
from models.embedded.vision_motion import MOTION_STATISTICS, motion_statistics
from models.embedded.vision_net import CHANNELS, INPUT_PX, build, read_net
from models.wheelfiles import file_sha256
from pipeline.errors import ModelMissing
from pipeline.types import Array, Image, View

ATTRIBUTES = (
    "fire",
    "smoke",
    "fight",
    "person_down",
    "crash",
    "crowd",
    "weapon",
    "person",
    "vehicle",
    "animal",
)
WEIGHTS_DIR = Path(__file__).parent / "weights"
MANIFEST = "vision.json"
TOKENS_PER_VIEW = 9
_BATCH = 8
_GRAPH_VERSION = 1
_REINSTALL = "install Sitrep again, or run git lfs/checkout on models/embedded/weights"


@dataclass(frozen=True, slots=True)
class VisionFeatures:
    """What the encoder saw in n views, in the order they were given.

    Attributes:
        tokens: (n, 9, 1280), the feature map pooled to 3x3 in reading order.
        pooled: (n, 1280), the mean over the whole map.
        logits: (n, A), one logit for each of ``ATTRIBUTES``.
        motion: (n, M), ``MOTION_STATISTICS`` of the motion views; NaN for the other views.
        scene: (n, 3328), features of ``vision_scene``; NaN for views that were not looked at twice, ``None``
            when none was.
        clip: (n, 3328), features of ``vision_clip``; NaN for all but clip views, ``None`` when none was.
    """

    tokens: Array
    pooled: Array
    logits: Array
    motion: Array
    scene: Array | None = None
    clip: Array | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def select(self, indices: Sequence[int]) -> VisionFeatures:
        """The features of some of the views."""
        rows = np.asarray(indices, np.int64)
        scene = None if self.scene is None else self.scene[rows]
        clip = None if self.clip is None else self.clip[rows]
        return VisionFeatures(
            self.tokens[rows], self.pooled[rows], self.logits[rows], self.motion[rows], scene, clip
        )


class VisionEncoder:
    """Encodes images with OpenVINO; about 10 ms a view on two quiet cores with AVX2, 17 ms with ``exact``.

    Args:
        cache_dir: Where the converted networks are kept; made when absent.
        threads: CPU threads, 0 for all cores.
        weights_dir: Where ``vision.json`` and the weights files are; the committed ones by default.
        exact: Float32 throughout, also where a recipe for 8 bits is committed (``int8``).

    Raises:
        ModelMissing: A weights file is absent or is not the one the manifest names.
    """

    def __init__(
        self, cache_dir: Path, threads: int = 0, *, weights_dir: Path = WEIGHTS_DIR, exact: bool = False
    ) -> None:
        self._cache_dir = cache_dir
        self._threads = threads
        self._files = _verified_files(weights_dir)
        digest = hashlib.sha256("".join(sha for _, sha in self._files.values()).encode())
        self._weights_id = f"vision-{digest.hexdigest()[:12]}"
        self._recipes = {name: None if exact else recipe_for(sha) for name, (_, sha) in self._files.items()}
        self._stills = self._compile("stills")
        self._motion = self._compile("motion") if "motion" in self._files else self._stills

    @property
    def weights_id(self) -> str:
        """Name of exactly these weights; stored with verdicts."""
        return self._weights_id

    @property
    def features_id(self) -> str:
        """Name of these weights and of the arithmetic: features of the same name may be mixed."""
        used = [recipe.recipe_id for recipe in self._recipes.values() if recipe is not None]
        return "-".join([self._weights_id, *used])

    def encode(self, images: Sequence[Image], views: Sequence[View]) -> VisionFeatures:
        """Features of any number of views, batched.

        Args:
            images: BGR uint8, any size; each is scaled to 260 px square.
            views: What each image shows; motion views go through the motion network, clip views through
                none: they stay zero here (``vision_clip``).

        Raises:
            ValueError: The lengths differ, or an image is not (height, width, 3) uint8.
        """
        if len(images) != len(views):
            raise ValueError(f"{len(images)} images but {len(views)} views")
        count = len(images)
        result = VisionFeatures(
            np.zeros((count, TOKENS_PER_VIEW, CHANNELS), np.float32),
            np.zeros((count, CHANNELS), np.float32),
            np.zeros((count, len(ATTRIBUTES)), np.float32),
            np.full((count, len(MOTION_STATISTICS)), np.nan, np.float32),
        )
        moving = [index for index, view in enumerate(views) if view is View.MOTION]
        still = [index for index, view in enumerate(views) if view not in (View.MOTION, View.CLIP)]
        for network, rows in ((self._stills, still), (self._motion, moving)):
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH]
                outputs = network(np.stack([prepare(images[index]) for index in part]))
                result.tokens[part] = outputs["tokens"]
                result.pooled[part] = outputs["pooled"]
                result.logits[part] = outputs["logits"]
        for index in moving:
            result.motion[index] = motion_statistics(images[index])
        return result

    def _compile(self, name: str) -> Any:
        path, sha = self._files[name]
        return ready(
            self._cache_dir,
            f"vision-{sha[:16]}-{_GRAPH_VERSION}",
            lambda: build(read_net(path)),
            what=f"network for {name}",
            recipe=self._recipes[name],
            threads=self._threads,
        )


def prepare(image: Image) -> Image:
    """An image as the network wants it: the whole picture scaled to 260 px square.

    Raises:
        ValueError: It is not (height, width, 3) uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be (height, width, 3) uint8, got {image.shape} {image.dtype}")
    shrinks = image.shape[0] > INPUT_PX and image.shape[1] > INPUT_PX
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (INPUT_PX, INPUT_PX), interpolation=method), np.uint8)


def _verified_files(weights_dir: Path) -> dict[str, tuple[Path, str]]:
    manifest = weights_dir / MANIFEST
    try:
        listed: dict[str, dict[str, str]] = json.loads(manifest.read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelMissing(f"vision weights: {manifest} cannot be read: {error}", hint=_REINSTALL) from error
    files = {}
    for name, entry in listed.items():
        path = weights_dir / entry["file"]
        if not path.is_file():
            raise ModelMissing(f"vision weights: {path} is not there", hint=_REINSTALL)
        if file_sha256(path) != entry["sha256"]:
            raise ModelMissing(f"vision weights: {path} is damaged (its sha256 differs)", hint=_REINSTALL)
        files[name] = (path, entry["sha256"])
    return files
