"""Video to measure speed on: 720p at 15 fps as a camera sends it, idle, typical and busy.

Made from a bundled clip of people who walk about: its median over time, with a sensor's noise on it, is the
quiet scene; the walking is the motion, once every thirty seconds. H.264 at 1.5 Mbit/s where ffmpeg is
installed, as cameras send it; MPEG-4 otherwise, which is cheaper to decode and so makes the comparison with
decoding alone harder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.ingest.quiet import cv2
from pipeline.types import Image

MOTION = {"idle": 0.0, "typical": 0.1, "busy": 1.0}
"""Share of the time in which something moves."""
_CLIP = "campus-walkers.mp4"
_NOISE_LEVELS = 2.0
_PERIOD_S = 30.0
_NOISE_FIELDS = 7


@dataclass(frozen=True, slots=True)
class Shape:
    """Size, rate and length of made video."""

    width: int = 1280
    height: int = 720
    fps: int = 15
    seconds: float = 60.0


def make(folder: Path, kind: str, shape: Shape | None = None) -> Path:
    """Make one video, or find it made already.

    Args:
        folder: Where it goes.
        kind: ``idle``, ``typical`` (a tenth of the time something moves) or ``busy``.
        shape: Its measures.

    Raises:
        SourceError: It cannot be written.
    """
    shape = shape or Shape()
    made = folder / f"{kind}-{shape.width}x{shape.height}-{shape.fps}-{shape.seconds:g}s.mp4"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    part = made.with_suffix(".part.mp4")
    if shutil.which("ffmpeg"):
        _with_ffmpeg(part, shape, MOTION[kind])
    else:
        writer = cv2.VideoWriter(
            str(part), cv2.VideoWriter.fourcc(*"mp4v"), shape.fps, (shape.width, shape.height)
        )
        for image in _pictures(shape, MOTION[kind]):
            writer.write(image)
        writer.release()
    if not part.exists() or not part.stat().st_size:
        raise SourceError(f"{part} cannot be written", hint="check free space")
    return part.replace(made)


def _with_ffmpeg(path: Path, shape: Shape, motion: float) -> None:
    size = f"{shape.width}x{shape.height}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", size]
    command += ["-r", str(shape.fps), "-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "1500k"]
    # As cameras do: a key frame every two seconds, no frames out of order.
    command += [
        "-g",
        str(2 * shape.fps),
        "-bf",
        "0",
        "-maxrate",
        "1500k",
        "-bufsize",
        "3000k",
        "-pix_fmt",
        "yuv420p",
        "-threads",
        "2",
        str(path),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as coder:
        assert coder.stdin is not None
        for image in _pictures(shape, motion):
            coder.stdin.write(image.tobytes())
        coder.stdin.close()
    if coder.returncode:
        raise SourceError(f"ffmpeg cannot write {path}", hint="check free space")


def _pictures(shape: Shape, motion: float) -> Iterator[Image]:
    walking = _walking(shape)
    random = np.random.default_rng(3)
    size = (shape.height, shape.width, 3)
    # A few fields of noise in turn: drawing new ones for every frame takes longer than all the rest.
    noise = [random.normal(0, _NOISE_LEVELS, size).round().astype(np.int16) for _ in range(_NOISE_FIELDS)]
    quiet = np.median(np.stack(walking[:: max(1, len(walking) // 15)]), axis=0).astype(np.uint8)
    period = int(min(_PERIOD_S, shape.seconds) * shape.fps)
    moving = round(period * motion)
    first = (period - moving) // 2
    for index in range(int(shape.seconds * shape.fps)):
        step = index % period - first
        image = walking[step % len(walking)] if 0 <= step < moving else quiet
        noisy = image.astype(np.int16) + noise[index % _NOISE_FIELDS]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _walking(shape: Shape) -> list[Image]:
    capture = cv2.VideoCapture(str(files("evaluation") / "clips" / _CLIP))
    rate = capture.get(cv2.CAP_PROP_FPS)
    images: list[Image] = []
    last = -1
    while len(images) < 6 * shape.fps:
        wanted = int(len(images) * rate / shape.fps)
        while last < wanted:
            good, image = capture.read()
            if not good:
                break
            last += 1
        if not good:
            break
        height = image.shape[1] * shape.height // shape.width
        top = (image.shape[0] - height) // 2
        images.append(cv2.resize(image[top : top + height], (shape.width, shape.height)))
    capture.release()
    return images
