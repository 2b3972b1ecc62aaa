"""Runs on disk: every clip has a row, a killed run goes on, other data or prompts are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_rows import row, truth

from evaluation.dataset import DatasetError, load_dataset, write_dataset
from evaluation.dataset import DatasetRow as Row
from evaluation.recompute import differences, recompute
from evaluation.report import write_report
from evaluation.runner import finish, run_evaluation, waiting_clips
from evaluation.runs import Run, read_rows
from pipeline.errors import SourceError
from pipeline.scan import ClipResult, ScanResult
from pipeline.settings import load
from pipeline.store.frames import FileFrameStore


class Scan:
    """Stands for the scan: two candidates in clips whose name has "busy", none in others."""

    def __init__(self, store: FileFrameStore, dies_at: str = "") -> None:
        self.store, self.dies_at = store, dies_at
        self.seen: list[str] = []

    def __call__(self, paths, camera):
        if any(path.stem == self.dies_at for path in paths):
            raise KeyboardInterrupt
        rows, clips = [], []
        for path in paths:
            self.seen.append(path.name)
            found = 2 if "busy" in path.name else 0
            level = 20 if "night" in path.name else 200
            image = np.full((60, 80, 3), level, np.uint8)
            sha256 = self.store.put(cv2.imencode(".jpg", image)[1].tobytes())
            for n in range(found):
                one = row({"clip": str(path)}, "fall", "escalate" if n else "dismiss", start_s=float(n))
                frame = {"sha256": sha256, "view": "full", "moment": "peak", "t_s": 0.0}
                del one["truth"]
                extra = {"model": "m@1", "prompt": "incident@1.0.0", "prompt_sha256": "ab", "score": 0.7}
                rows.append({**one, **extra, "frames": [frame], "narrative": "A person lies."})
            error = SourceError("torn off") if "torn" in path.name else None
            clips.append(ClipResult(str(path), found, 0.1, 2.0, error))
        return ScanResult(rows, clips, "run", 0.1)


@pytest.fixture
def world(tmp_path):
    names = ["busy_fall", "busy_benign", "quiet_fall", "quiet_benign", "busy_night_benign", "torn_fall"]
    rows = []
    for name in names:
        clip = tmp_path / "clips" / f"{name}.jpg"
        clip.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(clip), np.full((60, 80, 3), 120, np.uint8))
        label = name.rsplit("_", maxsplit=1)[-1]
        rows.append(Row.model_validate(truth(f"{name}.jpg", label)))
    write_dataset(tmp_path / "clips" / "val.jsonl", rows)
    settings = load(data_dir=tmp_path / "data", model="fake", prompt="incident@1.0.0")
    return load_dataset(tmp_path / "clips" / "val.jsonl"), settings, FileFrameStore(tmp_path / "frames")


def test_every_clip_has_a_row_and_the_file_is_enough(world, tmp_path):
    data, settings, store = world
    done = run_evaluation(data, settings, tmp_path / "run", scan=Scan(store), frame_store=store)
    run = Run.load(tmp_path / "run")
    assert run.done
    assert {one["truth"]["clip"] for one in run.rows} == {one.clip for one in data.rows}
    quiet = next(one for one in run.rows if one["truth"]["clip"] == "quiet_fall.jpg")
    assert (quiet["candidate_id"], quiet["clip_error"]) == (None, None)
    assert run.thumb(quiet)
    torn = next(one for one in run.rows if one["truth"]["clip"] == "torn_fall.jpg")
    assert "torn off" in torn["clip_error"]
    assert done.evaluation.total["flag_recall"].value == pytest.approx(1 / 3, abs=1e-6)
    assert done.evaluation.total["unreadable_rate"].value == pytest.approx(1 / 6, abs=1e-6)
    assert done.evaluation.by_light["night"]["false_alarms_before"].value == 1
    assert not any(str(tmp_path) in str(one["clip"]) for one in run.rows)  # runs can be carried elsewhere
    assert differences(recompute(list(run.rows)), run.metrics()) == []
    assert run.manifest["prompts"] == [{"id": "incident@1.0.0", "sha256": "ab"}]
    assert run.manifest["dataset"]["split"] == "val"


def test_a_killed_run_goes_on_without_doing_clips_twice(world, tmp_path, monkeypatch):
    data, settings, store = world
    monkeypatch.setattr("evaluation.runner.BATCH", 2)
    first = Scan(store, dies_at="busy_night_benign")
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(data, settings, tmp_path / "run", scan=first, frame_store=store)
    # A row of a clip was cut in the middle, and another clip lacks its second row.
    file = tmp_path / "run" / "rows.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:1] + lines[2:]) + lines[0][:40])
    assert {one["truth"]["clip"] for one in read_rows(file)} == {
        "busy_benign.jpg", "quiet_fall.jpg", "quiet_benign.jpg"
    }  # fmt: skip
    assert waiting_clips(data, settings, tmp_path / "run") == 3
    second = Scan(store)
    run_evaluation(data, settings, tmp_path / "run", scan=second, frame_store=store)
    assert sorted(second.seen) == ["busy_fall.jpg", "busy_night_benign.jpg", "torn_fall.jpg"]
    assert len(Run.load(tmp_path / "run").rows) == 9
    assert waiting_clips(data, settings, tmp_path / "run") == 0
    assert finish(tmp_path / "run").evaluation.total["unjudged_rate"].value == 0


def test_a_folder_of_something_else_is_refused(world, tmp_path):
    data, settings, store = world
    out = tmp_path / "run"
    run_evaluation(data, settings, out, scan=Scan(store), frame_store=store)
    other = settings.model_copy(update={"prompt": "incident@2.0.0"})
    with pytest.raises(DatasetError, match="another prompt"):
        run_evaluation(data, other, out, scan=Scan(store), frame_store=store)
    with pytest.raises(DatasetError, match="another dataset"):
        run_evaluation(
            dataclasses.replace(data, sha256="0" * 64), settings, out, scan=Scan(store), frame_store=store
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(DatasetError, match="is not empty"):
        run_evaluation(data, settings, tmp_path / "full", scan=Scan(store), frame_store=store)


def test_the_report_is_one_safe_page(world, tmp_path):
    data, settings, store = world
    done = run_evaluation(data, settings, tmp_path / "run", scan=Scan(store), frame_store=store)
    page = write_report(done.run, done.evaluation).read_text()
    assert "busy_benign.jpg" in page
    assert page.count("data:image/jpeg") >= 3
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # names of XML dialects, never fetched
    # Ids of different plots never meet in one page.
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_row_file_that_is_damaged_in_the_middle_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"truth": truth("a.mp4"), "candidate_id": None, "clip_candidates": 0})
    path.write_text(f"{good}\n{{broken\n{good}\n")
    with pytest.raises(DatasetError, match=r"rows\.jsonl line 2"):
        read_rows(Path(path))
