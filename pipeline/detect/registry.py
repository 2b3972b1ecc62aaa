"""Names of detectors and pose estimators, and where they live. Imported only when one is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pipeline.detect.scene import AppearanceScorer
from pipeline.errors import ConfigError
from pipeline.interfaces import Detector, PoseEstimator

DETECTORS: dict[str, str] = {"ssd": "models.detect.ssd:SsdMobileNetV2"}
"""Factories by name as ``module:attribute``; called with ``(data_dir, threads=...)``."""

ONNX = ".onnx"
DETECTOR_OF_FILE = "models.detect.onnx:OnnxDetector"
"""The factory for ONNX files; called with ``(data_dir, file=..., threads=...)``."""

POSE_ESTIMATORS: dict[str, str] = {"movenet": "models.detect.movenet:MoveNetMultiPose"}
"""The same for pose estimators."""


APPEARANCE_SCORERS: dict[str, str] = {"eyes": "models.detect.appearance:EmbeddedEyes"}
"""The same for appearance scorers."""


def make_detector(name: str, data_dir: Path, *, threads: int = 0) -> Detector:
    """Load a detector by its registered name, or from an ONNX file by its path.

    Raises:
        ConfigError: No detector has this name, or the file or the layout beside it is wrong.
        ModelMissing: Its weights are not installed.
    """
    if name.lower().endswith(ONNX):
        made = _load(DETECTOR_OF_FILE)(data_dir, file=Path(name), threads=threads)
    else:
        made = _factory(DETECTORS, name, "detector")(data_dir, threads=threads)
    assert isinstance(made, Detector)
    return made


def make_pose_estimator(name: str, data_dir: Path, *, threads: int = 0) -> PoseEstimator:
    """Load a pose estimator by its registered name.

    Raises:
        ConfigError: No pose estimator has this name.
        ModelMissing: Its weights are not installed.
    """
    made = _factory(POSE_ESTIMATORS, name, "pose estimator")(data_dir, threads=threads)
    assert isinstance(made, PoseEstimator)
    return made


def make_appearance_scorer(name: str, data_dir: Path, *, threads: int = 0) -> AppearanceScorer:
    """Load an appearance scorer by its registered name.

    Raises:
        ConfigError: No appearance scorer has this name.
        ModelMissing: Its weights are not installed.
    """
    made = _factory(APPEARANCE_SCORERS, name, "appearance scorer")(data_dir, threads=threads)
    assert isinstance(made, AppearanceScorer)
    return made


def _factory(table: dict[str, str], name: str, kind: str) -> Any:
    if name not in table:
        known = ", ".join(sorted(table))
        files = f", or the path of a file ending in {ONNX}" if kind == "detector" else ""
        raise ConfigError(f"no {kind} is called '{name}'", hint=f"known: {known}{files}")
    return _load(table[name])


def _load(place: str) -> Any:
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)
