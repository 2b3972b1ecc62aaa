"""An RTSP camera with a fault every half minute: does the source come back, is every gap on record?

Everything is real: GStreamer's RTSP server as its own process, a TCP proxy in between for the network's
faults, and the source that ``sitrep watch`` uses, with the motion gate behind it.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from pipeline.bench.proxy import Proxy
from pipeline.bench.rtsp_camera import RtspCamera, missing
from pipeline.detect.motion import MotionGate
from pipeline.errors import ConfigError
from pipeline.ingest.live import LiveParams, LiveSource
from pipeline.settings import Settings

PASSWORD = "soak-4f1c"
RECOVERY_LIMIT_S = 10.0
GROWTH_LIMIT = 0.05
WARM_UP_SHARE = 0.2
PARAMS = LiveParams(frozen_s=6.0)
_TICKS_AN_HOUR = 90_000 * 3600


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble.

    Attributes:
        name: What it is.
        begin: Brings it about.
        end: Ends it.
        lasts_s: How long it lasts.
        breaks: Whether no usable frame can come while it lasts, so that a gap must be on record.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    lasts_s: float = 0.0
    breaks: bool = False


def faults(camera: RtspCamera, proxy: Proxy) -> list[Fault]:
    """Every kind, in turn."""

    def put(name: str, value: float) -> Callable[[], None]:
        return lambda: setattr(proxy, name, value)

    def silence() -> None:
        proxy.silent = True
        proxy.go_silent()

    def say(command: str) -> Callable[[], None]:
        return lambda: camera.tell(command)

    return [
        Fault("cut", proxy.cut, breaks=True),
        Fault("frozen picture", say("freeze"), say("thaw"), 9.0, breaks=True),
        Fault("server restart", camera.stop, camera.start, 5.0, breaks=True),
        Fault("corrupt packets", put("corrupt", 0.2), put("corrupt", 0.0), 6.0),
        Fault("stall", proxy.go_silent, breaks=True),
        Fault("clock jump", put("shift_ticks", _TICKS_AN_HOUR), put("shift_ticks", -_TICKS_AN_HOUR), 4.0),
        Fault("accept, then silence", silence, put("silent", False), 8.0, breaks=True),
        Fault("latency", put("latency_s", 0.4), put("latency_s", 0.0), 6.0),
        Fault("resolution change", say("size 640 480"), say("size 320 240"), 6.0),
        Fault("variable frame rate", say("thin 0.8"), say("thin 0"), 6.0),
        Fault("lost packets", put("lose", 0.2), put("lose", 0.0), 6.0),
    ]


def run(settings: Settings, *, minutes: float = 30.0, every_s: float = 30.0) -> dict[str, Any]:
    """Soak.

    Args:
        settings: ``detect_fps`` counts.
        minutes: How long.
        every_s: From the beginning of one fault to that of the next.

    Returns:
        ``alive``, ``timestamps_monotone``, ``gaps_recorded`` (of ``gaps_expected``), ``recovery_s`` (min,
        median, max), ``rss_growth`` (share, after warm-up), ``passed``, and each fault as ``faults``.

    Raises:
        ConfigError: GStreamer's RTSP server is not installed.
    """
    lacking = missing()
    if lacking is not None:
        raise ConfigError(f"the RTSP soak needs {lacking}", hint="apt-get install it")
    with (
        RtspCamera(auth="digest", password=PASSWORD) as camera,
        Proxy(camera.port) as proxy,
    ):
        source = LiveSource(
            f"rtsp://guard:{PASSWORD}@127.0.0.1:{proxy.port}/stream", fps=settings.detect_fps, params=PARAMS
        )
        viewer = _Viewer(source)
        try:
            rows = _trouble(faults(camera, proxy), viewer, minutes * 60, every_s)
        finally:
            viewer.stop()
            source.close()
    return _summary(rows, viewer, minutes)


def _trouble(kinds: list[Fault], viewer: _Viewer, total_s: float, every_s: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    begun = time.monotonic()
    viewer.wait_for_frame(begun, 10.0)
    while time.monotonic() - begun + every_s <= total_s + 1:
        fault = kinds[len(rows) % len(kinds)]
        next_at = time.monotonic() + every_s
        start_s, known = viewer.source.now_s(), viewer.source.health.gaps
        fault.begin()
        time.sleep(fault.lasts_s)
        fault.end()
        ended = time.monotonic()
        recovery = viewer.wait_for_frame(ended, max(every_s, 2 * RECOVERY_LIMIT_S))
        time.sleep(max(0.0, next_at - time.monotonic()))
        new = [gap for gap in viewer.source.gaps if gap.end_s > start_s]
        rows.append(
            {
                "fault": fault.name,
                "recovery_s": None if recovery is None else round(recovery, 2),
                "gap_expected": fault.breaks,
                "gaps": viewer.source.health.gaps - known,
                "gap_s": round(sum(gap.end_s - max(gap.start_s, start_s) for gap in new), 2),
                "reasons": sorted({gap.reason for gap in new}),
            }
        )
    return rows


class _Viewer:
    """Takes the frames, looks at them, and keeps the books."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.frames, self.backwards = 0, 0
        self.memory: list[int] = []
        self._last_s = -1.0
        self._seen_at = 0.0
        self.was_alive = False
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look, self._weigh)]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self.was_alive = self.alive
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def wait_for_frame(self, since: float, timeout_s: float) -> float | None:
        """Seconds from a moment until a usable frame came that was taken after it."""
        while time.monotonic() - since < timeout_s:
            if self._seen_at > since and self.source.health.state == "up":
                # A gap that was still open at that moment ends when the frames are usable again.
                shift = time.monotonic() - self.source.now_s() - since
                ends = [gap.end_s + shift for gap in self.source.gaps]
                return max((end for end in ends if end > 0), default=self._seen_at - since)
            time.sleep(0.02)
        return None

    def _look(self) -> None:
        gate = MotionGate()
        while not self._stop.is_set():
            frame = self.source.take()
            if frame is None:
                time.sleep(0.02)
                continue
            self.backwards += frame.t_s <= self._last_s
            self._last_s, self._seen_at = frame.t_s, time.monotonic()
            self.frames += 1
            gate.update(gate.small(frame.image), frame.t_s)

    def _weigh(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(2.0):
            gc.collect()
            self.memory.append(process.memory_info().rss)


def _summary(rows: list[dict[str, Any]], viewer: _Viewer, minutes: float) -> dict[str, Any]:
    settled = viewer.memory[int(len(viewer.memory) * WARM_UP_SHARE) :]
    part = max(1, len(settled) // 5)
    first, last = statistics.median(settled[:part]), statistics.median(settled[-part:])
    recoveries = [row["recovery_s"] for row in rows if row["recovery_s"] is not None]
    expected = [row for row in rows if row["gap_expected"]]
    figures: dict[str, Any] = {
        "minutes": minutes,
        "alive": viewer.was_alive,
        "frames": viewer.frames,
        "timestamps_monotone": viewer.backwards == 0,
        "gaps_expected": len(expected),
        "gaps_recorded": sum(row["gaps"] > 0 for row in expected),
        "recovered": len(recoveries),
        "recovery_s": {
            "min": min(recoveries, default=None),
            "median": round(statistics.median(recoveries), 2) if recoveries else None,
            "max": max(recoveries, default=None),
        },
        "rss_mb": {"after_warm_up": round(first / 2**20, 1), "end": round(last / 2**20, 1)},
        "rss_growth": round(last / first - 1, 4),
        "faults": rows,
    }
    figures["passed"] = bool(
        figures["alive"]
        and figures["timestamps_monotone"]
        and figures["gaps_recorded"] == figures["gaps_expected"]
        and figures["recovered"] == len(rows)
        and (figures["recovery_s"]["max"] or 0) <= RECOVERY_LIMIT_S
        and figures["rss_growth"] < GROWTH_LIMIT
    )
    return figures
