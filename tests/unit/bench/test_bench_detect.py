"""The detector benchmark reports ratios that follow from what it measured."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from support.command import CLIPS, share_converted

from pipeline.bench import cameras, detect, footage
from pipeline.detect.motion import MotionGate
from pipeline.errors import ConfigError
from pipeline.ingest import open_source
from pipeline.settings import Settings


def test_ratios_are_medians_over_the_clips(settings: Settings) -> None:
    clips = [CLIPS / "fall-in-office-1.mp4", CLIPS / "store-aisle.mp4"]
    share_converted(settings.data_dir)

    figures = detect.run(settings, rounds=1, paths=clips)

    assert [clip["clip"] for clip in figures["clips"]] == [clip.name for clip in clips]
    for clip in figures["clips"]:
        assert abs(clip["vs_decode"] - clip["decode_s"]["median"] / clip["stage1_s"]["median"]) < 1e-9
        assert clip["frames"] >= detect.MIN_FRAMES
        assert clip["vs_dvr_scan"] is None or clip["vs_dvr_scan"] > 0
    assert figures["vs_decode"] == round(statistics.median(c["vs_decode"] for c in figures["clips"]), 3)
    assert figures["realtime_factor"] > 0
    assert "cameras" not in figures


def test_made_video_moves_as_often_as_it_should(tmp_path: Path) -> None:
    """Given small made video, when its frames are compared, then idle stands still, typical hardly moves."""
    shape = footage.Shape(width=320, height=180, fps=10, seconds=6)
    shares = {}
    for kind in ("idle", "typical", "busy"):
        path = footage.make(tmp_path, kind, shape)
        assert footage.make(tmp_path, kind, shape) == path, "made once"
        gate = MotionGate()
        moved = [gate.update(gate.small(frame.image), frame.t_s).area for frame in open_source(path).frames()]
        assert len(moved) == 60
        shares[kind] = sum(area > 0.002 for area in moved) / len(moved)
    assert shares["idle"] == 0
    assert 0.05 <= shares["typical"] <= 0.25
    assert shares["busy"] > 0.9


@pytest.mark.needs("gstreamer-rtsp", "ffmpeg")
def test_cameras_are_counted_and_what_is_left_out_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two simulated cameras, when they are watched, then each sends its rate and books are kept."""
    monkeypatch.setattr(cameras, "STAGGER_S", 1.0)
    share_converted(settings.data_dir)
    shape = footage.Shape(width=320, height=180, fps=10, seconds=24)
    clip = footage.make(tmp_path, "idle", shape)

    figures = cameras.measure(settings, clip, 2, 3.0, shape)

    assert figures["count"] == 2 and not figures["faults"]
    assert 7 <= figures["received_fps"] <= 13
    assert {"dropped", "skipped", "gaps", "lag_s", "cores_used", "no_drops"} <= figures.keys()


def test_a_peer_that_is_not_there_is_one_line(settings: Settings) -> None:
    """Given a wrong path of dvr-scan, when the benchmark is asked for, then it says how to install it."""
    with pytest.raises(ConfigError, match="no /nowhere/dvr-scan"):
        detect.run(settings, rounds=1, dvr_scan="/nowhere/dvr-scan")
