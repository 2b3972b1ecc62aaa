"""An archive re-score that is killed twice ends with exactly one verdict a candidate, and no alert.

``RESCORE_CANDIDATES`` sets the size (600 unless told; the promise is made for 5,000).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import func, select

from pipeline.settings import Settings, load
from pipeline.store import candidates, jobs, verdicts
from pipeline.store.engine import open_store, read, write
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import JobState, incidents, outbox
from pipeline.store.schema import jobs as jobs_table
from pipeline.store.schema import verdicts as verdicts_table
from pipeline.types import (
    Action,
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Lane,
    Moment,
    Priority,
    Provenance,
    TriggerScore,
    Verdict,
    VerdictState,
    View,
)

COUNT = int(os.environ.get("RESCORE_CANDIDATES", "600"))
COMMAND = [
    sys.executable,
    "-m",
    "pipeline.cli.main",
    "rescore",
    "--model",
    "noop",
    "--prompt",
    "incident@1.0.0",
]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "SITREP_DATA_DIR": str(data), "SITREP_NARRATE": "on_demand"}


def stored(settings: Settings) -> None:
    """Candidates with a live verdict each, as a month of operation leaves them."""
    image = np.full((48, 64, 3), 90, np.uint8)
    sha256 = open_frame_store(settings).put(cv2.imencode(".jpg", image)[1].tobytes())
    frame = KeyFrame(sha256, View.FULL, Moment.PEAK, 1.0, 64, 48)
    engine = open_store(settings)
    with write(engine) as connection:
        for number in range(COUNT):
            candidate = Candidate(
                f"candidate-{number:05}", f"camera-{number % 20}", f"{number}.mp4", EventType.FALL, 0.0, 2.0,
                TriggerScore("fall", 0.5), Evidence(note="a test"), (frame,),
            )  # fmt: skip
            candidates.put(connection, candidate)
            job_id = f"live-{number}"
            values = {
                "job_id": job_id, "job_key": job_id, "candidate_id": candidate.candidate_id,
                "camera": candidate.camera, "lane": str(Lane.LIVE), "state": JobState.DONE, "live": True,
                "model": "old", "prompt": "incident@0.9.0", "prompt_sha256": "0" * 64, "params": {},
                "attempts": 1,
            }  # fmt: skip
            assert jobs.create(connection, values)
            action = Action.ESCALATE if number % 3 else Action.DISMISS
            old = Verdict(
                VerdictState.CONFIRMED, 0.9, action, Priority.HIGH, "before",
                Provenance("old", "incident@0.9.0", "0" * 64, (sha256,)),
            )  # fmt: skip
            job = jobs.by_key(connection, job_id)
            assert job is not None
            verdicts.put(connection, job, old)
    engine.dispose()


def judged(settings: Settings) -> int:
    engine = open_store(settings, migrate=False)
    with read(engine) as connection:
        query = select(func.count()).select_from(verdicts_table).where(verdicts_table.c.live.is_(False))
        found = int(connection.execute(query).scalar_one())
    engine.dispose()
    return found


def run_until(settings: Settings, data: Path, enough: int) -> None:
    """Start the command and kill it without warning once so many verdicts are there."""
    process = subprocess.Popen(
        COMMAND, env=environment(data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 600
        while judged(settings) < enough:
            assert process.poll() is None, "the command ended too soon"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_at_30_and_60_percent(tmp_path):
    # Given an archive with a live verdict a candidate
    data = tmp_path / "data"
    settings = load(data_dir=data)
    stored(settings)
    before = live_verdicts(settings)
    # When the re-score is killed at 30 % and at 60 %, and started once more
    run_until(settings, data, int(COUNT * 0.3))
    run_until(settings, data, int(COUNT * 0.6))
    assert judged(settings) < COUNT
    done = subprocess.run(
        [*COMMAND, "--json"], env=environment(data), capture_output=True, text=True, check=False
    )
    # Then every candidate has exactly one new verdict and everything else is as it was
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["total"], told["judged"], told["left"], told["failed"]) == (COUNT, COUNT, 0, 0)
    engine = open_store(settings, migrate=False)
    with read(engine) as connection:
        new = select(verdicts_table.c.candidate_id, func.count()).where(verdicts_table.c.live.is_(False))
        per_candidate = dict(connection.execute(new.group_by(verdicts_table.c.candidate_id)).all())
        assert len(per_candidate) == COUNT
        assert set(per_candidate.values()) == {1}
        lanes = select(jobs_table.c.lane).where(jobs_table.c.job_id.not_like("live-%")).distinct()
        assert connection.execute(lanes).scalars().all() == [Lane.ARCHIVE]
        for table in (outbox, incidents):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
    engine.dispose()
    assert live_verdicts(settings) == before
    assert told["compared"] == COUNT
    assert Path(told["page"]).is_file()
    # And doing it again does nothing, soon
    started = time.monotonic()
    again = subprocess.run(
        [*COMMAND, "--json"], env=environment(data), capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    assert json.loads(again.stdout)["ending"] == "nothing to do"
    assert judged(settings) == COUNT
    print(f"no-op over {COUNT} candidates: {seconds:.1f} s")
    assert seconds < 15  # 5 s on a quiet machine


def live_verdicts(settings: Settings) -> list[tuple[object, ...]]:
    engine = open_store(settings, migrate=False)
    query = select(verdicts_table).where(verdicts_table.c.live).order_by(verdicts_table.c.verdict_id)
    with read(engine) as connection:
        found = [tuple(map(str, row)) for row in connection.execute(query)]
    engine.dispose()
    return found
