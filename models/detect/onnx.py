"""Any exported detector: an ONNX file with its layout declared beside it, run by OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.detect.layouts import DECODERS, OUTPUT_NAMES, DetectorSpec, Found, Layout, load_spec
from models.detect.runtime import compile_model
from models.wheelfiles import file_sha256
from pipeline.errors import ConfigError, ModelError
from pipeline.types import Array, Detections, Image

_GREY = 114
_NO_MODEL = "export it again; see models/detect/README.md"


class OnnxDetector:
    """The detector of a file.

    Args:
        data_dir: Where the compiled model is cached.
        file: The ONNX file; ``FILE.yaml`` beside it declares the layout.
        threads: CPU threads; 0 for all cores.

    Raises:
        ConfigError: The file is not there, or its layout is missing, wrong, or not that of its outputs.
        ModelError: OpenVINO cannot read or compile it.
    """

    def __init__(self, data_dir: Path, *, file: Path, threads: int = 0) -> None:
        if not file.is_file():
            raise ConfigError(f"detector {file} does not exist", hint="set SITREP_DETECTOR to an ONNX file")
        self.spec: DetectorSpec = load_spec(file)
        size = self.spec.input
        sized = self.spec.layout is Layout.DETR
        self._model = compile_model(
            file,
            (1, 3, size.height, size.width),
            cache_dir=data_dir / "openvino",
            threads=threads,
            second=(1, 2) if sized else None,
        )
        self.name = f"onnx:{file.stem}:{file_sha256(file)[:8]}"
        self._names = self.spec.names()
        # The first picture tells whether the layout is right: at start, not in the middle of a night.
        self.detect([np.full((size.height, size.width, 3), _GREY, np.uint8)])

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """One result an image, boxes in that image's pixels, strongest first.

        Raises:
            ConfigError: The outputs are not of the declared layout.
        """
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Detections:
        blob, scale, shift = prepared(image, self.spec)
        inputs: list[Any] = [blob]
        if len(self._model.inputs) > 1:
            inputs.append(np.array([[self.spec.input.width, self.spec.input.height]], np.int64))
        try:
            results = self._model(inputs)
        except RuntimeError as error:
            raise ModelError(f"{self.name} fails: {str(error).splitlines()[0]}", hint=_NO_MODEL) from error
        outputs = {_name(port, number): results[port] for number, port in enumerate(self._model.outputs)}
        found = DECODERS[self.spec.layout](self.spec, outputs)
        return self._detections(found, scale, shift, image.shape[1], image.shape[0])

    def _detections(self, found: Found, scale: Array, shift: Array, width: int, height: int) -> Detections:
        boxes, scores, classes = found
        numbers = classes.astype(int)
        known = [
            i
            for i in np.argsort(-scores, kind="stable")
            if scores[i] >= self.spec.score
            and 0 <= numbers[i] < len(self._names)
            and self._names[numbers[i]] is not None
        ]
        if not known:
            return Detections.empty()
        framed = (boxes[known] - np.tile(shift, 2)) / np.tile(scale, 2)
        limits = np.array([width, height] * 2, np.float32)
        xyxy: Array = np.clip(framed, np.float32(0), limits).astype(np.float32)
        return Detections(
            xyxy, scores[known].astype(np.float32), tuple(str(self._names[numbers[i]]) for i in known)
        )


def prepared(image: Image, spec: DetectorSpec) -> tuple[Array, Array, Array]:
    """A frame as the graph's input.

    Args:
        image: BGR.
        spec: Size, resizing and normalisation.

    Returns:
        The input (1, 3, H, W); and how many input pixels a frame pixel became, and where the frame begins in
        the input, each as x, y.
    """
    wanted = spec.input
    height, width = image.shape[:2]
    if wanted.resize == "letterbox":
        share = min(wanted.width / width, wanted.height / height)
        inner = (max(1, round(width * share)), max(1, round(height * share)))
        left, top = (wanted.width - inner[0]) // 2, (wanted.height - inner[1]) // 2
    else:
        inner, left, top = (wanted.width, wanted.height), 0, 0
    shrinks = inner[0] < width
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    canvas = np.full((wanted.height, wanted.width, 3), _GREY, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = small
    pixels = canvas[:, :, ::-1] if wanted.colour == "rgb" else canvas
    mean, std = np.array(wanted.mean, np.float32), np.array(wanted.std, np.float32)
    values = (pixels.astype(np.float32) / np.float32(wanted.divide) - mean) / std
    blob: Array = np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)
    scale = np.array([inner[0] / width, inner[1] / height], np.float32)
    return blob, scale, np.array([left, top], np.float32)


def _name(port: Any, number: int) -> str:
    # A tensor keeps the names of everything that was folded into it: the one the layout knows counts.
    names = sorted(port.get_names())
    known = [name for name in names if name.lower() in OUTPUT_NAMES]
    return str((known or names or [f"output{number}"])[0])
