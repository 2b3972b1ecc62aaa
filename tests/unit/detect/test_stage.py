from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.detect import Stage1, facts
from pipeline.detect.scenes import with_posed
from pipeline.detect.stage import look_together
from pipeline.detect.triggers.fire import FireTrigger
from pipeline.errors import SourceError
from pipeline.ingest import open_source
from pipeline.interfaces import SourceInfo
from pipeline.settings import Settings
from pipeline.types import Candidate, Detections, EventType, Frame, Image, Moment, Poses, View
from tests.media import MemoryFrames, cut, ffmpeg, needs_ffmpeg, write_video
from tests.unit.detect.scenes_for_tests import detections


class Nobody:
    """A detector and pose estimator in an empty world; counts how often it is asked."""

    name = "nobody"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.asked += len(images)
        return [Detections.empty() for _ in images]

    def estimate(self, images: Sequence[Image]) -> list[Poses]:
        return [Poses.empty() for _ in images]


def burning(index: int) -> np.ndarray:
    image = np.full((120, 160, 3), (60, 70, 65), np.uint8)
    if index >= 30:
        rng = np.random.default_rng(index)
        low, high = int(rng.integers(40, 60)), int(rng.integers(70, 100))
        image[low:high, 60:90] = (40, 140, 250)
    return image


def stage(nobody: Nobody, store: MemoryFrames, tmp_path: Path) -> Stage1:
    return Stage1(Settings(data_dir=tmp_path), store, nobody, nobody, triggers=[FireTrigger])


def run(clip: Path, tmp_path: Path) -> tuple[list[Candidate], MemoryFrames, Nobody]:
    store, nobody = MemoryFrames(), Nobody()
    found = list(stage(nobody, store, tmp_path).run(open_source(clip), camera="yard"))
    return found, store, nobody


def test_candidate_tells_when_where_and_why_and_keeps_its_frames(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "fire.avi", frames=90, fps=15, paint=burning)
    (candidate,), store, _ = run(clip, tmp_path)
    assert candidate.event_type is EventType.FIRE and candidate.camera == "yard"
    assert candidate.source == str(clip)
    assert 2.0 <= candidate.start_s <= 3.0 and candidate.end_s > 5.0
    assert candidate.evidence.facts[facts.FIRE_PIXELS] and candidate.evidence.note
    assert set(candidate.evidence.facts) <= facts.ALL
    views = {(key.moment, key.view) for key in candidate.key_frames}
    assert {(Moment.PEAK, View.FULL), (Moment.PEAK, View.REGION), (Moment.PEAK, View.MOTION)} <= views
    assert (Moment.BEFORE, View.FULL) in views
    assert len({key.t_s for key in candidate.key_frames}) <= 4
    for key in candidate.key_frames:
        assert store.image(key.sha256).shape[:2] == (key.height, key.width)
    peak = next(k for k in candidate.key_frames if (k.moment, k.view) == (Moment.PEAK, View.FULL))
    assert (store.image(peak.sha256)[..., 2] > 200).any(), "the peak shows the fire"


def test_same_content_gives_the_same_ids_under_another_name(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "fire.avi", frames=60, fps=15, paint=burning)
    copy = tmp_path / "copy.avi"
    copy.write_bytes(clip.read_bytes())
    first, second = (run(path, tmp_path)[0] for path in (clip, copy))
    assert [c.candidate_id for c in first] == [c.candidate_id for c in second] != []
    assert all(len(c.candidate_id) == 16 for c in first)
    assert [k.sha256 for k in first[0].key_frames] == [k.sha256 for k in second[0].key_frames]


@needs_ffmpeg
def test_truncated_clip_hands_over_its_candidates_and_then_fails(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "fire.avi", frames=120, fps=15, paint=burning)
    broken = cut(whole, 0.7, tmp_path / "cut.avi")
    found = []
    store, nobody = MemoryFrames(), Nobody()
    with pytest.raises(SourceError, match="truncated"):
        for candidate in stage(nobody, store, tmp_path).run(open_source(broken), camera="yard"):
            found.append(candidate)
    assert len(found) == 1


def test_gate_spares_the_detector(tmp_path: Path) -> None:
    coarse = np.random.default_rng(1).integers(0, 255, (15, 20, 3), np.uint8)
    still = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    clip = write_video(tmp_path / "quiet.avi", frames=300, fps=15, paint=lambda _: still)
    found, _, nobody = run(clip, tmp_path)
    assert found == []
    assert nobody.asked < 30, "20 s at 5 frames/s would be 100 looks"


