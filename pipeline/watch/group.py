"""A group of cameras in one process: a reading thread each, one loop with shared detectors for all.

Each turn of the loop takes the newest frame of every camera that has one and shows them to the detectors as
one batch. When the loop cannot keep up, the detectors look less often at what moves, step by step, and each
look that was left out is counted; motion gate and triggers still see every sampled frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.detect import Stage1
from pipeline.detect.stage import Stream, look_together
from pipeline.errors import SitrepError, SourceError
from pipeline.ingest import is_live, open_source, without_credentials
from pipeline.ingest.live import Gap, Health, LiveParams, LiveSource
from pipeline.interfaces import FrameSource
from pipeline.types import Candidate, Frame

PAUSES_S = (0.0, 0.4, 0.6, 1.0, 2.0)
"""Least time between two looks of the detectors at one camera, by level of load."""
_CALM_S = 5.0
_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class CameraReport:
    """How one camera is.

    Attributes:
        camera: Its name.
        uri: Its address without credentials.
        health: Counters of the reading side.
        looks: How often the detector looked.
        skipped: How often it did not because of the load.
        lag_s: Age of the last frame when stage 1 was done with it.
        frame_age_s: Seconds since a frame came.
        gaps: Gaps that ended since the last report, with their age: seconds since their end.
    """

    camera: str
    uri: str
    health: Health
    looks: int
    skipped: int
    lag_s: float
    frame_age_s: float
    gaps: tuple[tuple[Gap, float], ...] = ()


class _Member:
    """One source of the group, with its stream."""

    def __init__(self, source: FrameSource, stream: Stream) -> None:
        self.source, self.stream = source, stream
        self.lag_s = 0.0
        self.reported = 0
        self.told = False
        self._frames: Iterator[Frame] | None = None

    @property
    def live(self) -> LiveSource | None:
        return self.source if isinstance(self.source, LiveSource) else None

    def next(self) -> tuple[Frame | None, bool]:
        """The next frame to look at, and whether the source has ended."""
        live = self.live
        if live is not None:
            frame = live.take()
            return (frame if frame is not None and self.stream.wants(frame) else None), False
        if self._frames is None:
            self._frames = self.source.frames()
        for frame in self._frames:
            if self.stream.wants(frame):
                return frame, False
        return None, True


class CameraGroup:
    """Runs stage 1 over several sources at once.

    Args:
        stage1: Detectors and triggers, shared.
        fps: Frames a second to look at.
        submit: Gets each candidate.
        on_fault: Gets the name of a source and what is wrong with it.
        on_end: Gets the name of a source that has been read to its end, and whether nothing was wrong.
        params: How cameras are watched.
    """

    def __init__(
        self,
        stage1: Stage1,
        fps: float,
        *,
        submit: Callable[[Candidate], None],
        on_fault: Callable[[str, SitrepError], None],
        on_end: Callable[[str, bool], None] = lambda name, good: None,
        params: LiveParams | None = None,
    ) -> None:
        self._stage1, self._fps, self._params = stage1, fps, params
        self._submit, self._on_fault, self._on_end = submit, on_fault, on_end
        self._members: dict[str, _Member] = {}
        self._added: list[tuple[str, str, str]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.level = 0
        self._changed_at = self._busy_at = time.monotonic()
        self._dropped = 0

    def add(self, key: str, name: str, uri: str) -> None:
        """Add a source; any thread may.

        Args:
            key: Names the source in callbacks.
            name: Name of the camera.
            uri: Camera address, clip or picture.
        """
        with self._lock:
            self._added.append((key, name, uri))
        self._wake.set()

    @property
    def empty(self) -> bool:
        """Whether every source has ended."""
        with self._lock:
            return not self._members and not self._added

    def turn(self, wait_s: float = 0.1) -> int:
        """One turn of the loop; how many frames were looked at. Waits a little when there are none."""
        self._wake.clear()
        self._welcome()
        pairs: list[tuple[_Member, Frame]] = []
        for key, member in list(self._members.items()):
            try:
                frame, ended = member.next()
            except SourceError as error:
                self._leave(key, error)
                continue
            self._complain(key, member)
            if frame is not None:
                pairs.append((member, frame))
            elif ended:
                self._leave(key, None)
        if not pairs:
            self._wake.wait(wait_s)
            return 0
        for candidates in look_together([(member.stream, frame) for member, frame in pairs]):
            for candidate in candidates:
                self._submit(candidate)
        self._adapt(pairs)
        return len(pairs)

    def close(self) -> None:
        """Let every source go; events that go on become candidates."""
        for key in list(self._members):
            self._leave(key, None, whole=False)

    def reports(self) -> list[CameraReport]:
        """How each camera is; gaps are told once."""
        made = []
        for member in list(self._members.values()):
            live = member.live
            if live is None:
                continue
            new = live.health.gaps - member.reported
            member.reported += new
            gaps = tuple((gap, live.now_s() - gap.end_s) for gap in list(live.gaps)[-new:]) if new else ()
            reader = member.stream.reader
            made.append(
                CameraReport(
                    member.stream.camera,
                    live.info.uri,
                    live.health,
                    reader.looks,
                    reader.skipped,
                    member.lag_s,
                    live.now_s() - live.health.frame_s,
                    gaps,
                )
            )
        return made

    def _welcome(self) -> None:
        with self._lock:
            added, self._added = self._added, []
        for key, name, uri in added:
            try:
                source: FrameSource
                if is_live(uri):
                    source = LiveSource(
                        uri,
                        fps=self._fps,
                        params=self._params,
                        name=name,
                        patient=True,
                        on_frame=self._wake.set,
                    )
                else:
                    source = open_source(uri, fps=self._fps)
                    if source.info.is_still:
                        self._still(key, name, source)
                        continue
                self._members[key] = _Member(source, self._stage1.stream(source.info, name))
            except SitrepError as error:
                self._on_fault(key, error)
                self._on_end(key, False)

    def _still(self, key: str, name: str, source: FrameSource) -> None:
        # A picture is looked at by everything at once: never in a batch with others.
        for candidate in self._stage1.run(source, camera=name):
            self._submit(candidate)
        self._on_end(key, True)

    def _complain(self, key: str, member: _Member) -> None:
        live = member.live
        if live is not None and not member.told and live.tried:
            member.told = True
            if live.first_fault is not None:
                self._on_fault(key, live.first_fault)

    def _leave(self, key: str, error: SourceError | None, *, whole: bool = True) -> None:
        member = self._members.pop(key)
        for candidate in member.stream.finish():
            self._submit(candidate)
        live = member.live
        if live is None:
            member.source.close()
        else:
            # Its reader ends by itself: eight time-outs one after another are too long to wait for.
            live.close(wait=False)
        if error is not None:
            self._on_fault(key, error)
        self._on_end(key, whole and error is None)

    def _adapt(self, pairs: list[tuple[_Member, Frame]]) -> None:
        """Follow the load: raise the level when frames get old or lost, lower it after some calm."""
        now, period = time.monotonic(), 1.0 / self._fps
        late = False
        dropped = 0
        for member, frame in pairs:
            if member.live is not None:
                member.lag_s = member.live.now_s() - frame.t_s
                late |= member.lag_s > 2 * period
        for member in self._members.values():
            if member.live is not None:
                dropped += member.live.health.dropped
        late |= dropped > self._dropped
        self._dropped = dropped
        if late:
            self._busy_at = now
        step = 1 if late and now - self._changed_at > _STEP_S else 0
        if not late and now - self._busy_at > _CALM_S and now - self._changed_at > _CALM_S:
            step = -1
        level = min(max(self.level + step, 0), len(PAUSES_S) - 1)
        if level != self.level:
            self.level, self._changed_at = level, now
            for member in self._members.values():
                member.stream.reader.least_pause_s = PAUSES_S[level] if member.live is not None else 0.0


def shown(uri: str) -> str:
    """A source as it may be shown."""
    return without_credentials(uri) if is_live(uri) else uri
