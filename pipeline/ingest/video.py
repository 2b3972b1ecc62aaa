"""Video files as frame sources, through OpenCV's FFmpeg back end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.ingest.clock import Sampler, StreamClock, believable_fps
from pipeline.ingest.quiet import cv2
from pipeline.ingest.sniff import Kind, why_no_video
from pipeline.interfaces import SourceInfo
from pipeline.types import Frame

_COPY_AGAIN = "copy or export the clip again"
# The other half is for looking at the frames, which goes on meanwhile; more threads decode less per core.
_THREADS = max(1, (os.cpu_count() or 2) // 2)


class VideoFileSource:
    """A video file. ``frames`` may be called again: it starts over.

    Frames that are not sampled are decoded but never converted to BGR, which is the larger half of the
    cost for most codecs.

    Args:
        path: The file.
        kind: What it is by its first bytes.
        fps: Frames a second to yield; ``None`` for all.

    Raises:
        SourceError: It has no picture, or only one.
    """

    def __init__(self, path: Path, kind: Kind, *, fps: float | None = None) -> None:
        self._path = path
        self._fps = fps
        self._capture: Any = None
        probe = self._open(kind)
        try:
            decoded = 0
            while decoded < 2 and probe.grab():
                decoded += 1
            self.info = SourceInfo(
                name=path.name,
                uri=str(path),
                width=int(probe.get(cv2.CAP_PROP_FRAME_WIDTH)),
                height=int(probe.get(cv2.CAP_PROP_FRAME_HEIGHT)),
                fps=believable_fps(float(probe.get(cv2.CAP_PROP_FPS))),
                frame_count=_count(probe.get(cv2.CAP_PROP_FRAME_COUNT)),
            )
        finally:
            probe.release()
        if decoded == 0:
            raise SourceError(f"{path} holds no frame that can be decoded", hint=_COPY_AGAIN)
        if decoded == 1:
            said = f" of {self.info.frame_count}" if self.info.frame_count > 1 else ""
            raise SourceError(
                f"{path} holds a single frame{said}: nothing moves in it",
                hint="save it as .jpg or .png to have it judged as a still" if not said else _COPY_AGAIN,
            )

    def frames(self) -> Iterator[Frame]:
        """Yield the sampled frames with strictly rising stream time.

        Raises:
            SourceError: The file ends before its container says it should. All frames up to there have
                been yielded by then.
        """
        self.close()
        capture = self._capture = self._open(None)
        clock = StreamClock(self.info.fps)
        sampler = Sampler(self._fps)
        index = -1
        t_s = 0.0
        try:
            while capture.grab():
                index += 1
                t_s = clock.tick(_seconds(capture))
                if not sampler.wants(t_s):
                    continue
                good, image = capture.retrieve()
                if good and image is not None:
                    yield Frame(image, t_s, index)
        except cv2.error as error:
            raise SourceError(
                f"{self._path} cannot be decoded after {t_s:.1f} s: {' '.join(str(error).split())[:120]}",
                hint=_COPY_AGAIN,
            ) from error
        finally:
            self.close()
        self._check_whole(index + 1, t_s)

    def close(self) -> None:
        """Release the decoder."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _open(self, kind: Kind | None) -> Any:
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, _THREADS])
        if not capture.isOpened():
            why = "cannot be opened any more" if kind is None else why_no_video(self._path, kind)
            raise SourceError(f"{self._path} {why}", hint=_COPY_AGAIN)
        return capture

    def _check_whole(self, decoded: int, last_s: float) -> None:
        wanted, fps = self.info.frame_count, self.info.fps
        if not wanted:
            return
        # Both must fall short: Matroska estimates its frame count from duration and nominal rate, which
        # overstates it for a variable rate; and rounding costs a frame or two at the end of good files.
        short_count = wanted - decoded > max(2, 0.04 * wanted)
        short_time = wanted / fps - (last_s + 1 / fps) > max(3 / fps, 0.04 * wanted / fps)
        if short_count and short_time:
            raise SourceError(
                f"{self._path} is truncated: {decoded} of about {wanted} frames could be decoded "
                f"({last_s:.1f} s); candidates up to there are kept",
                hint=_COPY_AGAIN,
            )


def _seconds(capture: Any) -> float:
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0


def _count(raw: float) -> int:
    return int(raw) if math.isfinite(raw) and 0 < raw < 1e9 else 0