def test_a_clip_is_read_ahead_and_a_picture_is_not(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", frames=45, fps=15)
    cv2.imwrite(str(tmp_path / "one.png"), burning(40))
    readers: dict[str, set[bool]] = {}
    for path in (clip, tmp_path / "one.png"):
        seen = readers.setdefault(path.name, set())
        done = stage(Nobody(), MemoryFrames(), tmp_path).run(
            open_source(path),
            camera="yard",
            on_progress=lambda *_, seen=seen: seen.add(
                any(thread.name == "read-ahead" for thread in threading.enumerate())
            ),
        )
        list(done)
    assert True in readers["clip.avi"] and readers["one.png"] <= {False}


class Builder:
    """Counts frames, and notes at which of them it was told of another scene."""

    def __init__(self) -> None:
        self.frames = 0
        self.cuts: list[int] = []

    def cut(self) -> None:
        self.cuts.append(self.frames)

    def update(self, scene: object, kept: object) -> list[object]:
        self.frames += 1
        return []


def test_what_was_seen_before_a_cut_is_forgotten(tmp_path: Path) -> None:
    """Given a camera that switches to another scene, then no view mixes frames of both.

    Neither those that are remembered, nor those that an event under way has begun.
    """
    scenes = [
        cv2.resize(np.random.default_rng(seed).integers(0, 255, (15, 20, 3), np.uint8), (160, 120))
        for seed in (1, 2)
    ]
    clip = write_video(tmp_path / "cut.avi", frames=45, fps=15, paint=lambda index: scenes[index >= 30])
    source = open_source(clip, fps=5)
    stream = stage(Nobody(), MemoryFrames(), tmp_path).stream(source.info, "yard")
    builder, kept = Builder(), []
    stream._builders = [builder]
    for frame in source.frames():
        if stream.wants(frame):
            look_together([(stream, frame)])
            kept.append(len(stream._ring))
    assert builder.cuts == [10] and builder.frames == 15
    assert kept == [*range(1, 11), *range(1, 6)]


def test_progress_rises_to_the_total(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=45, fps=15)
    told: list[tuple[float, float]] = []
    done = stage(Nobody(), MemoryFrames(), tmp_path).run(
        open_source(clip, fps=5), camera="yard", on_progress=lambda now, total: told.append((now, total))
    )
    assert list(done) == []
    assert told == sorted(told) and told[-1] == (3.0, 3.0) and len(told) == 16


def test_still_runs_only_what_makes_sense_on_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "fire.png"), burning(40))
    (candidate,), _, _ = run(tmp_path / "fire.png", tmp_path)
    assert candidate.evidence.facts[facts.STILL_IMAGE] is True
    assert (candidate.start_s, candidate.end_s) == (0.0, 0.0)
    assert [(k.moment, k.view) for k in candidate.key_frames] == [
        (Moment.PEAK, View.FULL),
        (Moment.PEAK, View.REGION),
    ]


@needs_ffmpeg
def test_resolution_change_in_the_middle_is_survived(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.mp4", frames=45, fps=15, paint=burning)
    large = tmp_path / "b.ts"
    ffmpeg("-i", small, "-vf", "scale=320:240", tmp_path / "large.mp4")
    ffmpeg("-i", small, "-c:v", "mpeg2video", "-q:v", "3", tmp_path / "a.ts")
    ffmpeg("-i", tmp_path / "large.mp4", "-c:v", "mpeg2video", "-q:v", "3", large)
    both = tmp_path / "both.mkv"
    ffmpeg("-i", f"concat:{tmp_path / 'a.ts'}|{large}", "-c", "copy", both)
    try:
        run(both, tmp_path)
    except SourceError as error:
        assert error.one_line()


def test_people_only_the_pose_estimator_saw_are_added_once() -> None:
    seen = detections([("person", 0.9, (10.0, 10.0, 50.0, 100.0))])
    boxes = np.array([(12, 12, 48, 98), (200, 10, 240, 100), (100, 10, 140, 100)], np.float32)
    poses = Poses(np.zeros((3, 17, 3), np.float32), boxes, np.array([0.9, 0.5, 0.1], np.float32))
    merged = with_posed(seen, poses, 0.3)
    assert merged.label == ("person", "person")
    assert merged.xyxy[1].tolist() == [200, 10, 240, 100]


def test_no_torch_in_this_process() -> None:
    code = "import pipeline.detect, pipeline.ingest, models.detect.ssd, models.detect.appearance, sys\n"
    code += "assert 'torch' not in sys.modules, 'torch was imported'"
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class BurningCamera:
    """A live source from painted frames, 5 a second."""

    def __init__(self, frames: int) -> None:
        self.info = SourceInfo("yard", "rtsp://yard/1", 160, 120, 0.0, 0, is_live=True)
        self._count = frames

    def frames(self) -> Iterator[Frame]:
        for index in range(self._count):
            yield Frame(burning(index), index * 0.2, index)

    def close(self) -> None:
        return


def test_camera_events_come_soon_and_carry_clock_time(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    found = list(stage(Nobody(), MemoryFrames(), tmp_path).run(BurningCamera(150), camera="yard"))
    assert found and found[0].end_s - found[0].start_s <= 8.3
    assert found[0].wall_time is not None
    began = datetime.fromisoformat(found[0].wall_time) - timedelta(seconds=found[0].start_s)
    assert before - timedelta(seconds=1) <= began <= datetime.now(UTC) + timedelta(seconds=1)
    again = list(stage(Nobody(), MemoryFrames(), tmp_path).run(BurningCamera(150), camera="yard"))
    assert again[0].candidate_id != found[0].candidate_id, "another session is another event"
