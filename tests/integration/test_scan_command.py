"""``sitrep scan`` as a user meets it: every format, every kind of bad input, a killed worker."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from support.command import CLIPS, command, environment, read_rows, servers_of, sitrep
from support.servers import free_port

from pipeline.cli.scan import write_rows
from pipeline.settings import Settings
from tests.media import cut, ffmpeg, needs_ffmpeg, write_video

FALL = CLIPS / "fall-in-office-1.mp4"
KEYS = {
    "clip", "camera", "candidate_id", "event_type", "start_s", "end_s", "trigger", "decision", "priority",
    "verdict", "score", "title", "summary", "narrative", "reason", "grounded", "language", "model", "prompt",
    "timings_ms", "frames", "error_source",
}  # fmt: skip


def first_frame(clip: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_FRAMES, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 2)
    good, image = capture.read()
    capture.release()
    assert good
    return image


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan-data")


@needs_ffmpeg
def test_every_format_becomes_rows(tmp_path: Path, data_dir: Path) -> None:
    # Given the same fall in every container, and its last frame as stills
    clips = tmp_path / "clips"
    clips.mkdir()
    for extension in ("mp4", "avi", "mkv", "mov"):
        ffmpeg("-i", FALL, "-c:v", "mjpeg" if extension == "avi" else "copy", clips / f"fall.{extension}")
    ffmpeg("-i", FALL, "-c:v", "libvpx", "-b:v", "500k", clips / "fall.webm")
    ffmpeg("-i", FALL, "-vf", "fps=10", clips / "fall.gif")
    for extension in ("jpg", "png"):
        cv2.imwrite(str(clips / f"still.{extension}"), first_frame(FALL))
    rows_file = tmp_path / "results.jsonl"

    # When the folder is scanned
    ran = sitrep("scan", clips, "--out", rows_file, "--model", "fake", data_dir=data_dir)

    # Then each moving clip gives a fall, and every row has the agreed fields
    assert ran.code == 0, ran.err
    rows = read_rows(rows_file)
    fell = {Path(row["clip"]).suffix for row in rows if row["event_type"] == "fall"}
    assert fell >= {".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif"}
    for row in rows:
        assert row.keys() >= KEYS
        assert row["decision"] in ("escalate", "review", "dismiss")
        assert row["end_s"] >= row["start_s"] >= 0
        assert set(row["trigger"]) == {"name", "score"}
        assert row["frames"] and all(len(frame["sha256"]) == 64 for frame in row["frames"])
        if Path(row["clip"]).stem == "still":
            assert row["start_s"] == row["end_s"] == 0


@needs_ffmpeg
def test_bad_clips_are_named_one_line_each_and_the_others_are_judged(tmp_path: Path, data_dir: Path) -> None:
    # Given one good clip among everything that can be wrong
    good = tmp_path / "good.mp4"
    shutil.copy(FALL, good)
    avi = write_video(tmp_path / "whole.avi", frames=60)
    bad = {
        "truncated.mp4": cut(FALL, 0.5, tmp_path / "truncated.mp4"),
        "truncated.avi": cut(avi, 0.4, tmp_path / "truncated.avi"),
        "empty.mp4": tmp_path / "empty.mp4",
        "sound.mp4": tmp_path / "sound.mp4",
        "one.mp4": write_video(tmp_path / "one.mp4", frames=1),
        "picture.mp4": tmp_path / "picture.mp4",
        "video.jpg": tmp_path / "video.jpg",
        "nothing-here": tmp_path / "nothing-here",
        "missing.mp4": tmp_path / "missing.mp4",
    }
    bad["empty.mp4"].touch()
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", bad["sound.mp4"])
    cv2.imwrite(str(tmp_path / "p.png"), first_frame(FALL))
    shutil.copy(tmp_path / "p.png", bad["picture.mp4"])
    shutil.copy(FALL, bad["video.jpg"])
    bad["nothing-here"].mkdir()
    rows_file = tmp_path / "results.jsonl"

    # When all are scanned together
    ran = sitrep("scan", *bad.values(), good, "--out", rows_file, "--model", "fake", data_dir=data_dir)

    # Then each bad one has exactly one line, and the good one its rows
    assert ran.code == 1
    for name in bad:
        named = [line for line in ran.error_lines if name in line]
        assert len(named) == 1, (name, ran.err)
        assert "(" in named[0], f"no hint: {named[0]}"
    assert len(ran.error_lines) == len(bad)
    assert any(Path(row["clip"]) == good for row in read_rows(rows_file))


@pytest.mark.parametrize("out", ["folder", "no/such/../../dev/full/x"])
def test_an_output_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, data_dir: Path, out: str
) -> None:
    target = tmp_path if out == "folder" else Path("/proc/nowhere/rows.jsonl")

    ran = sitrep("scan", FALL, "--out", target, "--model", "fake", data_dir=data_dir)

    assert ran.code != 0
    assert len(ran.error_lines) == 1
    assert str(target) in ran.error_lines[0]


def test_a_full_disk_is_said_and_a_device_stays_a_device(tmp_path: Path, data_dir: Path) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("needs /dev/full")

    ran = sitrep("scan", FALL, "--out", full, "--model", "fake", data_dir=data_dir)

    assert ran.code != 0
    assert len(ran.error_lines) == 1 and "No space left" in ran.error_lines[0]
    assert full.is_char_device()


def test_an_output_that_is_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)
    write_rows(link, [{"clip": "a"}])
    assert link.is_symlink() and json.loads(target.read_text()) == {"clip": "a"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.jsonl", "real.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "extra", "named"),
    [
        (("scan", FALL, "--model", "telepathy"), {}, "telepathy"),
        (("scan", FALL, "--prompt", "incident@9.9.9"), {}, "9.9.9"),
        (("scan", FALL), {"SITREP_MODLE": "fake"}, "SITREP_MODLE"),
        (("scan", FALL), {"SITREP_LEASE_S": "soon"}, "lease_s"),
        (("scan", FALL), {"SITREP_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
def test_wrong_settings_are_named(
    data_dir: Path, arguments: tuple[str, ...], extra: dict[str, str], named: str
) -> None:
    ran = sitrep(*arguments, data_dir=data_dir, **extra)

    assert ran.code == 2
    assert len(ran.error_lines) == 1
    assert named in ran.error_lines[0]


def test_a_broker_that_is_not_there_is_said_at_once(data_dir: Path) -> None:
    """Given an address where no broker answers, then the scan says so instead of waiting for ever."""
    away = f"redis://:geheim@127.0.0.1:{free_port()}/0"

    ran = sitrep("scan", FALL, "--model", "fake", data_dir=data_dir, REDIS_URL=away)

    assert ran.code == 3
    assert len(ran.error_lines) == 1
    assert "REDIS_URL" in ran.error_lines[0]
    assert "geheim" not in ran.err


def worker_of(process: psutil.Process, timeout: float = 60) -> psutil.Process:
    """The pool child of the scan's worker, once there is one."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for child in process.children(recursive=True):
            try:
                line = " ".join(child.cmdline())
                if "pipeline.queue.worker" in line and child.children():
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.1)
    raise AssertionError("the scan started no worker")


