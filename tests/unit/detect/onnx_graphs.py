"""Small real ONNX detectors that find red and green squares: outputs are known functions of the picture.

A square of ``CELL`` px on the grid lights one cell of a strided convolution that sums its colour. Each layout
puts the same boxes (the cells) and scores into its own shape.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CELL = 64, 16
GRID = SIDE // CELL
COUNT = GRID * GRID
CLASSES = ("person", "car")


def _cells() -> np.ndarray:
    """(COUNT, 4) cx, cy, w, h in input pixels, row by row."""
    rows, columns = np.divmod(np.arange(COUNT), GRID)
    centre = np.stack([columns, rows], axis=1) * CELL + CELL / 2
    return np.concatenate([centre, np.full((COUNT, 2), CELL)], axis=1).astype(np.float32)


def _constant(name: str, value: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def write_detector(path: Path, layout: str, *, second_input: bool = False, transposed: bool = False) -> Path:
    """An ONNX file of a layout; pixels come in 0..1, RGB."""
    # Red minus green finds people, green minus red cars; the mean over a cell is the score.
    colours = np.array([[1, -1, 0], [-1, 1, 0]], np.float32) / CELL**2
    kernel = np.tile(colours[:, :, None, None], (1, 1, CELL, CELL))
    constants = [_constant("kernel", kernel), _constant("flat", np.array([1, 2, COUNT], np.int64))]
    cells = _cells()
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["means"], strides=[CELL, CELL]),
        helper.make_node("Relu", ["means"], ["found"]),
        helper.make_node("Reshape", ["found", "flat"], ["scores_by_class"]),  # (1, 2, COUNT)
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
    outputs: list[tuple[str, list[int], int]] = []
    if layout in ("yolo", "yolo_objectness"):
        constants.append(_constant("boxes_t", cells.T[None].copy()))
        parts = ["boxes_t", "scores_by_class"]
        if layout == "yolo_objectness":
            constants.append(_constant("half", np.full((1, 1, COUNT), 0.5, np.float32)))
            parts.insert(1, "half")
        name = "joined" if transposed else "output0"
        nodes.append(helper.make_node("Concat", parts, [name], axis=1))
        columns = 4 + len(CLASSES) + (layout == "yolo_objectness")
        if transposed:
            nodes.append(helper.make_node("Transpose", ["joined"], ["output0"], perm=[0, 2, 1]))
        outputs.append(
            ("output0", [1, COUNT, columns] if transposed else [1, columns, COUNT], TensorProto.FLOAT)
        )
    else:
        corners = np.concatenate([cells[:, :2] - CELL / 2, cells[:, :2] + CELL / 2], axis=1)[None]
        nodes.append(helper.make_node("Transpose", ["scores_by_class"], ["by_box"], perm=[0, 2, 1]))
    if layout in ("detr", "yolo_end2end"):
        constants.append(_constant("corners", corners.astype(np.float32)))
        best = "scores" if layout == "detr" else "best"
        constants.append(_constant("axes", np.array([2], np.int64)))
        nodes += [
            helper.make_node("ReduceMax", ["by_box", "axes"], [best], keepdims=0),
            helper.make_node("ArgMax", ["by_box"], ["labels"], axis=2, keepdims=0),
        ]
    if layout == "detr":
        if second_input:
            # Boxes in the pixels of the size asked for: (w, h), as D-FINE and RT-DETR export it.
            inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
            constants.append(_constant("shares", (corners / SIDE).astype(np.float32)))
            nodes += [
                helper.make_node("Cast", ["orig_target_sizes"], ["size"], to=TensorProto.FLOAT),
                helper.make_node("Concat", ["size", "size"], ["size4"], axis=1),
                helper.make_node("Mul", ["shares", "size4"], ["boxes"]),
            ]
        else:
            nodes.append(helper.make_node("Identity", ["corners"], ["boxes"]))
        outputs += [
            ("labels", [1, COUNT], TensorProto.INT64),
            ("boxes", [1, COUNT, 4], TensorProto.FLOAT),
            ("scores", [1, COUNT], TensorProto.FLOAT),
        ]
    if layout == "yolo_end2end":
        nodes += [
            helper.make_node("Cast", ["labels"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["best", "axes"], ["best3"]),
            helper.make_node("Unsqueeze", ["numbers", "axes"], ["numbers3"]),
            helper.make_node("Concat", ["corners", "best3", "numbers3"], ["output0"], axis=2),
        ]
        outputs.append(("output0", [1, COUNT, 6], TensorProto.FLOAT))
    if layout == "detr_logits":
        constants += [
            _constant("pred", (cells / SIDE)[None].astype(np.float32)),
            _constant("gain", np.array(8.0, np.float32)),
            _constant("offset", np.array(-4.0, np.float32)),
        ]
        nodes += [
            helper.make_node("Mul", ["by_box", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["logits"]),
            helper.make_node("Identity", ["pred"], ["pred_boxes"]),
        ]
        outputs += [
            ("logits", [1, COUNT, len(CLASSES)], TensorProto.FLOAT),
            ("pred_boxes", [1, COUNT, 4], TensorProto.FLOAT),
        ]
    told = [helper.make_tensor_value_info(name, kind, shape) for name, shape, kind in outputs]
    graph = helper.make_graph(nodes, layout, inputs, told, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def declare(path: Path, layout: str, **more: object) -> Path:
    """The file beside it."""
    import yaml

    declared = {
        "layout": layout,
        "classes": list(CLASSES),
        "input": {"width": SIDE, "height": SIDE, "resize": "letterbox"},
        **more,
    }
    path.with_suffix(".yaml").write_text(yaml.safe_dump(declared))
    return path
