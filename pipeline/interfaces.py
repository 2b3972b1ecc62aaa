"""The seams. The core knows these protocols only; concrete back ends register behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.types import (
    Candidate,
    Detections,
    Frame,
    Image,
    KeyFrame,
    Poses,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known about a source before its frames: ``fps`` and ``frame_count`` are 0 when unknown."""

    name: str
    uri: str
    width: int
    height: int
    fps: float
    frame_count: int
    is_still: bool = False
    is_live: bool = False


@runtime_checkable
class FrameSource(Protocol):
    """Gives frames in stream order."""

    info: SourceInfo

    def frames(self) -> Iterator[Frame]:
        """Yield frames with strictly rising ``t_s``. Raises SourceError when it cannot be read on."""
        ...

    def close(self) -> None:
        """Release the decoder."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Finds objects in frames."""

    name: str

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """One result an image, boxes in that image's pixels."""
        ...


@runtime_checkable
class PoseEstimator(Protocol):
    """Finds people and their 17 COCO key points."""

    name: str

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        """One result an image, coordinates in that image's pixels."""
        ...


@runtime_checkable
class FrameStore(Protocol):
    """Keeps encoded images under the hash of their bytes."""

    def put(self, encoded: bytes) -> str:
        """Store and return the sha256; storing the same bytes again changes nothing.

        Raises FrameStoreError.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """The bytes, verified against the hash. Raises FrameStoreError when missing or damaged."""
        ...


@runtime_checkable
class Notifier(Protocol):
    """Carries one alert to one place outside."""

    name: str

    def notify(self, alert: dict[str, object]) -> None:
        """Deliver once; raise to have it tried again."""
        ...


@runtime_checkable
class Reasoner(Protocol):
    """Judges candidates: prompt, model, calibration, grounding, decision."""

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict a candidate, in order. Never raises for a bad reply: that is a failed verdict.

        Raises ModelTimeout, ModelUnavailable or ModelMissing when no judgement was possible at all.
        """
        ...


__all__ = [
    "Candidate",
    "Detector",
    "FrameSource",
    "FrameStore",
    "KeyFrame",
    "Notifier",
    "PoseEstimator",
    "Reasoner",
    "SourceInfo",
]
