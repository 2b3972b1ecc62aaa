"""Stage 1 against decoding alone and, where it is installed, against dvr-scan; same clips, same run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.detect import Stage1, build_stage1
from pipeline.ingest import open_source
from pipeline.settings import Settings
from pipeline.store.frames import FileFrameStore

DVR_SCAN = "dvr-scan"
MIN_FRAMES = 30


def run(settings: Settings, *, rounds: int = 3, paths: Sequence[Path] | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        settings: ``detect_fps`` and ``detect_threads`` count.
        rounds: How often each clip is read in each way, in turn.
        paths: Clips to measure on; the bundled ones when omitted.

    Returns:
        ``vs_decode`` and ``vs_dvr_scan`` (frames/s of stage 1 over frames/s of the other, median over clips;
        ``None`` without dvr-scan), ``realtime_factor`` (seconds of video in a second, per core), and the same
        for each clip as ``clips``.
    """
    clips: list[dict[str, Any]] = []
    paths = paths or sorted(Path(str(files("evaluation") / "clips")).glob("*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        stage1 = build_stage1(settings, FileFrameStore(Path(folder)))
        for path in paths:
            measured = _one(path, stage1, rounds)
            if measured["frames"] >= MIN_FRAMES:
                clips.append(measured)
    against_dvr = [clip["vs_dvr_scan"] for clip in clips if clip["vs_dvr_scan"] is not None]
    return {
        "vs_decode": round(statistics.median(clip["vs_decode"] for clip in clips), 3),
        "vs_dvr_scan": round(statistics.median(against_dvr), 3) if against_dvr else None,
        "realtime_factor": round(statistics.median(clip["realtime_factor"] for clip in clips), 2),
        "rounds": rounds,
        "clips": clips,
    }


def _one(path: Path, stage1: Stage1, rounds: int) -> dict[str, Any]:
    frames, seconds = 0, 0.0
    decode: list[float] = []
    detect: list[float] = []
    cpu: list[float] = []
    dvr: list[float] = []
    with_dvr = shutil.which(DVR_SCAN) is not None
    for _ in range(rounds):
        started = time.perf_counter()
        frames, seconds = _decode(path)
        decode.append(time.perf_counter() - started)
        busy = time.process_time()
        detect.append(_timed(lambda: _stage1(path, stage1)))
        cpu.append(time.process_time() - busy)
        if with_dvr:
            dvr.append(_timed(lambda: _dvr_scan(path)))
    spent = statistics.median(detect)
    return {
        "clip": path.name,
        "frames": frames,
        "stage1_s": {"min": min(detect), "median": spent, "max": max(detect)},
        "decode_s": {"min": min(decode), "median": statistics.median(decode), "max": max(decode)},
        "vs_decode": statistics.median(decode) / spent,
        "vs_dvr_scan": statistics.median(dvr) / spent if dvr else None,
        "realtime_factor": seconds / max(1e-6, statistics.median(cpu)),
    }


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _decode(path: Path) -> tuple[int, float]:
    source = open_source(path)
    frames, last = 0, 0.0
    for frame in source.frames():
        frames, last = frames + 1, frame.t_s
    source.close()
    return frames, last


def _stage1(path: Path, stage1: Stage1) -> None:
    source = open_source(path)
    for _ in stage1.run(source, camera=path.name):
        pass
    source.close()


def _dvr_scan(path: Path) -> None:
    command = [DVR_SCAN, "--input", str(path), "--scan-only", "--quiet"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
