"""Makes small real media files for tests, with OpenCV where it can and ffmpeg where it must."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Painter = Callable[[int], np.ndarray]

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.needs("ffmpeg")


def moving_square(width: int = 160, height: int = 120, side: int = 24, speed: int = 4) -> Painter:
    """A bright blue square that crosses a textured grey scene."""
    background = np.random.default_rng(7).integers(90, 130, (height, width, 3), np.uint8)

    def paint(index: int) -> np.ndarray:
        image = background.copy()
        left = (index * speed) % max(1, width - side)
        image[height // 3 : height // 3 + side, left : left + side] = (240, 200, 60)
        return image

    return paint


def write_video(
    path: Path, frames: int = 30, fps: float = 15.0, paint: Painter | None = None, fourcc: str = ""
) -> Path:
    """Write a video with OpenCV; the codec follows from the extension unless ``fourcc`` is given."""
    paint = paint or moving_square()
    height, width = paint(0).shape[:2]
    code = fourcc or {".avi": "MJPG", ".webm": "VP80"}.get(path.suffix, "mp4v")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (width, height))
    assert writer.isOpened(), f"OpenCV cannot write {path.suffix} with {code}"
    for index in range(frames):
        writer.write(paint(index))
    writer.release()
    assert path.stat().st_size > 0
    return path


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg, quietly, and fail on its failure."""
    assert FFMPEG is not None
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def cut(path: Path, share: float, target: Path) -> Path:
    """The first part of a file's bytes: what an interrupted copy leaves behind."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


class MemoryFrames:
    """A FrameStore in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, encoded: bytes) -> str:
        import hashlib

        digest = hashlib.sha256(encoded).hexdigest()
        self.files[digest] = encoded
        return digest

    def get(self, sha256: str) -> bytes:
        return self.files[sha256]

    def image(self, sha256: str) -> np.ndarray:
        decoded = cv2.imdecode(np.frombuffer(self.files[sha256], np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded
