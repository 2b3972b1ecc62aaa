"""The store under pressure: one submit from many threads, full disks, locked and killed databases."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from support.queue_help import REASONER, apart, candidate, check_invariants, wait_until

from pipeline.errors import FrameStoreError
from pipeline.queue.api import Queue
from pipeline.services import Supervisor
from pipeline.settings import Settings, environment
from pipeline.store.engine import read
from pipeline.store.frames import FileFrameStore, open_frame_store
from pipeline.store.schema import JobState, incidents, jobs, outbox

Make = Callable[..., Settings]


def integrity(settings: Settings) -> str:
    connection = sqlite3.connect(settings.data_dir / "sitrep.db")
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_f11_the_same_clip_from_eight_threads(backend: Settings) -> None:
    """Given eight threads with the same clip, then there is one set of jobs, incidents and alerts."""
    clip = [candidate(f"c{n}", settings=backend, **apart(n)) for n in range(5)]
    with Supervisor(backend, reasoner=REASONER) as services:
        barrier = threading.Barrier(8)

        def submit_all(_: int) -> list[str]:
            barrier.wait()
            return [services.queue.submit(one, run_id="run").job_id for one in clip]

        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(submit_all, range(8)))
        list(services.queue.wait(given[0], timeout=20))

        assert all(one == given[0] for one in given)
        check_invariants(services.queue.engine, given[0])
        with read(services.queue.engine) as connection:
            assert {job.attempts for job in connection.execute(select(jobs))} == {1}
            assert len(connection.execute(select(incidents)).all()) == 5
            assert len(connection.execute(select(outbox)).all()) == 5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where the tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.getuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
    )
    if not mounted:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_f12_a_full_disk_is_one_clear_error_and_heals(small_disk: Path) -> None:
    frames = FileFrameStore(small_disk / "frames")
    kept = frames.put(b"kept")
    with pytest.raises(FrameStoreError, match="No space left"):
        for n in range(100):
            frames.put(bytes([n]) * 20_000)

    assert frames.get(kept) == b"kept"
    names = list(frames.stored())
    assert all(frames.get(name) for name in names), "half a frame is under a whole one's name"
    frames.remove(names[0] if names[0] != kept else names[1])
    assert frames.get(frames.put(b"again")) == b"again"


def test_f12_a_write_broken_off_leaves_nothing_behind(tmp_path: Path) -> None:
    """The same without the right to mount: a limit on the size of files."""
    frames = FileFrameStore(tmp_path / "frames")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FrameStoreError, match="cannot be written"):
            frames.put(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in (tmp_path / "frames").rglob("*") if path.is_file()] == []
    assert frames.get(frames.put(b"x" * 5000)) == b"x" * 5000


def test_f13_a_locked_database_is_waited_for(settings: Settings) -> None:
    """Given a job being judged, when the database is locked for seconds, then its result is not lost."""
    with Supervisor(settings, reasoner=REASONER) as services:
        warm = services.queue.submit(candidate("warm", settings=settings))
        list(services.queue.wait([warm.job_id], timeout=20))
        job = services.queue.submit(candidate("c", settings=settings, sleep=0.5, **apart(1)))
        wait_until(lambda: services.queue.job(job.job_id).state == "running", 10, "the claim")  # type: ignore[union-attr]
        holder = sqlite3.connect(settings.data_dir / "sitrep.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        later: list[str] = []
        writer = threading.Thread(
            target=lambda: later.append(
                services.queue.submit(candidate("d", settings=settings, **apart(2))).job_id
            )
        )
        writer.start()
        # Longer than the lease of 3 s: the heart cannot beat, but nobody else can claim either.
        time.sleep(4.0)
        assert not later
        holder.execute("COMMIT")
        holder.close()
        writer.join()
        finished = list(services.queue.wait([job.job_id, *later], timeout=15))

        assert {one.job.state for one in finished} == {JobState.DONE}
        check_invariants(services.queue.engine, [warm.job_id, job.job_id, *later])
    assert integrity(settings) == "ok"


def test_f13_killed_while_it_commits(settings: Settings) -> None:
    """Given a process killed while it submits, then what it was told is stored is stored, whole."""
    program = (
        "import itertools, sys\n"
        "from pipeline.settings import load\n"
        "from pipeline.queue.api import Queue\n"
        "from support.queue_help import candidate, apart\n"
        "queue = Queue(load())\n"
        "for n in itertools.count():\n"
        "    job = queue.submit(candidate(f'{sys.argv[1]}-{n}', **apart(n)))\n"
        "    print(job.job_id, flush=True)\n"
    )
    chance = random.Random(13)
    told: list[str] = []
    with Queue(settings) as queue:
        for turn in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(turn)],
                env={**os.environ, **environment(settings)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            lines += process.stdout.readlines()
            process.stdout.close()
            process.wait()
            # The last line may be cut off, and a broker that is away is logged in between.
            told += [line.strip() for line in lines if len(line) == 33]
        assert integrity(settings) == "ok"
        with read(queue.engine) as connection:
            stored = {row.job_id for row in connection.execute(select(jobs))}
        assert len(told) > 3
        assert set(told) <= stored
        # At most one more a process: committed, but killed before it could say so.
        assert len(stored) <= len(told) + 3
        check_invariants(queue.engine, sorted(stored))


def test_f13_a_torn_frame_is_found_out(settings: Settings) -> None:
    one = candidate("c", settings=settings)
    path = open_frame_store(settings).path(one.key_frames[0].sha256)
    path.write_bytes(path.read_bytes()[:-2])
    with Supervisor(settings, reasoner=REASONER) as services:
        job = services.queue.submit(one)
        (finished,) = services.queue.wait([job.job_id], timeout=20)

        assert finished.verdict is not None
        assert finished.verdict.error_source == "frames"
        assert "damaged" in (finished.verdict.error or "")
        assert open_frame_store(settings).put(f"frame of {one.candidate_id}".encode()) == path.name
