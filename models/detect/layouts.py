"""What the outputs of an exported detector mean: the file beside the ONNX file, and one decoder a layout.

``FILE.onnx`` has ``FILE.yaml`` beside it::

    layout: yolo              # see LAYOUTS
    classes: coco             # coco (80 names), or a list; null leaves a class out
    input: {width: 640, height: 640, resize: letterbox, colour: rgb, divide: 255}
    score: 0.25
    iou: 0.5

Layouts, with B = 1, N boxes, C classes:

``yolo``             (B, 4+C, N) or (B, N, 4+C): cx, cy, w, h in input pixels, class scores. YOLOv8 to v12.
``yolo_objectness``  (B, N, 5+C) or (B, 5+C, N): the same with an objectness before the classes. YOLOv5, v7,
                     YOLOX (exported with its decoding).
``yolo_end2end``     (B, N, 6): x1, y1, x2, y2 in input pixels, score, class. YOLOv10, or NMS in the graph.
``detr``             labels, boxes, scores as D-FINE and RT-DETR export them: boxes x1, y1, x2, y2 in the
                     pixels of the size given as second input (w, h), or of the input without one.
``detr_logits``      logits (B, N, C) and pred_boxes (B, N, 4) cx, cy, w, h in shares, as transformers exports
                     RT-DETR and D-FINE; scores are sigmoids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.detect.coco import LABELS
from pipeline.errors import ConfigError
from pipeline.types import Array

COCO80 = tuple(LABELS[number] for number in sorted(LABELS))
"""The 80 COCO names in the order contiguous class numbers have."""


class Layout(StrEnum):
    """How to read the outputs."""

    YOLO = "yolo"
    YOLO_OBJECTNESS = "yolo_objectness"
    YOLO_END2END = "yolo_end2end"
    DETR = "detr"
    DETR_LOGITS = "detr_logits"


class InputSpec(BaseModel):
    """How a frame becomes the graph's input: resized, then ``(pixel / divide - mean) / std``, NCHW."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=640, ge=16, le=4096)
    height: int = Field(default=640, ge=16, le=4096)
    resize: Literal["letterbox", "stretch"] = "letterbox"
    colour: Literal["rgb", "bgr"] = "rgb"
    divide: float = Field(default=255.0, gt=0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class DetectorSpec(BaseModel):
    """The file beside the ONNX file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Layout
    classes: Literal["coco"] | tuple[str | None, ...]
    input: InputSpec = InputSpec()
    score: float = Field(default=0.25, ge=0.01, le=1)
    iou: float = Field(default=0.5, gt=0, le=1)
    rename: dict[str, str] = Field(default_factory=dict, description="Class names as Sitrep calls them.")

    def names(self) -> tuple[str | None, ...]:
        """A name a class number; ``None`` for classes that are left out."""
        names: tuple[str | None, ...] = COCO80 if self.classes == "coco" else self.classes
        return tuple(None if name is None else self.rename.get(name, name) for name in names)


def load_spec(onnx: Path) -> DetectorSpec:
    """Read the file beside an ONNX file.

    Raises:
        ConfigError: It is not there, or a key or value in it is wrong.
    """
    path = onnx.with_suffix(".yaml")
    hint = "see models/detect/README.md for the layouts"
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{onnx.name} has no {path.name} beside it that says its layout", hint=hint
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}", hint=hint) from error
    try:
        return DetectorSpec.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigError(f"{path}: {where}: {first['msg']}", hint=hint) from error


OUTPUT_NAMES = frozenset({"labels", "boxes", "scores", "logits", "pred_boxes"})
"""Outputs that are told apart by their names."""
Found = tuple[Array, Array, Array]
"""Boxes (N, 4) ``x1, y1, x2, y2`` in input pixels, scores (N,), class numbers (N,)."""
Outputs = Mapping[str, Any]


def _shapes(outputs: Outputs) -> str:
    return ", ".join(f"{name} {tuple(np.asarray(value).shape)}" for name, value in outputs.items())


def _wrong(spec: DetectorSpec, outputs: Outputs, wanted: str) -> ConfigError:
    return ConfigError(
        f"the detector's outputs are not of layout '{spec.layout}': {_shapes(outputs)}",
        hint=f"{wanted}; the layout and classes are in the file beside the ONNX file",
    )


def _rows(spec: DetectorSpec, outputs: Outputs, columns: int) -> Array:
    """The one output as (N, columns), whichever way round it is."""
    wanted = f"wanted one output of (1, {columns}, N) or (1, N, {columns})"
    if len(outputs) != 1:
        raise _wrong(spec, outputs, wanted)
    value = np.asarray(next(iter(outputs.values())), np.float32)
    if value.ndim != 3 or value.shape[0] != 1 or columns not in value.shape[1:]:
        raise _wrong(spec, outputs, wanted)
    rows: Array = value[0]
    return rows if rows.shape[1] == columns else np.ascontiguousarray(rows.T)


def _corners(centred: Array) -> Array:
    x, y, w, h = centred.T
    return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1).astype(np.float32)


def _best_class(spec: DetectorSpec, boxes: Array, scores: Array) -> Found:
    """The strongest class of each box, then non-maximum suppression by class."""
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    keep = np.flatnonzero(best >= spec.score)
    boxes, best, classes = boxes[keep], best[keep], classes[keep]
    if not len(keep):
        return boxes, best, classes.astype(np.float32)
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.asarray(
        cv2.dnn.NMSBoxesBatched(sized.tolist(), best.tolist(), classes.tolist(), spec.score, spec.iou), int
    ).ravel()
    return boxes[kept], best[kept], classes[kept].astype(np.float32)


def _yolo(spec: DetectorSpec, outputs: Outputs) -> Found:
    rows = _rows(spec, outputs, 4 + len(spec.names()))
    return _best_class(spec, _corners(rows[:, :4]), rows[:, 4:])


def _yolo_objectness(spec: DetectorSpec, outputs: Outputs) -> Found:
    rows = _rows(spec, outputs, 5 + len(spec.names()))
    return _best_class(spec, _corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5])


def _yolo_end2end(spec: DetectorSpec, outputs: Outputs) -> Found:
    rows = _rows(spec, outputs, 6)
    return rows[:, :4], rows[:, 4], rows[:, 5]


def _named(spec: DetectorSpec, outputs: Outputs, wanted: tuple[str, ...]) -> list[Array]:
    """Outputs by name."""
    values = {name.lower(): np.asarray(value, np.float32) for name, value in outputs.items()}
    if not set(wanted) <= set(values):
        raise _wrong(spec, outputs, f"wanted outputs called {', '.join(wanted)}")
    return [values[name] for name in wanted]


def _detr(spec: DetectorSpec, outputs: Outputs) -> Found:
    labels, boxes, scores = _named(spec, outputs, ("labels", "boxes", "scores"))
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or scores.shape != boxes.shape[:2] != labels.shape[:2]:
        raise _wrong(spec, outputs, "wanted labels (1, N), boxes (1, N, 4), scores (1, N)")
    return boxes[0], scores[0], labels[0]


def _detr_logits(spec: DetectorSpec, outputs: Outputs) -> Found:
    logits, centred = _named(spec, outputs, ("logits", "pred_boxes"))
    classes = len(spec.names())
    if logits.ndim != 3 or logits.shape[-1] != classes or centred.shape != (*logits.shape[:2], 4):
        raise _wrong(spec, outputs, f"wanted logits (1, N, {classes}) and pred_boxes (1, N, 4)")
    scores = 1 / (1 + np.exp(-np.clip(logits[0], -30, 30)))
    size = np.array([spec.input.width, spec.input.height] * 2, np.float32)
    # Without suppression, as these detectors are trained: one query an object.
    return _corners(centred[0] * size), scores.max(axis=1), scores.argmax(axis=1).astype(np.float32)


DECODERS: Mapping[Layout, Callable[[DetectorSpec, Outputs], Found]] = {
    Layout.YOLO: _yolo,
    Layout.YOLO_OBJECTNESS: _yolo_objectness,
    Layout.YOLO_END2END: _yolo_end2end,
    Layout.DETR: _detr,
    Layout.DETR_LOGITS: _detr_logits,
}
