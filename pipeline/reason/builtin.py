"""A picture drawn by code, to try a model where no footage is at hand."""

from __future__ import annotations

import hashlib

from models.base import Inquiry
from pipeline.reason.inquiry import build_inquiry
from pipeline.settings import Settings
from pipeline.types import (
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    SeenObject,
    TriggerScore,
    View,
)
from prompts.loader import PromptLibrary
from prompts.pack import SHIPPED

_WIDTH, _HEIGHT = 320, 240


class _OneFrame:
    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded

    def put(self, encoded: bytes) -> str:
        return hashlib.sha256(encoded).hexdigest()

    def get(self, sha256: str) -> bytes:
        return self._encoded


def builtin_image() -> bytes:
    """A JPEG of a figure lying on a floor in front of a wall."""
    import cv2
    import numpy as np

    image = np.full((_HEIGHT, _WIDTH, 3), (150, 160, 165), np.uint8)
    image[150:] = (90, 95, 100)
    cv2.ellipse(image, (165, 190), (70, 16), 4, 0, 360, (60, 50, 140), -1)
    cv2.circle(image, (85, 184), 14, (150, 180, 215), -1)
    good, encoded = cv2.imencode(".jpg", image)
    if not good:
        raise RuntimeError("OpenCV cannot write JPEG")
    return bytes(encoded.tobytes())


def builtin_inquiry(settings: Settings) -> Inquiry:
    """A fall alarm about that picture, rendered with the set prompt."""
    encoded = builtin_image()
    frame = KeyFrame(hashlib.sha256(encoded).hexdigest(), View.FULL, Moment.PEAK, 3.0, _WIDTH, _HEIGHT)
    evidence = Evidence(
        (SeenObject("person", 0.62, (0.2, 0.7, 0.75, 0.9), 3.0),),
        {"person": 1},
        {"person_count": 1, "torso_angle_deg": 86.0, "still_s": 4.0},
        "a person's box turned flat and stayed still",
    )
    candidate = Candidate(
        "builtin",
        "builtin",
        "builtin",
        EventType.FALL,
        2.0,
        6.0,
        TriggerScore("builtin", 0.8),
        evidence,
        (frame,),
    )
    library = PromptLibrary(settings.data_dir / "prompts", SHIPPED)
    pack = library.choose(settings.prompt, candidate.candidate_id).pack
    return build_inquiry(candidate, pack, _OneFrame(encoded), settings)[0]
