"""A group of cameras: shared detectors, batches, load, faults of one that do not touch the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.proxy import Proxy

from pipeline.bench.rtsp_camera import RtspCamera
from pipeline.detect import Stage1
from pipeline.detect.triggers.fire import FireTrigger
from pipeline.errors import SitrepError
from pipeline.ingest.live import LiveParams
from pipeline.settings import Settings
from pipeline.types import Candidate, Detections, Image, Poses
from pipeline.watch import group
from pipeline.watch.group import PAUSES_S, CameraGroup
from tests.media import MemoryFrames, write_video
from tests.unit.detect.test_stage import burning

QUICK = LiveParams(open_s=3, stall_s=1.2, frozen_s=20, backoff_s=0.1, backoff_max_s=0.5)


class Detector:
    """Sees nothing, takes its time, and remembers how large its batches were."""

    name = "slow"

    def __init__(self, takes_s: float = 0.0) -> None:
        self.batches: list[int] = []
        self.takes_s = takes_s

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.batches.append(len(images))
        time.sleep(self.takes_s * len(images))
        return [Detections.empty() for _ in images]

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        return [Poses.empty() for _ in images]


class Case:
    """A group and what it said."""

    def __init__(self, folder: Path, detector: Detector, fps: float = 5.0) -> None:
        settings = Settings(data_dir=folder, detect_fps=fps)
        stage1 = Stage1(settings, MemoryFrames(), detector, detector, triggers=[FireTrigger])
        self.found: list[Candidate] = []
        self.faults: dict[str, SitrepError] = {}
        self.ended: dict[str, bool] = {}
        self.group = CameraGroup(
            stage1,
            fps,
            submit=self.found.append,
            on_fault=self.faults.__setitem__,
            on_end=self.ended.__setitem__,
            params=QUICK,
        )

    def run(self, seconds: float) -> int:
        looked, until = 0, time.monotonic() + seconds
        while time.monotonic() < until and not self.group.empty:
            looked += self.group.turn()
        return looked


def test_clips_are_read_together_and_give_what_they_give_alone(tmp_path: Path) -> None:
    """Given two clips, when one group reads them, then frames go in batches and both fires are found."""
    clips = [
        write_video(tmp_path / f"{name}.avi", frames=90, fps=15, paint=burning) for name in ("one", "two")
    ]
    detector = Detector()
    case = Case(tmp_path, detector)
    for clip in clips:
        case.group.add(clip.stem, clip.stem, str(clip))
    case.group.add("missing", "missing", str(tmp_path / "missing.avi"))
    case.run(30)
    assert sorted(candidate.camera for candidate in case.found) == ["one", "two"]
    assert case.ended == {"one": True, "two": True, "missing": False}
    assert "does not exist" in str(case.faults["missing"])
    assert max(detector.batches) == 2


@pytest.mark.needs("gstreamer-rtsp")
def test_a_camera_that_fails_does_not_touch_the_other(tmp_path: Path) -> None:
    """Given two cameras and an address with nothing behind, when one is cut, then the other goes on."""
    with RtspCamera() as camera, Proxy(camera.port) as proxy:
        case = Case(tmp_path, Detector())
        case.group.add("a", "steady", f"rtsp://127.0.0.1:{camera.port}/stream")
        case.group.add("b", "shaky", f"rtsp://127.0.0.1:{proxy.port}/stream")
        case.group.add("c", "absent", "rtsp://u:secret@127.0.0.1:9/stream")
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and "c" not in case.faults:
            case.run(0.5)
        case.run(2.0)
        proxy.cut()
        gaps, deadline = [], time.monotonic() + 10
        while not gaps and time.monotonic() < deadline:
            case.run(0.5)
            reports = {report.camera: report for report in case.group.reports()}
            gaps = list(reports["shaky"].gaps)
        case.group.close()
    assert "nothing listens on port 9" in str(case.faults["c"]) and "secret" not in str(case.faults["c"])
    assert len(gaps) == 1 and gaps[0][0].reason
    assert reports["steady"].health.state == "up" and reports["steady"].health.gaps == 0
    assert reports["absent"].health.state == "away"
    assert reports["shaky"].health.received > 10


@pytest.mark.needs("gstreamer-rtsp")
def test_under_load_detectors_look_less_often_and_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given detectors too slow for the rate, when all moves, then looks are skipped and counted."""
    monkeypatch.setattr(group, "_CALM_S", 0.8)
    with RtspCamera() as camera:
        detector = Detector(takes_s=0.45)
        case = Case(tmp_path, detector)
        case.group.add("a", "gate", f"rtsp://127.0.0.1:{camera.port}/stream")
        case.run(7)
        loaded = case.group.reports()[0]
        level = case.group.level
        detector.takes_s = 0.0
        deadline = time.monotonic() + 40
        while case.group.level and time.monotonic() < deadline:
            case.run(1)
        case.group.close()
    assert 0 < level < len(PAUSES_S)
    assert loaded.skipped > 0 and loaded.looks > 0
    assert case.group.level == 0, "calm again"
