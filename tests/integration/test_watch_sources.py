"""``sitrep watch`` with a real RTSP camera, a followed folder and a camera that is not there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select
from support.command import CLIPS, command, environment, share_converted, sitrep
from support.proxy import Proxy

from pipeline import settings as settings_module
from pipeline.bench.rtsp_camera import RtspCamera
from pipeline.store import cameras
from pipeline.store.engine import open_store, read
from pipeline.store.schema import clips, jobs

SECRET = "watch-7730"


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Path:
    """A data directory of the test that compiles nothing again."""
    return share_converted(tmp_path / "data")


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``sitrep watch`` in the background; stopped with Ctrl-C at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen(
                command("watch", *arguments, "--model", "fake"),
                env=environment(tmp_path / "data"),
                stdout=said,
                stderr=said,
                text=True,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def until(condition: Callable[[], Any], timeout_s: float = 150) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return found


@pytest.mark.needs("gstreamer-rtsp")
def test_a_gap_is_in_the_store_and_a_killed_group_comes_back(
    watching: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Given a camera, when it is cut and its process killed, then the gap is a row and frames come again."""
    with RtspCamera(auth="digest", password=SECRET) as camera, Proxy(camera.port) as proxy:
        process = watching(f"gate=rtsp://guard:{SECRET}@127.0.0.1:{proxy.port}/stream")
        until((tmp_path / "data" / "sitrep.db").exists)
        engine = open_store(settings_module.load(data_dir=tmp_path / "data"))

        def listed() -> list[dict[str, Any]]:
            with read(engine) as connection:
                return cameras.listing(connection)

        def gaps() -> list[dict[str, Any]]:
            with read(engine) as connection:
                return cameras.gaps(connection, "gate")

        until(lambda: any(row["state"] == "up" and row["frames"] > 10 for row in listed()))
        proxy.cut()
        gap = until(gaps)[0]
        row = listed()[0]
        group = next(
            child
            for child in psutil.Process(process.pid).children()
            if "pipeline.watch.process" in child.cmdline()
        )
        group.kill()
        until(lambda: listed()[0]["state"] == "up" and listed()[0]["gaps"] == 0)
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
        engine.dispose()
    assert gap["end_at"] > gap["start_at"] and gap["reason"]
    assert row["camera"] == "gate" and row["reconnects"] >= 1
    assert SECRET not in row["uri"]
    for path in [tmp_path / "said", *(tmp_path / "data" / "logs").iterdir()]:
        assert SECRET not in path.read_text(errors="replace"), path


def test_a_clip_dropped_into_a_followed_folder_is_judged_once(
    watching: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Given a followed folder, when a clip is dropped into it, then it is judged under the folder's name."""
    folder = tmp_path / "in" / "office"
    folder.mkdir(parents=True)
    watching(tmp_path / "in", "--follow")
    shutil.copy(CLIPS / "fall-in-office-2.mp4", folder / "a.part")
    (folder / "a.part").rename(folder / "a.mp4")
    until((tmp_path / "data" / "sitrep.db").exists)
    engine = open_store(settings_module.load(data_dir=tmp_path / "data"))

    def done() -> list[Any]:
        with read(engine) as connection:
            return list(connection.execute(select(clips.c.path)))

    until(done)
    with read(engine) as connection:
        found = connection.execute(select(jobs.c.camera, jobs.c.lane)).all()
    engine.dispose()
    assert found and {tuple(row) for row in found} == {("office", "live")}


def test_cameras_that_are_all_not_there_end_it_with_a_line_each(data: Path) -> None:
    """Given wrong addresses only, when they are watched, then each is one line and the exit code says so."""
    ran = sitrep("watch", "rtsp://u:geheim@127.0.0.1:9/x", "97", "--model", "fake", data_dir=data)

    assert ran.code == 1
    assert len(ran.error_lines) == 2, ran.err
    assert "nothing listens on port 9" in ran.err and "webcam 97" in ran.err
    assert "geheim" not in ran.err + ran.out
