"""Archive re-scores on a real store and queue; the worker is a thread here."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from support.command import share_converted
from support.queue_help import apart, candidate, verdict

from pipeline.errors import JobError, PromptError
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.rescore import (
    Selection,
    cancel,
    find_flips,
    flips_file,
    make_plan,
    pause,
    rescore,
    resolve_target,
    resume_allowed,
    status,
    write_flips,
)
from pipeline.rescore.clips import find_in_clips
from pipeline.rescore.run import Ending
from pipeline.store.engine import open_store, read, write
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import JobState, frames, incidents, jobs, outbox, verdicts
from pipeline.types import Action, Lane
from prompts.pack import SHIPPED

NUMBER = 60


class Worker(threading.Thread):
    """Judges pending jobs: the live version escalates all, later ones dismiss every second candidate."""

    def __init__(self, queue: Queue, pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.queue, self.pause_s = queue, pause_s
        self.stop = threading.Event()
        self.judged = 0

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def run(self) -> None:
        query = select(jobs.c.job_id).where(jobs.c.state == JobState.PENDING).limit(20)
        while not self.stop.is_set():
            with read(self.queue.engine) as connection:
                waiting = connection.execute(query).scalars().all()
            for job_id in waiting:
                claimed = work.claim(self.queue.engine, self.queue.settings, job_id, "here/1")
                if claimed is None:
                    continue
                job, one = claimed
                number = int(re.sub(r"\D", "", one.candidate_id))
                action = Action.ESCALATE if job.live or number % 2 else Action.DISMISS
                said = verdict(action)
                source = dataclasses.replace(
                    said.provenance, prompt=job.prompt, prompt_sha256=job.prompt_sha256
                )
                work.finish(
                    self.queue.engine, job, one, dataclasses.replace(said, provenance=source, timings_ms={})
                )
                self.judged += 1
                time.sleep(self.pause_s)
            time.sleep(0.01)


@pytest.fixture
def archive(settings):
    """A queue whose store holds sixty candidates with live verdicts."""
    with Queue(settings) as queue:
        found = [
            candidate(f"c-{n:03}", settings=settings, camera=f"cam-{n % 3}", **apart(n))
            for n in range(NUMBER)
        ]
        with Worker(queue):
            ids = [queue.submit(one, lane=Lane.LIVE).job_id for one in found]
            assert len(list(queue.wait(ids, timeout=30))) == NUMBER
        yield queue


def count(queue: Queue, table, *where) -> int:
    with read(queue.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def new_settings(queue: Queue, prompt: str = "incident@1.0.0"):
    return queue.settings.model_copy(update={"model": "fake", "prompt": prompt})


def test_everything_is_judged_once_and_nobody_is_alerted(archive):
    settings = new_settings(archive)
    target = resolve_target(settings)
    plan = make_plan(archive.engine, Selection(), target)
    assert (plan.total, plan.judged, plan.left) == (NUMBER, 0, NUMBER)
    alerts, known = count(archive, outbox), count(archive, incidents)
    seen: list[tuple[int, int]] = []
    with Worker(archive):
        done = rescore(
            archive, settings, Selection(), target, on_progress=lambda done, total: seen.append((done, total))
        )
    assert (done.ending, done.plan.judged, done.failed, done.other_text) == (Ending.DONE, NUMBER, 0, 0)
    assert seen[-1] == (NUMBER, NUMBER)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert count(archive, verdicts, verdicts.c.live) == NUMBER
    assert count(archive, verdicts, verdicts.c.live.is_(False)) == NUMBER
    assert (count(archive, outbox), count(archive, incidents)) == (alerts, known)
    assert count(archive, jobs, jobs.c.lane == "archive") == NUMBER
    # Asked for again: the same run, nothing to do, also without any worker.
    again = rescore(archive, settings, Selection(), target)
    assert again.plan == done.plan
    assert again.seconds < 2


def test_a_selection_by_camera_and_a_part_of_it_later(archive):
    settings = new_settings(archive)
    target = resolve_target(settings)
    with Worker(archive):
        rescore(archive, settings, Selection(camera="cam-1"), target)
    plan = make_plan(archive.engine, Selection(), target)
    assert (plan.judged, plan.left) == (20, 40)  # shared by key, whatever run judged them
    assert make_plan(archive.engine, Selection(camera="none"), target).total == 0


def test_another_site_context_or_override_asks_another_question(archive):
    """Given a judged archive, when the site says something new, then it is judged again beside the old."""
    settings = new_settings(archive)
    target = resolve_target(settings)
    assert target.params == {}
    some = Selection(camera="cam-1")
    with Worker(archive):
        rescore(archive, settings, some, target)
        told = resolve_target(settings.model_copy(update={"site_context": "Film set."}))
        plan = make_plan(archive.engine, some, told)
        assert (plan.judged, plan.left) == (0, 20)
        assert plan.run_id != make_plan(archive.engine, some, target).run_id
        done = rescore(archive, settings.model_copy(update={"site_context": "Film set."}), some, told)
        assert done.plan.judged == 20
    overrides = archive.settings.data_dir / "prompts" / "overrides.yaml"
    overrides.parent.mkdir(exist_ok=True)
    overrides.write_text("# nothing yet\n")
    assert resolve_target(settings) == target
    overrides.write_text("site: {site_context: Car park.}\n")
    assert make_plan(archive.engine, some, resolve_target(settings)).left == 20
    # Edited between planning and judging: the run stops instead of mixing two questions
    with pytest.raises(PromptError, match="overrides were edited"):
        rescore(archive, settings, Selection(camera="cam-2"), target)


def test_pause_and_resume_from_another_process(archive):
    settings = new_settings(archive)
    target = resolve_target(settings)
    run_id = make_plan(archive.engine, Selection(), target).run_id
    with Worker(archive, pause_s=0.03) as worker:
        timer = threading.Timer(0.6, lambda: pause(archive, run_id))
        timer.start()
        stopped = rescore(archive, settings, Selection(), target)
        timer.join()
        assert stopped.ending is Ending.PAUSED
        time.sleep(0.3)
        before = worker.judged
        time.sleep(0.3)
        assert worker.judged == before < NUMBER  # nothing goes on behind its back
        assert status(archive.engine, run_id)[0].paused
        resume_allowed(archive.engine, run_id)
        assert rescore(archive, settings, Selection(), target).ending is Ending.DONE
    assert count(archive, verdicts, verdicts.c.live.is_(False)) == NUMBER


def test_cancel_keeps_what_was_judged(archive):
    settings = new_settings(archive)
    target = resolve_target(settings)
    run_id = make_plan(archive.engine, Selection(), target).run_id
    with Worker(archive, pause_s=0.03):
        timer = threading.Timer(0.6, lambda: cancel(archive, run_id))
        timer.start()
        stopped = rescore(archive, settings, Selection(), target)
        timer.join()
    assert stopped.ending is Ending.CANCELLED
    assert 0 < count(archive, verdicts, verdicts.c.live.is_(False)) < NUMBER
    with pytest.raises(JobError, match="no re-score run"):
        cancel(archive, "rescore-unknown")


def test_a_prompt_edited_half_way_stops_the_run_until_its_text_is_back(archive):
    pack = archive.settings.data_dir / "prompts" / "incident" / "9.0.0"
    shutil.copytree(SHIPPED / "incident" / "1.0.0", pack)
    file = pack / "pack.yaml"
    text = file.read_text().replace("version: 1.0.0", "version: 9.0.0")
    file.write_text(text)
    settings = new_settings(archive, "incident@9.0.0")
    target = resolve_target(settings)
    with Worker(archive, pause_s=0.05):
        timer = threading.Timer(0.8, lambda: file.write_text(text.replace("Yes or no?", "No or yes?")))
        timer.start()
        with pytest.raises(PromptError, match="was edited while"):
            rescore(archive, settings, Selection(), target)
        timer.join()
        file.write_text(text)
        done = rescore(archive, settings, Selection(), target)
    assert (done.ending, done.plan.judged, done.other_text) == (Ending.DONE, NUMBER, 0)


def test_candidates_whose_frames_are_gone_are_counted_not_judged(archive):
    gone = candidate("c-007").candidate_id
    with write(archive.engine) as connection:
        hashes = candidate("c-007", settings=archive.settings).key_frames
        connection.execute(
            update(frames)
            .where(frames.c.sha256 == hashes[0].sha256)
            .values(removed_at=func.current_timestamp())
        )
    settings = new_settings(archive)
    target = resolve_target(settings)
    assert gone == "c-007"
    plan = make_plan(archive.engine, Selection(), target)
    assert (plan.missing, plan.left) == (1, NUMBER - 1)
    with Worker(archive):
        done = rescore(archive, settings, Selection(), target)
    assert (done.ending, done.plan.judged, done.plan.missing) == (Ending.DONE, NUMBER - 1, 1)


def test_flips_are_against_the_live_verdict(archive):
    settings = new_settings(archive)
    target = resolve_target(settings)
    with Worker(archive):
        rescore(archive, settings, Selection(), target)
    flips = find_flips(archive.engine, Selection(), target)
    assert flips.table == {("escalate", "dismiss"): NUMBER // 2, ("escalate", "escalate"): NUMBER // 2}
    assert (flips.lost, flips.gained, flips.unchanged) == (NUMBER // 2, 0, NUMBER // 2)
    file = flips_file(settings, "r")
    told = write_flips(flips, target, file, open_frame_store(settings))
    assert json.loads(file.read_text()) == told
    assert len(told["flips"]) == NUMBER // 2
    page = file.with_suffix(".html").read_text()
    assert page.count("no longer reaches a person") == NUMBER // 2
    assert "A person fell" in page


def test_a_tree_of_clips_is_looked_through_once(settings, tmp_path):
    clips = Path(__file__).parents[3] / "evaluation" / "clips"
    share_converted(settings.data_dir)
    tree = tmp_path / "tree" / "day1"
    tree.mkdir(parents=True)
    shutil.copy(clips / "car-and-cyclist.mp4", tree / "a.mp4")
    (tree / "broken.mp4").write_bytes(b"not a video at all" * 100)
    first = find_in_clips(settings, [tree.parent])
    assert (first.clips, first.detected, len(first.faults)) == (2, 2, 1)
    assert "broken.mp4" in first.faults[0]
    again = find_in_clips(settings, [tree.parent])
    assert again.detected == 1  # the broken one only
    assert again.candidate_ids == first.candidate_ids
    engine = open_store(settings)
    target = resolve_target(settings.model_copy(update={"prompt": "incident"}))
    plan = make_plan(engine, Selection(source_ids=first.candidate_ids), target)
    assert plan.total == len(first.candidate_ids)
    engine.dispose()
