"""Checks of an installation, each with what is wrong and how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import FrameStoreError, SitrepError
from pipeline.settings import Settings

LOW_DISK_GB = 2.0
LOW_MEMORY_GB = 3.0


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    health: Health
    said: str
    hint: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Run every check, cheapest first; a check that fails does not stop the others."""
    for name, check in CHECKS.items():
        try:
            health, said, hint = check(settings)
        except SitrepError as error:
            health, said, hint = Health.BAD, error.message, error.hint
        except Exception as error:
            health, said, hint = Health.BAD, f"{type(error).__name__}: {error}", ""
        yield Check(name, health, " ".join(said.split()), hint)


Finding = tuple[Health, str, str]


def _machine(settings: Settings) -> Finding:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().available / 2**30
    said = f"Python {sys.version.split()[0]}, {cores} cores, {memory:.1f} GB memory free"
    if memory < LOW_MEMORY_GB:
        return Health.WARN, said, "the embedded model and the detectors want about 2 GB"
    return Health.OK, said, ""


def _data_dir(settings: Settings) -> Finding:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.data_dir):
            free = shutil.disk_usage(settings.data_dir).free / 2**30
    except OSError as error:
        raise FrameStoreError(
            f"data directory {settings.data_dir} cannot be written: {error.strerror}",
            hint="set SITREP_DATA_DIR to a folder that can",
        ) from error
    said = f"{settings.data_dir}, {free:.1f} GB free"
    if free < LOW_DISK_GB:
        return Health.WARN, said, "frames need room: free some, or lower retention_days"
    return Health.OK, said, ""


def _video(settings: Settings) -> Finding:
    import cv2

    if "FFMPEG:                      YES" not in cv2.getBuildInformation():
        return Health.BAD, f"OpenCV {cv2.__version__} without FFmpeg", "pip install opencv-python-headless"
    return Health.OK, f"OpenCV {cv2.__version__} with FFmpeg", ""


def _database(settings: Settings) -> Finding:
    from pipeline.store.engine import describe, open_store

    store = open_store(settings)
    try:
        return Health.OK, describe(store), ""
    finally:
        store.dispose()


def _broker(settings: Settings) -> Finding:
    from pipeline.queue.broker import probe

    return Health.OK, probe(settings), ""


def _detectors(settings: Settings) -> Finding:
    import numpy as np

    from pipeline.detect.registry import make_detector, make_pose_estimator

    blank = np.zeros((120, 160, 3), np.uint8)
    detector = make_detector("ssd", settings.data_dir, threads=settings.detect_threads)
    pose = make_pose_estimator("movenet", settings.data_dir, threads=settings.detect_threads)
    detector.detect([blank])
    pose.estimate([blank])
    return Health.OK, f"{detector.name} and {pose.name} answer", ""


def _prompt(settings: Settings) -> Finding:
    from prompts.loader import load_pack
    from prompts.pack import SHIPPED

    pack = load_pack(settings.prompt, settings.data_dir / "prompts", SHIPPED)
    return Health.OK, f"{pack.ref} ({pack.sha256[:12]})", ""


def _policy(settings: Settings) -> Finding:
    from pipeline.decide.policy import load_policy

    policy = load_policy(settings.policy)
    return Health.OK, f"{settings.policy or 'the one Sitrep ships'}, {len(policy.events)} event types", ""


def _model(settings: Settings) -> Finding:
    from pipeline.reason.examine import examine as examine_model

    return Health.OK, examine_model(settings).one_line(), ""


CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "machine": _machine,
    "data directory": _data_dir,
    "video": _video,
    "database": _database,
    "broker": _broker,
    "prompt": _prompt,
    "policy": _policy,
    "detectors": _detectors,
    "model": _model,
}
