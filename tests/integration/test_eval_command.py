"""``sitrep eval``, ``compare`` and ``dataset`` as a user meets them, on stills cut from the bundled clips."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import pytest
from support.command import CLIPS, sitrep

from evaluation.runs import Run

STILLS = {"fall-in-office-1": ("fall", 140), "doll-house-fire": ("fire", 300), "store-aisle": ("benign", 20),
          "worker-in-hall": ("benign", 20)}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with four stills, their dataset file, and runs of two models that differ on purpose."""
    folder = tmp_path_factory.mktemp("eval")
    rows = []
    for name, (label, frame) in STILLS.items():
        video = cv2.VideoCapture(str(CLIPS / f"{name}.mp4"))
        video.set(cv2.CAP_PROP_POS_FRAMES, frame)
        good, image = video.read()
        video.release()
        if not good:
            pytest.skip(f"{name}.mp4 is not here")
        cv2.imwrite(str(folder / f"{name}.jpg"), image)
        rows.append(
            {
                "clip": f"{name}.jpg",
                "label": label,
                "escalate": label != "benign",
                "events": [],
                "group": name,
                "source": "bundled",
                "licence": "see evaluation/clips",
            }
        )
    (folder / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, model in (("a", "fake:score=0.9"), ("b", "fake:score=0.05")):
        ran = sitrep(
            "eval", "--dataset", folder / "val.jsonl", "--out", folder / name, "--model", model, "--json",
            data_dir=folder / "data",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert json.loads(ran.out) == json.loads((folder / name / "metrics.json").read_text())
    return folder


def test_the_run_is_whole_and_recounts_to_the_last_digit(place):
    run = Run.load(place / "a")
    assert run.done
    assert run.manifest["dataset"]["split"] == "val"
    assert [prompt["id"] for prompt in run.manifest["prompts"]] == ["incident@1.0.0"]
    assert {row["truth"]["clip"] for row in run.rows} == {f"{name}.jpg" for name in STILLS}
    assert (place / "a" / "report.html").stat().st_size > 20_000
    done = subprocess.run(
        [sys.executable, "-m", "evaluation.recompute", str(place / "a")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_finished_run_is_not_done_again(place):
    before = (place / "a" / "rows.jsonl").read_bytes()
    ran = sitrep(
        "eval", "--dataset", place / "val.jsonl", "--out", place / "a", "--model", "fake:score=0.9",
        data_dir=place / "data",
    )  # fmt: skip
    assert ran.code == 0
    assert (place / "a" / "rows.jsonl").read_bytes() == before


def test_replay_gives_the_same(place):
    ran = sitrep("eval", "--replay", place / "a", "--out", place / "again", data_dir=place / "data2")
    assert ran.code == 0, ran.err
    number = sum(1 for row in Run.load(place / "a").rows if row["candidate_id"])
    assert f"replay: {number} of {number} candidates have the same decision and score" in ran.err


def test_compare_says_what_flips_and_gates_decide_the_exit_code(place):
    same = sitrep("compare", place / "a", place / "again", "--json", data_dir=place / "data")
    assert same.code == 0
    assert json.loads(same.out)["verdict"].startswith("no evidence of a difference")
    assert json.loads(same.out)["flips"] == []
    other = sitrep(
        "compare", place / "a", place / "b", "--fail-if", "retention<0.95", "--json", data_dir=place / "data"
    )
    told = json.loads(other.out)
    assert other.code == 1
    assert "gate failed" in other.err
    # 0.9 escalates and 0.05 dismisses every candidate: all flip.
    assert len(told["flips"]) == sum(1 for row in Run.load(place / "a").rows if row["candidate_id"]) > 0
    assert told["differences"]["incident_retention"]["b"] == 0.0
    shown = sitrep("compare", place / "a", place / "b", data_dir=place / "data")
    assert shown.code == 0
    assert (place / "b" / "compare.html").is_file()


def test_faults_are_one_line_with_a_way_out(place, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"clip": "a.jpg", "label": "fall"}\n')
    cases = [
        (("eval", "--out", tmp_path / "o"), "give either --dataset FILE or --replay RUN"),
        (("eval", "--dataset", bad, "--out", tmp_path / "o"), "line 1: 'escalate' is missing"),
        (("eval", "--dataset", tmp_path / "no.jsonl", "--out", tmp_path / "o"), "cannot be read"),
        (("eval", "--dataset", place / "val.jsonl", "--out", place), "is not empty and no run"),
        (
            ("eval", "--dataset", place / "val.jsonl", "--out", place / "a", "--model", "noop"),
            "another model",
        ),
        (("compare", place / "a", tmp_path), "run.json is missing"),
        (("compare", place / "a", place / "b", "--fail-if", "beauty<1"), "there is no metric 'beauty'"),
        (("calibrate", place / "a", "--out", tmp_path / "c.json"), "too small to calibrate on"),
        (("dataset", "check", bad), "line 1"),
        (("rescore",), "nothing would change"),
        (("rescore", "--prompt", "incident@1.0.0", "--from", "yesterday"), "is no date"),
        (("rescore", "--prompt", "incident@7.0.0"), "7.0.0"),
    ]
    for arguments, said in cases:
        ran = sitrep(*arguments, data_dir=tmp_path / "data")
        assert ran.code not in (0, 70), arguments
        assert len(ran.error_lines) == 1, (arguments, ran.err)
        assert said in ran.error_lines[0], (arguments, ran.err)
    fine = sitrep("dataset", "check", place / "val.jsonl", data_dir=tmp_path / "data")
    assert "4 clips in 4 groups, 2 incidents (0 with event times), split val" in fine.out
