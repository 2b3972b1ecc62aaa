"""EfficientNet-lite2 as an OpenVINO graph, built straight from our safetensors file: no torch at run time.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019 (the lite
variants drop squeeze-and-excitation and use ReLU6). Batch norm is folded into the convolutions on export
(``models/train/vision_export.py``), so a block is three convolutions and an optional addition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

INPUT_PX = 260
MAP_CELLS = 9
CHANNELS = 1280
FORMAT = "sitrep-vision-1"
PIXEL_MEAN = 127.0
PIXEL_SCALE = 128.0


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """Shape of one inverted-residual block; ``expand`` is false only for the first."""

    kernel: int
    stride: int
    expand: bool
    residual: bool


@dataclass(frozen=True, slots=True)
class NetFile:
    """A vision weights file: tensors with batch norm folded in, block shapes and attribute names."""

    tensors: Mapping[str, NDArray[Any]]
    blocks: tuple[BlockSpec, ...]
    attributes: tuple[str, ...]
    metadata: Mapping[str, str]


def read_net(path: Path) -> NetFile:
    """Read a weights file.

    Raises:
        ValueError: It is not a vision weights file of this format.
    """
    with safe_open(str(path), framework="numpy") as archive:
        metadata = dict(archive.metadata() or {})
        if metadata.get("format") != FORMAT:
            raise ValueError(f"format is {metadata.get('format')!r}, expected {FORMAT!r}")
        tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    blocks = tuple(BlockSpec(**spec) for spec in json.loads(metadata["blocks"]))
    return NetFile(tensors, blocks, tuple(json.loads(metadata["attributes"])), metadata)


def build(net: NetFile) -> Any:
    """The network as an ``openvino.Model``.

    Input ``image`` uint8 (n, 260, 260, 3) BGR. Outputs ``tokens`` (n, 9, 1280), the feature map pooled 3x3
    in reading order, ``pooled`` (n, 1280) and ``logits`` (n, A), all float32.
    """
    import openvino as ov
    from openvino import opset13 as op

    def constant(array: NDArray[Any]) -> Any:
        return op.constant(np.ascontiguousarray(array, dtype=np.float32))

    def convolve(x: Any, name: str, stride: int, *, depthwise: bool = False, relu: bool = True) -> Any:
        weight = net.tensors[f"{name}.weight"]
        if depthwise:
            weight = weight[:, None]  # (channels, 1, k, k) to OpenVINO's (groups, out, in, k, k)
        convolution = op.group_convolution if depthwise else op.convolution
        x = convolution(x, constant(weight), [stride, stride], [0, 0], [0, 0], [1, 1], "same_upper")
        x = op.add(x, constant(net.tensors[f"{name}.bias"].reshape(1, -1, 1, 1)))
        return op.clamp(x, 0.0, 6.0) if relu else x

    image = op.parameter([-1, INPUT_PX, INPUT_PX, 3], ov.Type.u8, name="image")
    x = op.transpose(op.convert(image, "f32"), constant_i64([0, 3, 1, 2]))
    x = op.gather(x, constant_i64([2, 1, 0]), constant_i64(1))
    x = op.divide(
        op.subtract(x, constant(np.array([PIXEL_MEAN]))),
        constant(np.array([PIXEL_SCALE])),
    )
    x = convolve(x, "stem", 2)
    for index, spec in enumerate(net.blocks):
        name, skip = f"blocks.{index}", x
        if spec.expand:
            x = convolve(x, f"{name}.expand", 1)
        x = convolve(x, f"{name}.depthwise", spec.stride, depthwise=True)
        x = convolve(x, f"{name}.project", 1, relu=False)
        if spec.residual:
            x = op.add(x, skip)
    feature_map = convolve(x, "head", 1)
    grid = op.avg_pool(feature_map, [3, 3], [0, 0], [0, 0], [3, 3], False)
    tokens = op.transpose(op.reshape(grid, constant_i64([0, CHANNELS, 9]), True), constant_i64([0, 2, 1]))
    pooled = op.reduce_mean(feature_map, constant_i64([2, 3]), False)
    logits = op.add(
        op.matmul(pooled, constant(net.tensors["classifier.weight"]), False, True),
        constant(net.tensors["classifier.bias"][None]),
    )
    outputs = []
    for node, name in ((tokens, "tokens"), (pooled, "pooled"), (logits, "logits")):
        result = op.result(node)
        result.get_output_tensor(0).set_names({name})
        outputs.append(result)
    image.get_output_tensor(0).set_names({"image"})
    return ov.Model(outputs, [image], "sitrep-vision")


def constant_i64(value: Any) -> Any:
    """An int64 constant node: the axes and shapes of the graph."""
    from openvino import opset13 as op

    return op.constant(np.asarray(value, np.int64))
