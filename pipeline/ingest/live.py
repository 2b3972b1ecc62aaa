"""Cameras: RTSP, HTTP streams and webcams that break, freeze and come back.

A thread of its own reads, so that a slow stage 1 never makes the camera's buffer grow: every frame is
decoded, only the sampled ones are turned into pictures, only the newest picture is kept, and what is
overwritten is counted. Stream time of a camera is the time of arrival since the first connection, from a
clock that never jumps, so the camera's own clock may do as it likes; gaps are recorded and time goes on
through them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from pipeline.errors import SourceError
from pipeline.ingest.address import camera_name, without_credentials
from pipeline.ingest.capture import open_camera, why_not
from pipeline.ingest.clock import Sampler
from pipeline.ingest.quiet import cv2
from pipeline.interfaces import SourceInfo
from pipeline.types import Frame, Image

log = structlog.get_logger(__name__)
FROZEN = "the picture froze"
BROKEN = "the stream broke off"
GAPS_KEPT = 200
_LEAST_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class LiveParams:
    """How a camera is watched.

    Attributes:
        open_s: Longest wait for a connection.
        stall_s: Without a frame for so long the connection is made anew.
        frozen_s: With the same picture for so long, too; then after twice the time, and so on.
        frozen_change: Mean grey levels by which two pictures of a frozen encoder may differ: re-encoding the
            same picture changes it a little, a sensor's noise changes it more.
        backoff_s: First pause from one attempt to the next; doubles each time.
        backoff_max_s: Longest pause.
        give_up_s: A camera that is away for so long ends the stream; ``None``: never.
    """

    open_s: float = 5.0
    stall_s: float = 4.0
    frozen_s: float = 30.0
    frozen_change: float = 0.35
    backoff_s: float = 0.5
    backoff_max_s: float = 2.5
    give_up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without usable frames: stream seconds, and why."""

    start_s: float
    end_s: float
    reason: str


@dataclass(slots=True)
class Health:
    """Counters of one camera since it was opened.

    Attributes:
        state: ``opening`` until the first frame of a patient source, then ``up``, ``frozen`` or ``away``.
        reason: Why it is not ``up``; empty otherwise.
        since_s: Stream time at which the state began.
        frame_s: Stream time of the last frame.
        received: Frames that came.
        sampled: Frames turned into pictures.
        dropped: Pictures that were overwritten before anybody took them.
        reconnects: Attempts to connect again.
        gaps: Gaps that have ended.
        gap_s: Their length together.
    """

    state: str = "up"
    reason: str = ""
    since_s: float = 0.0
    frame_s: float = 0.0
    received: int = 0
    sampled: int = 0
    dropped: int = 0
    reconnects: int = 0
    gaps: int = 0
    gap_s: float = 0.0


