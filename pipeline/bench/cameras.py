"""How many cameras a machine carries: real RTSP streams, one group of cameras, what was late or left out."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pipeline.bench.footage import Shape
from pipeline.bench.rtsp_camera import RtspCamera, missing
from pipeline.detect import build_stage1
from pipeline.settings import Settings
from pipeline.store.frames import FileFrameStore
from pipeline.watch.group import CameraGroup

STAGGER_S = 3.75
"""Between the beginnings of two cameras, so that eight never move at once in a period of thirty seconds."""
WARM_UP_S = 3.0


def measure(
    settings: Settings, clip: Path, count: int, seconds: float, shape: Shape | None = None
) -> dict[str, Any]:
    """Watch ``count`` cameras that all send ``clip``, one after another begun.

    Args:
        settings: ``detect_fps`` and ``detect_threads`` count.
        clip: H.264 in MP4; longer than ``seconds`` and the staggered beginning together.
        count: Cameras.
        seconds: How long is measured, once all have begun.
        shape: What ``clip`` is.

    Returns:
        ``received_fps`` (lowest, of the cameras), ``sent_fps``, ``dropped`` frames, ``skipped`` looks,
        ``lag_s`` (median and max of the age of frames when stage 1 was done), ``cores_used`` (without the
        server), and ``no_drops``; that is ``None``, and ``needs`` says why, where there is no RTSP server.
    """
    shape = shape or Shape()
    lacking = missing()
    if lacking is not None:
        return {"count": count, "no_drops": None, "needs": lacking}
    with tempfile.TemporaryDirectory() as folder, RtspCamera(clip=clip) as server:
        faults: list[str] = []
        group = CameraGroup(
            build_stage1(settings, FileFrameStore(Path(folder))),
            settings.detect_fps,
            submit=lambda candidate: None,
            on_fault=lambda key, error: faults.append(str(error)),
        )
        uri = f"rtsp://127.0.0.1:{server.port}/stream"
        for number in range(count):
            group.add(str(number), f"camera-{number + 1}", uri)
            _turn(group, STAGGER_S, lambda: None)
        _turn(group, WARM_UP_S, lambda: None)
        before = {report.camera: _counts(report) for report in group.reports()}
        lags: list[float] = []
        levels: list[int] = []

        def note() -> None:
            lags.extend(report.lag_s for report in group.reports())
            levels.append(group.level)

        server_cpu = psutil.Process(server.pid).cpu_times()
        busy, begun = _cpu(), time.monotonic()
        _turn(group, seconds, note)
        spent, took = _cpu() - busy, time.monotonic() - begun
        server_spent = sum(psutil.Process(server.pid).cpu_times()[:2]) - sum(server_cpu[:2])
        after = {report.camera: _counts(report) for report in group.reports()}
        group.close()
    gained = [[b - a for a, b in zip(before[name], after[name], strict=True)] for name in after]
    figures: dict[str, Any] = {
        "count": count,
        "seconds": round(took, 1),
        "sent_fps": shape.fps,
        "received_fps": round(min(row[0] for row in gained) / took, 2),
        "sampled_fps": round(min(row[1] for row in gained) / took, 2),
        "dropped": sum(row[2] for row in gained),
        "skipped": sum(row[3] for row in gained),
        "looks": sum(row[4] for row in gained),
        "gaps": sum(row[5] for row in gained),
        "lag_s": {"median": round(statistics.median(lags), 3), "max": round(max(lags), 3)},
        "level_max": max(levels),
        "cores_used": round(spent / took, 2),
        "server_cores_used": round(server_spent / took, 2),
        "faults": faults,
    }
    kept_up = figures["received_fps"] >= 0.98 * shape.fps
    figures["no_drops"] = kept_up and not (figures["dropped"] or figures["skipped"] or figures["gaps"])
    return figures


def _turn(group: CameraGroup, seconds: float, note: Callable[[], None]) -> None:
    until, next_note = time.monotonic() + seconds, 0.0
    while time.monotonic() < until:
        group.turn()
        if time.monotonic() >= next_note:
            note()
            next_note = time.monotonic() + 0.5


def _counts(report: Any) -> tuple[int, ...]:
    health = report.health
    return (health.received, health.sampled, health.dropped, report.skipped, report.looks, health.gaps)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
