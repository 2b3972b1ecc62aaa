"""ONNX detectors in every layout: real graphs, run by OpenVINO, that find coloured squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command import CLIPS, sitrep

from pipeline.detect.registry import make_detector
from pipeline.errors import ConfigError, SitrepError
from pipeline.types import Image
from tests.unit.detect.onnx_graphs import CELL, SIDE, declare, write_detector

LAYOUTS = [
    ("yolo", {}),
    ("yolo", {"transposed": True}),
    ("yolo_objectness", {"transposed": True}),
    ("yolo_objectness", {}),
    ("yolo_end2end", {}),
    ("detr", {}),
    ("detr", {"second_input": True}),
    ("detr_logits", {}),
]


def scene() -> Image:
    """128 x 64: letterboxed into 64 x 64 it is halved, with 16 px of grey above and below."""
    image = np.full((64, 128, 3), 114, np.uint8)
    image[0:32, 32:64] = (0, 0, 255)  # a red square: cell (1, 1) of the input
    image[32:64, 96:128] = (0, 255, 0)  # a green one: cell (2, 3)
    return image


@pytest.mark.parametrize(("layout", "options"), LAYOUTS)
def test_every_layout_gives_the_same_boxes(tmp_path: Path, layout: str, options: dict[str, bool]) -> None:
    """Given a graph of a layout, when a picture has two squares, then they come back in its own pixels."""
    file = declare(write_detector(tmp_path / "squares.onnx", layout, **options), layout)
    detector = make_detector(str(file), tmp_path / "data", threads=1)

    (found,) = detector.detect([scene()])

    assert sorted(found.label) == ["car", "person"]
    boxes = dict(zip(found.label, found.xyxy.tolist(), strict=True))
    assert boxes["person"] == pytest.approx([32, 0, 64, 32], abs=0.1)
    assert boxes["car"] == pytest.approx([96, 32, 128, 64], abs=0.1)
    wanted = 0.5 if layout == "yolo_objectness" else 0.98 if layout == "detr_logits" else 1.0
    assert found.score.tolist() == pytest.approx([wanted] * 2, abs=0.01)
    assert detector.name.startswith("onnx:squares:")


def test_stretched_input_colour_order_and_renamed_classes(tmp_path: Path) -> None:
    file = write_detector(tmp_path / "squares.onnx", "yolo")
    declare(
        file,
        "yolo",
        classes=["human", None],
        rename={"human": "person"},
        input={"width": SIDE, "height": SIDE, "resize": "stretch", "colour": "bgr"},
    )
    image = np.full((128, 64, 3), 114, np.uint8)
    image[0 : 2 * CELL, 0:CELL] = (255, 0, 0)  # blue first: what a BGR graph calls red
    image[2 * CELL : 4 * CELL, CELL : 2 * CELL] = (0, 255, 0)

    (found,) = make_detector(str(file), tmp_path / "data", threads=1).detect([image])

    assert found.label == ("person",)
    assert found.xyxy[0].tolist() == pytest.approx([0, 0, CELL, 2 * CELL], abs=0.1)


def test_overlapping_boxes_of_one_class_are_one(tmp_path: Path) -> None:
    from models.detect.layouts import DECODERS, DetectorSpec, Layout

    rows = np.array(
        [
            [20, 20, 10, 10, 0.9, 0],
            [21, 20, 10, 10, 0.8, 0],
            [20, 20, 10, 10, 0, 0.7],
            [50, 50, 8, 8, 0.2, 0],
        ],
        np.float32,
    )
    spec = DetectorSpec(layout=Layout.YOLO, classes=("person", "car"))

    boxes, scores, classes = DECODERS[Layout.YOLO](spec, {"output0": rows.T[None]})

    kept = sorted(zip((scores * 10).round().tolist(), classes.tolist(), strict=True))
    assert kept == [(7.0, 1.0), (9.0, 0.0)] and boxes.shape == (2, 4)


@pytest.mark.parametrize(
    ("made", "declared", "said"),
    [
        ("yolo", {"layout": "yolo_objectness"}, "not of layout 'yolo_objectness': output0 (1, 6, 16)"),
        ("yolo", {"layout": "detr"}, "wanted outputs called labels, boxes, scores"),
        ("detr", {"layout": "yolo"}, "not of layout 'yolo'"),
        ("yolo", {"classes": "coco"}, "(1, 84, N)"),
        ("detr_logits", {"classes": ["person"]}, "wanted logits (1, N, 1)"),
        ("yolo", {"layout": "darknet"}, "layout: Input should be 'yolo'"),
        ("yolo", {"scores": 0.3}, "scores: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_layout_is_one_clear_line_at_start(
    tmp_path: Path, made: str, declared: dict[str, object], said: str
) -> None:
    file = write_detector(tmp_path / "squares.onnx", made)
    declare(file, **{"layout": made, **declared})  # type: ignore[arg-type]

    with pytest.raises(ConfigError) as caught:
        make_detector(str(file), tmp_path / "data", threads=1)

    assert said in caught.value.one_line()


def test_files_that_are_missing_or_no_model(tmp_path: Path) -> None:
    broken = declare(tmp_path / "broken.onnx", "yolo")
    broken.write_bytes(b"not a model")
    bare = write_detector(tmp_path / "bare.onnx", "yolo")
    for name, said in (
        (str(tmp_path / "none.onnx"), "does not exist"),
        (str(bare), "no bare.yaml beside it"),
        (str(broken), "OpenVINO cannot"),
        ("yolo9000", "path of a file ending in .onnx"),
    ):
        with pytest.raises(SitrepError) as caught:
            make_detector(name, tmp_path / "data")
        assert said in caught.value.one_line()


def test_scan_takes_the_detector_of_a_file(tmp_path: Path) -> None:
    """Given an ONNX detector, when a clip is scanned with it, then stage 1 runs on it."""
    file = declare(write_detector(tmp_path / "squares.onnx", "detr"), "detr")
    clip = CLIPS / "hand-over-lens.mp4"

    ran = sitrep("scan", clip, "--detections-only", "--detector", file, "--json", data_dir=tmp_path / "data")
    wrong = sitrep(
        "scan", clip, "--detections-only", "--detector", tmp_path / "x.onnx", data_dir=tmp_path / "data"
    )

    assert ran.code == 0, ran.err
    assert wrong.code != 0 and any("does not exist" in line for line in wrong.error_lines), wrong.err