class LiveSource:
    """A camera as a frame source.

    Args:
        uri: Address, with credentials if it needs them; they appear nowhere else.
        fps: Frames a second to yield; ``None`` for every one that can be kept up with.
        params: How it is watched.
        name: Name of the camera; from its address when omitted.
        patient: Connect in the background and keep trying, instead of waiting and raising.
        on_frame: Called from the reading thread when there is a new picture.

    Attributes:
        first_fault: Why the first connection of a patient source failed; ``None``: it did not, or is tried.
        tried: The first connection of a patient source has been tried.

    Raises:
        SourceError: The first connection fails.
    """

    def __init__(
        self,
        uri: str,
        *,
        fps: float | None = None,
        params: LiveParams | None = None,
        name: str | None = None,
        patient: bool = False,
        on_frame: Callable[[], None] | None = None,
    ) -> None:
        self.params = params or LiveParams()
        self.health = Health(state="opening" if patient else "up")
        self.gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)
        self._uri, self._on_frame = uri, on_frame
        self._sampler = Sampler(fps)
        self._condition = threading.Condition()
        self._newest: Frame | None = None
        self._taken = -1
        self._stop = threading.Event()
        self._failure: SourceError | None = None
        self._still = _Still(self.params)
        self._started = time.monotonic()
        self.first_fault: SourceError | None = None
        self.tried = not patient
        capture = None if patient else self._connect()
        if capture is None and not patient:
            raise why_not(uri, self.params.open_s)
        width, height = (
            (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
            if capture is not None
            else (0, 0)
        )
        shown = without_credentials(uri)
        self.info = SourceInfo(name or camera_name(uri), shown, width, height, 0.0, 0, is_live=True)
        self._log = log.bind(camera=self.info.name)
        self._thread = threading.Thread(
            target=self._read, args=(capture,), name=f"camera {self.info.name}", daemon=True
        )
        self._thread.start()

    @property
    def reconnects(self) -> int:
        """Attempts to connect again."""
        return self.health.reconnects

    @property
    def dropped(self) -> int:
        """Pictures that nobody took in time."""
        return self.health.dropped

    def now_s(self) -> float:
        """Stream time at this moment."""
        return time.monotonic() - self._started

    def take(self) -> Frame | None:
        """The newest picture, once; ``None`` when there is no new one.

        Raises:
            SourceError: The camera was away longer than ``give_up_s``.
        """
        with self._condition:
            if self._failure is not None:
                raise self._failure
            newest = self._newest
            self._newest = None
        return newest

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame whenever there is one, with strictly rising stream time.

        Raises:
            SourceError: The camera was away longer than ``give_up_s``.
        """
        while not self._stop.is_set():
            with self._condition:
                if self._newest is None and self._failure is None:
                    self._condition.wait(timeout=0.5)
            if self._stop.is_set():
                return
            frame = self.take()
            if frame is not None:
                yield frame

    def close(self, *, wait: bool = True) -> None:
        """Stop reading; waits for the reader to end, which may take as long as its time-outs."""
        self._stop.set()
        with self._condition:
            self._condition.notify_all()
        if wait:
            self._thread.join(timeout=self.params.open_s + self.params.stall_s)

    def _connect(self) -> Any:
        return open_camera(self._uri, open_s=self.params.open_s, read_s=self.params.stall_s)

    def _read(self, capture: Any) -> None:
        away_since, reason = 0.0, "no picture after connecting"
        if capture is None:
            capture = self._connect()
            if capture is None:
                self.first_fault = why_not(self._uri, self.params.open_s)
                reason = str(self.first_fault)
                self._enter("away", reason, away_since)
            self.tried = True
        while not self._stop.is_set():
            if capture is not None:
                reason = self._drain(capture)
                capture.release()
                if self._stop.is_set():
                    return
                if reason == FROZEN:
                    # Frames go on being used; only the connection is made anew.
                    self._log.warning("camera.frozen", since_s=round(self._still.since_s, 1))
                elif self.health.state != "away":
                    self._end_frozen(self.health.frame_s)
                    away_since = self.health.frame_s
                    self._enter("away", reason, away_since)
            capture = self._come_back(away_since, reason)

    def _drain(self, capture: Any) -> str:
        """Read until the stream breaks, stalls or freezes; returns why it ended."""
        health = self.health
        while not self._stop.is_set():
            asked = time.monotonic()
            good = capture.grab()
            now = self.now_s()
            if time.monotonic() - asked >= 0.9 * self.params.stall_s:
                # After its timeout FFmpeg still hands out a frame it had kept back: that is no sign of life.
                return f"no frame for {self.params.stall_s:g} s"
            if not good:
                return BROKEN
            if health.state == "away":
                self._end_gap(health.since_s, now, health.reason)
            elif health.state == "opening":
                health.state, health.since_s = "up", now
            health.received += 1
            health.frame_s = now
            if not self._sampler.wants(now):
                continue
            decoded, image = capture.retrieve()
            if decoded and image is not None:
                self._keep(image, now)
                if self._look_at(image, now):
                    return FROZEN
        return BROKEN

    def _keep(self, image: Image, now: float) -> None:
        health = self.health
        with self._condition:
            health.dropped += self._newest is not None
            self._newest = Frame(image, now, health.sampled)
            health.sampled += 1
            self._condition.notify_all()
        if self._on_frame is not None:
            self._on_frame()

    def _look_at(self, image: Image, now: float) -> bool:
        """Follow whether the picture is frozen; true when the connection should be made anew for it."""
        still = self._still
        if still.changed(image, now):
            self._end_frozen(now)
            return False
        if not still.due(now):
            return False
        if self.health.state != "frozen":
            self._enter("frozen", FROZEN, still.since_s)
        return True

    def _end_frozen(self, now: float) -> None:
        if self.health.state == "frozen":
            self._end_gap(self.health.since_s, now, FROZEN)

    def _enter(self, state: str, reason: str, since_s: float) -> None:
        health = self.health
        health.state, health.reason, health.since_s = state, reason, since_s
        self._log.warning("camera.lost", reason=reason, at_s=round(since_s, 1))

    def _end_gap(self, start_s: float, end_s: float, reason: str) -> None:
        health = self.health
        self.gaps.append(Gap(start_s, end_s, reason))
        health.gaps, health.gap_s = health.gaps + 1, health.gap_s + end_s - start_s
        health.state, health.reason, health.since_s = "up", "", end_s
        self._log.warning("camera.back", reason=reason, gap_s=round(end_s - start_s, 1))

    def _come_back(self, away_since: float, reason: str) -> Any:
        pause, took_s = self.params.backoff_s, 0.0
        while not self._stop.is_set():
            limit = self.params.give_up_s
            if limit is not None and reason != FROZEN and self.now_s() - away_since > limit:
                self._give_up(away_since, limit, reason)
                return None
            # Time spent on an attempt that was never answered counts as pause: it spared the camera as well.
            if self._stop.wait(max(pause - took_s, _LEAST_PAUSE_S)):
                return None
            pause = min(pause * 2, self.params.backoff_max_s)
            self.health.reconnects += 1
            asked = time.monotonic()
            capture = self._connect()
            took_s = time.monotonic() - asked
            if capture is not None:
                return capture
            if self.health.state == "frozen":
                self._end_frozen(self.now_s())
                away_since, reason = self.now_s(), BROKEN
                self._enter("away", reason, away_since)
        return None

    def _give_up(self, away_since: float, limit: float, reason: str) -> None:
        self._end_gap(away_since, self.now_s(), reason)
        with self._condition:
            self._failure = SourceError(
                f"camera {self.info.uri} has been away for {limit:.0f} s: {reason}",
                hint="check power and network of the camera",
            )
            self._condition.notify_all()
        self._stop.wait()


class _Still:
    """Tells a frozen picture from a quiet scene."""

    def __init__(self, params: LiveParams) -> None:
        self._params = params
        self._mark: Any = None
        self._limit = params.frozen_s
        self.since_s = 0.0

    def changed(self, image: Image, now: float) -> bool:
        """Whether it differs from the first picture of its kind."""
        mark = np.ascontiguousarray(image[::16, ::16]).astype(np.int16)
        same = self._mark is not None and self._mark.shape == mark.shape
        if same and float(np.abs(mark - self._mark).mean()) <= self._params.frozen_change:
            return False
        self._mark, self.since_s, self._limit = mark, now, self._params.frozen_s
        return True

    def due(self, now: float) -> bool:
        """Whether it has been frozen for so long that something should be done about it."""
        if now - self.since_s <= self._limit:
            return False
        # A scene that really is that quiet must not cost a reconnect twice a minute.
        self._limit *= 2
        return True
