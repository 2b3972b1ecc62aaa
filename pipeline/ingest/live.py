"""Cameras: RTSP and HTTP streams that break, freeze and come back.

A thread of its own reads, so that a slow stage 1 never makes the camera's buffer grow: the reader keeps
only the newest frame, and counts what it drops. Stream time of a camera is the time of arrival since the
first frame, from a clock that never jumps; gaps are recorded and time goes on through them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from pipeline.errors import SourceError
from pipeline.ingest.clock import Sampler
from pipeline.ingest.quiet import cv2
from pipeline.interfaces import SourceInfo
from pipeline.types import Frame, Image


@dataclass(frozen=True, slots=True)
class LiveParams:
    """How a camera is watched.

    Attributes:
        open_s: Longest wait for a connection.
        stall_s: Without a frame for so long the connection is made anew.
        frozen_s: With the very same picture for so long, too. Sensors have noise; a frozen encoder has none.
        backoff_s: First pause before a new attempt; doubles each time.
        backoff_max_s: Longest pause.
        give_up_s: A camera that is away for so long ends the stream; ``None``: never.
    """

    open_s: float = 8.0
    stall_s: float = 6.0
    frozen_s: float = 30.0
    backoff_s: float = 0.5
    backoff_max_s: float = 8.0
    give_up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without frames: stream seconds, and why."""

    start_s: float
    end_s: float
    reason: str


class LiveSource:
    """A camera as a frame source.

    Args:
        uri: Address, with credentials if it needs them; they appear nowhere else.
        fps: Frames a second to yield; ``None`` for every one that can be kept up with.
        params: How it is watched.

    Raises:
        SourceError: The first connection fails.
    """

    def __init__(self, uri: str, *, fps: float | None = None, params: LiveParams | None = None) -> None:
        self.params = params or LiveParams()
        self.gaps: list[Gap] = []
        self.dropped = 0
        self.reconnects = 0
        self._uri, self._fps = uri, fps
        self._shown = without_credentials(uri)
        self._condition = threading.Condition()
        self._newest: tuple[Image, float, int] | None = None
        self._stop = threading.Event()
        self._failure: SourceError | None = None
        capture = self._connect()
        if capture is None:
            raise SourceError(
                f"camera {self._shown} gives no picture within {self.params.open_s:.0f} s",
                hint="check address, credentials and network",
            )
        self.info = SourceInfo(
            name=urlsplit(uri).hostname or "camera",
            uri=self._shown,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=0.0,
            frame_count=0,
            is_live=True,
        )
        self._started = time.monotonic()
        self._thread = threading.Thread(
            target=self._read, args=(capture,), name=f"camera {self.info.name}", daemon=True
        )
        self._thread.start()

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame whenever there is one, with strictly rising stream time.

        Raises:
            SourceError: The camera was away longer than ``give_up_s``.
        """
        sampler, last = Sampler(self._fps), -1
        while not self._stop.is_set():
            with self._condition:
                if self._newest is None or self._newest[2] <= last:
                    self._condition.wait(timeout=0.5)
                taken, failure = self._newest, self._failure
            if failure is not None:
                raise failure
            if self._stop.is_set() or taken is None or taken[2] <= last:
                continue
            image, t_s, index = taken
            self.dropped += max(0, index - last - 1) if self._fps is None else 0
            last = index
            if sampler.wants(t_s):
                yield Frame(image, t_s, index)

    def close(self) -> None:
        """Stop reading; waits for the reader to end."""
        self._stop.set()
        with self._condition:
            self._condition.notify_all()
        self._thread.join(timeout=self.params.open_s + self.params.stall_s)

    def _connect(self) -> Any:
        """An open capture, or ``None``."""
        options = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(self.params.open_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(self.params.stall_s * 1000),
        ]
        capture = cv2.VideoCapture(self._uri, cv2.CAP_FFMPEG, options)
        if capture.isOpened():
            return capture
        capture.release()
        return None

    def _read(self, capture: Any) -> None:
        index = -1
        away_since = self._now()
        reason = "no picture after connecting"
        while not self._stop.is_set():
            if capture is not None:
                index, away_since, reason = self._drain(capture, index, away_since)
                capture.release()
            if self._stop.is_set():
                return
            capture = self._come_back(away_since, reason)

    def _drain(self, capture: Any, index: int, away_since: float) -> tuple[int, float, str]:
        """Read until the stream breaks or freezes; returns the last index, when, and why."""
        same_since, mark = self._now(), b""
        last_s, first, why = away_since, True, "the stream broke off"
        while not self._stop.is_set():
            good, image = capture.read()
            now = self._now()
            if not good or image is None:
                return index, last_s, why
            found = _mark(image)
            if found != mark:
                same_since, mark = now, found
            elif now - same_since > self.params.frozen_s:
                return index, same_since, "the picture froze"
            if first and index >= 0:
                self.gaps.append(Gap(away_since, now, self._away_reason))
            first, last_s, index = False, now, index + 1
            with self._condition:
                self._newest = (image, now, index)
                self._condition.notify_all()
        return index, last_s, why

    _away_reason = ""

    def _come_back(self, away_since: float, reason: str) -> Any:
        pause = self.params.backoff_s
        self._away_reason = reason
        while not self._stop.is_set():
            limit = self.params.give_up_s
            if limit is not None and self._now() - away_since > limit:
                self.gaps.append(Gap(away_since, self._now(), reason))
                with self._condition:
                    self._failure = SourceError(
                        f"camera {self._shown} has been away for {limit:.0f} s: {reason}",
                        hint="check power and network of the camera",
                    )
                    self._condition.notify_all()
                self._stop.wait()
                return None
            if self._stop.wait(pause):
                return None
            pause = min(pause * 2, self.params.backoff_max_s)
            self.reconnects += 1
            capture = self._connect()
            if capture is not None:
                return capture
        return None

    def _now(self) -> float:
        return time.monotonic() - self._started


def without_credentials(uri: str) -> str:
    """An address as it may be shown and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _mark(image: Image) -> bytes:
    return np.ascontiguousarray(image[::16, ::16]).tobytes()