KILLED = [CLIPS / "fall-in-office-1.mp4", CLIPS / "fall-in-office-2.mp4", CLIPS / "store-aisle.mp4"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Rows of a scan in which nothing happens."""
    folder = tmp_path_factory.mktemp("calm")
    rows = folder / "calm.jsonl"
    assert sitrep("scan", *KILLED, "--out", rows, "--model", "fake", data_dir=folder / "data").code == 0
    return read_rows(rows)


def test_killing_the_worker_in_the_middle_of_a_scan_loses_nothing(
    tmp_path: Path, backend: Settings, undisturbed: list[dict[str, Any]]
) -> None:
    # Given the candidates of an undisturbed scan
    disturbed = tmp_path / "disturbed.jsonl"

    # When the whole worker group is killed while a slow model works
    process = subprocess.Popen(
        command("scan", *KILLED, "--out", disturbed, "--model", "fake:sleep=1.5"),
        env=environment(tmp_path / "b", **servers_of(backend)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    worker = worker_of(psutil.Process(process.pid))
    time.sleep(2.5)
    for victim in [*worker.children(recursive=True), worker]:
        victim.kill()
    _, err = process.communicate(timeout=200)

    # Then the scan ends with the same candidates, all judged
    assert process.returncode == 0, err
    before, after = undisturbed, read_rows(disturbed)
    assert {row["candidate_id"] for row in before} == {row["candidate_id"] for row in after}
    assert len(after) == len({row["candidate_id"] for row in after}) >= 2
    assert all(row["decision"] for row in after)
