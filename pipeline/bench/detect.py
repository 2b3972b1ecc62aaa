"""Stage 1 against decoding alone and against dvr-scan, on the same video in the same run.

The three take turns on each video, so that whatever else the machine does hits all of them; ratios are taken
turn by turn. dvr-scan (BSD-2, https://www.dvr-scan.com) looks for motion and nothing else. It is no
dependency of Sitrep: install it into an environment of its own (``python -m venv D`` and
``D/bin/pip install dvr-scan-headless``), because it brings another OpenCV, and name it with
``--dvr-scan D/bin/dvr-scan`` or have it on the PATH.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.bench import cameras, footage
from pipeline.detect import Stage1, build_stage1
from pipeline.errors import ConfigError
from pipeline.ingest import open_source
from pipeline.ingest.quiet import cv2
from pipeline.settings import Settings
from pipeline.store.frames import FileFrameStore

DVR_SCAN = "dvr-scan"
MIN_FRAMES = 30
LENGTHS_S = {"idle": 30.0, "typical": 60.0, "busy": 15.0}
HEADLINE = "typical"
# Timed from the inside: starting Python must not count against it.
_DVR_SCAN = """
import sys, time
from pathlib import Path
from dvr_scan.scanner import MotionScanner
scanner = MotionScanner([Path(sys.argv[1])])
wall, cpu = time.perf_counter(), time.process_time()
scanner.scan()
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
Spent = tuple[float, float]
"""Seconds by the clock, and of processor time."""


def run(
    settings: Settings,
    *,
    rounds: int = 3,
    paths: Sequence[Path] | None = None,
    camera_count: int = 8,
    camera_seconds: float = 24.0,
    dvr_scan: str = "",
) -> dict[str, Any]:
    """Measure.

    Args:
        settings: ``detect_fps`` and ``detect_threads`` count.
        rounds: How often each video is read in each way, in turn.
        paths: Clips to measure on; made footage and the bundled clips when omitted.
        camera_count: Cameras to simulate; 0 for none.
        camera_seconds: How long they are watched.
        dvr_scan: Path of the ``dvr-scan`` command; looked up when empty.

    Returns:
        ``vs_decode`` and ``vs_dvr_scan`` (frames/s of stage 1 over frames/s of the other, median of the
        turns; ``None`` without dvr-scan) and ``realtime_factor`` (seconds of video in a second of one core)
        for typical video, or as medians over ``paths``; all of it for each video as ``clips``; ``cameras``.

    Raises:
        ConfigError: ``dvr_scan`` is not there.
    """
    peer = _peer(dvr_scan)
    named = {path.name: path for path in paths} if paths else _footage(settings)
    with tempfile.TemporaryDirectory() as folder:
        stage1 = build_stage1(settings, FileFrameStore(Path(folder)))
        measured = [_one(name, path, stage1, settings, rounds, peer) for name, path in named.items()]
    clips = [clip for clip in measured if clip["frames"] >= MIN_FRAMES]
    chosen = [clip for clip in clips if clip["clip"] == HEADLINE] or clips
    figures: dict[str, Any] = {
        name: _over(chosen, name) for name in ("vs_decode", "vs_dvr_scan", "realtime_factor")
    }
    figures["realtime_factors"] = {
        clip["clip"]: round(clip["realtime_factor"], 2) for clip in clips if clip["clip"] in footage.MOTION
    }
    figures |= {"rounds": rounds, "detect_fps": settings.detect_fps, "clips": clips}
    if camera_count and not paths:
        figures["cameras"] = cameras.measure(settings, named[HEADLINE], camera_count, camera_seconds)
    return figures


def _footage(settings: Settings) -> dict[str, Path]:
    folder = settings.data_dir / "bench"
    made = {
        kind: footage.make(folder, kind, replace(footage.Shape(), seconds=seconds))
        for kind, seconds in LENGTHS_S.items()
    }
    bundled = sorted(Path(str(files("evaluation") / "clips")).glob("*.mp4"))
    return made | {path.name: path for path in bundled}


def _over(clips: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [clip[name] for clip in clips if clip[name] is not None]
    return round(statistics.median(values), 3) if values else None


def _one(
    name: str, path: Path, stage1: Stage1, settings: Settings, rounds: int, peer: Path | None
) -> dict[str, Any]:
    frames, seconds = _length(path)
    decode: list[Spent] = []
    detect: list[Spent] = []
    dvr: list[Spent] = []
    for _ in range(rounds):
        decode.append(_timed(lambda: _decode(path)))
        detect.append(_timed(lambda: _stage1(path, stage1, settings.detect_fps)))
        if peer is not None:
            dvr.append(_dvr_scan(path, peer))
    return {
        "clip": name,
        "frames": frames,
        "seconds": round(seconds, 1),
        "stage1_s": _spread(wall for wall, _ in detect),
        "decode_s": _spread(wall for wall, _ in decode),
        "dvr_scan_s": _spread(wall for wall, _ in dvr) if dvr else None,
        "vs_decode": statistics.median(_ratios(decode, detect, 0)),
        "vs_decode_cpu": statistics.median(_ratios(decode, detect, 1)),
        "vs_dvr_scan": statistics.median(_ratios(dvr, detect, 0)) if dvr else None,
        "vs_dvr_scan_cpu": statistics.median(_ratios(dvr, detect, 1)) if dvr else None,
        "realtime_factor": seconds / max(1e-6, statistics.median(cpu for _, cpu in detect)),
    }


def _ratios(other: Sequence[Spent], ours: Sequence[Spent], which: int) -> list[float]:
    return [theirs[which] / max(1e-6, mine[which]) for theirs, mine in zip(other, ours, strict=True)]


def _spread(values: Any) -> dict[str, float]:
    listed = list(values)
    return {"min": min(listed), "median": statistics.median(listed), "max": max(listed)}


def _timed(work: Callable[[], None]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _length(path: Path) -> tuple[int, float]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = 0
    while capture.grab():
        frames += 1
    rate = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
    capture.release()
    return frames, frames / rate


def _decode(path: Path) -> None:
    """Every frame as a picture, with what OpenCV does by default: the least any analysis needs."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    while capture.read()[0]:
        pass
    capture.release()


def _stage1(path: Path, stage1: Stage1, fps: float) -> None:
    # As `sitrep scan` and `sitrep watch` open it: frames that are not looked at become no pictures.
    source = open_source(path, fps=fps)
    for _ in stage1.run(source, camera=path.name):
        pass
    source.close()


def _peer(given: str) -> Path | None:
    """The interpreter that has dvr-scan, from the first line of its command."""
    found = shutil.which(given or DVR_SCAN)
    if found is None:
        if given:
            raise ConfigError(f"no {given}", hint="python -m venv D && D/bin/pip install dvr-scan-headless")
        return None
    first = Path(found).read_text(encoding="utf-8", errors="replace").splitlines()[0]
    return Path(first.removeprefix("#!").strip())


def _dvr_scan(path: Path, python: Path) -> Spent:
    command = [str(python), "-c", _DVR_SCAN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"dvr-scan failed: {done.stderr.strip()[-200:]}", hint="is it version 1.8?")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)
