"""Services for detections from outside, and pictures to send."""

from __future__ import annotations

from pathlib import Path

import cv2
from support.command import CLIPS, share_converted

from pipeline.settings import Settings

PATIENCE_S = 200.0
"""Longest wait for a verdict: the first one loads and converts the model."""
DETECTOR_TOKEN, OPERATOR_TOKEN = "detector-secret", "operator-secret"


def inbound_settings(data_dir: Path) -> Settings:
    """Settings with both tokens, the bundled clips as the clip folder, and the embedded model."""
    return Settings.model_validate(
        {
            "data_dir": share_converted(data_dir),
            "detector_token": DETECTOR_TOKEN,
            "token": OPERATOR_TOKEN,
            "clip_folder": CLIPS,
            "detect_threads": 1,
            "model_threads": 1,
            "task_time_limit_s": PATIENCE_S,
        }
    )


def jpeg(clip: Path, t_s: float) -> bytes:
    """One frame of a clip, encoded."""
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_MSEC, t_s * 1e3)
    done, image = capture.read()
    capture.release()
    assert done
    return bytes(cv2.imencode(".jpg", image)[1])
