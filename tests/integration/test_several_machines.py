"""Workers of several machines: nothing shared but Redis, PostgreSQL and the folder of key frames."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.command import command, environment, servers_of, sitrep

from pipeline.queue.api import Queue
from pipeline.reason.builtin import builtin_image
from pipeline.settings import Settings
from pipeline.store.frames import open_frame_store
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Lane, Moment, TriggerScore, View


@contextlib.contextmanager
def machine(settings: Settings, data_dir: Path, frames_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``sitrep worker`` as on a machine of its own."""
    extra = {"SITREP_FRAMES_DIR": str(frames_dir), "SITREP_MODEL": "fake:sleep=0.3"}
    process = subprocess.Popen(
        command("worker"),
        env=environment(data_dir, **extra, **servers_of(settings)),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(100) == 0


def candidate(name: str, sha256: str) -> Candidate:
    """A candidate with one key frame."""
    frame = KeyFrame(sha256, View.FULL, Moment.PEAK, 0.0, 320, 240)
    trigger = TriggerScore("test", 1.0)
    return Candidate(name, "gate", "a.mp4", EventType.FALL, 0.0, 1.0, trigger, Evidence(), (frame,))


@pytest.mark.needs("redis-server", "postgresql")
@pytest.mark.timeout(500)
def test_machines_share_the_work_and_read_each_others_frames(
    make_settings, redis_server, postgres_server, tmp_path
):
    """Given two machines and one that cannot see the frames, when candidates wait, then both judge them."""
    redis_server.flush()
    settings = make_settings(
        redis_url=SecretStr(redis_server.url),
        database_url=SecretStr(postgres_server.new_database()),
        frames_dir=tmp_path / "shared",
        model="fake:sleep=0.3",
        prompt="incident@1.0.0",
    )
    sha256 = open_frame_store(settings).put(builtin_image())
    assert (tmp_path / "shared" / sha256[:2] / sha256).is_file()
    with Queue(settings) as queue:
        ids = [queue.submit(candidate("first", sha256), lane=Lane.ARCHIVE).job_id]
        # A machine whose frame folder is another one says so and takes nothing
        lost = sitrep(
            "worker", data_dir=tmp_path / "lost", SITREP_MODEL="fake", **servers_of(settings), timeout=200
        )
        assert lost.code == 3
        assert "SITREP_FRAMES_DIR" in lost.error_lines[0]
        alone = sitrep("worker", data_dir=tmp_path / "lost", timeout=200)
        assert alone.code == 2
        assert "REDIS_URL and DATABASE_URL" in alone.error_lines[0]
        with (
            machine(settings, tmp_path / "one", tmp_path / "shared"),
            machine(settings, tmp_path / "two", tmp_path / "shared"),
        ):
            groups: set[str] = set()
            deadline = time.monotonic() + 240
            while len(groups) < 2 and time.monotonic() < deadline:
                new = [
                    queue.submit(candidate(f"c-{len(ids)}-{n}", sha256), lane=Lane.ARCHIVE).job_id
                    for n in range(4)
                ]
                ids += new
                done = list(queue.wait(new, timeout=200))
                groups |= {str(one.job.worker_id).rpartition("/")[0] for one in done}
            everything = list(queue.wait(ids, timeout=200))
    # Then nothing failed for want of a frame, and neither machine made a database or frames of its own
    assert len(groups) == 2
    assert all(one.verdict is not None and one.verdict.score is not None for one in everything)
    for name in ("one", "two"):
        assert not (tmp_path / name / "sitrep.db").exists()
        assert not (tmp_path / name / "frames").exists()
