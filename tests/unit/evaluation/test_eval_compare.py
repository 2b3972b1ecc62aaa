"""Comparing runs: exact tests, flips, gates; and calibration with its refusals."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from eval_rows import quiet, row, truth
from scipy.stats import binomtest

from evaluation.calibrate import calibrate, platt
from evaluation.compare import NO_EVIDENCE, compare_runs
from evaluation.compare_report import write_comparison
from evaluation.dataset import DatasetError, DatasetRow, rows_hash
from evaluation.gates import parse_gate
from evaluation.metrics import evaluate
from evaluation.runs import Run
from evaluation.significance import holm, mcnemar_exact, sign_flip_exact
from pipeline.errors import ConfigError
from pipeline.reason.calibration import read_calibration


def make_run(folder, rows, *, split="dev", state="done", models=("m@1",), prompts=("incident@1.0.0",)):
    folder.mkdir()
    truths = {one["truth"]["clip"]: DatasetRow.model_validate(one["truth"]) for one in rows}
    counts = {}
    for one in rows:
        counts[one["truth"]["clip"]] = counts.get(one["truth"]["clip"], 0) + bool(one["candidate_id"])
    rows = [{**one, "clip_candidates": counts[one["truth"]["clip"]]} for one in rows]
    manifest = {
        "state": state,
        "dataset": {"sha256": rows_hash(truths.values()), "split": split},
        "model": "m",
        "prompt": "incident",
        "model_ids": list(models),
        "prompts": [{"id": one, "sha256": "0" * 64} for one in prompts],
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    run = Run.load(folder)
    (folder / "metrics.json").write_text(json.dumps(evaluate(run.clips).as_json()))
    return run


def test_mcnemar_is_the_binomial_test():
    assert mcnemar_exact(0, 0) == 1.0
    for only_a, only_b in ((1, 9), (5, 5), (0, 6), (12, 3)):
        assert mcnemar_exact(only_a, only_b) == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)


def test_the_test_over_groups():
    # One clip a scene: McNemar. Six clips of one scene: one coin, p = 1.
    assert sign_flip_exact([1] * 9 + [-1] + [0] * 20) == pytest.approx(mcnemar_exact(1, 9))
    assert sign_flip_exact([6]) == 1.0
    # Scenes of +2 and +3: sums are 5, 1, -1, -5; |sum| >= 5 in half of them.
    assert sign_flip_exact([2, 3]) == 0.5


def test_holm():
    assert holm([0.01, 0.04]) == [0.02, 0.04]
    assert holm([0.04, 0.03]) == [0.06, 0.06]


CLIPS = [truth(f"benign-{n}.mp4") for n in range(12)] + [truth(f"fall-{n}.mp4", "fall") for n in range(6)]


def rows_of(dismissed_benign, dismissed_falls):
    rows = []
    for n, about in enumerate(CLIPS):
        gone = n < dismissed_benign if n < 12 else n - 12 < dismissed_falls
        rows.append(row(about, "fall", "dismiss" if gone else "escalate", score=0.1 if gone else 0.9))
    return rows


def test_equal_runs_show_no_evidence_of_a_difference(tmp_path):
    a, b = (make_run(tmp_path / name, rows_of(4, 0)) for name in "ab")
    found = compare_runs(a, b)
    assert found.flips == ()
    assert found.verdict.startswith(NO_EVIDENCE)
    assert not any(one.evidence for one in found.differences)


def test_a_real_improvement_is_found_and_shown(tmp_path):
    a, b = make_run(tmp_path / "a", rows_of(0, 0)), make_run(tmp_path / "b", rows_of(10, 0))
    found = compare_runs(a, b)
    assert len(found.flips) == 10
    assert all(flip.better for flip in found.flips)
    incidents, alarms = found.tests
    assert (incidents.p, alarms.only_b, alarms.only_a) == (1.0, 10, 0)
    assert alarms.adjusted_p == pytest.approx(2 * 2 / 2**10)
    assert found.verdict == "b is better on false alarms (p = 0.00391)"
    cut = next(one for one in found.differences if one.metric == "false_alarm_cut")
    assert cut.delta == pytest.approx(10 / 12, abs=1e-6)
    assert cut.evidence


def test_a_gain_on_false_alarms_does_not_hide_lost_incidents(tmp_path):
    a, b = make_run(tmp_path / "a", rows_of(0, 0)), make_run(tmp_path / "b", rows_of(12, 6))
    found = compare_runs(a, b)
    assert "b is worse on incidents" not in found.verdict.split("; ")[1]
    assert found.verdict.startswith("b is worse on incidents")
    assert found.flips[0].better is False  # what went wrong comes first


def test_many_clips_of_one_scene_are_no_evidence(tmp_path):
    clips = [truth(f"{n}.mp4", group="one yard") for n in range(30)]
    a = make_run(tmp_path / "a", [row(about, "fall", "escalate") for about in clips])
    b = make_run(tmp_path / "b", [row(about, "fall", "dismiss") for about in clips])
    found = compare_runs(a, b)
    assert found.tests[1].mcnemar_p < 1e-6
    assert found.verdict == NO_EVIDENCE


def test_candidates_that_only_one_run_has_are_flips(tmp_path):
    about = truth("a.mp4")
    a = make_run(tmp_path / "a", [row(about, "fall", "escalate")])
    b = make_run(tmp_path / "b", [quiet(about)])
    (flip,) = compare_runs(a, b).flips
    assert flip.after is None
    assert flip.better is True


def test_different_data_and_unfinished_runs_are_refused(tmp_path):
    a = make_run(tmp_path / "a", [quiet(truth("a.mp4"))])
    with pytest.raises(DatasetError, match="different datasets"):
        compare_runs(a, make_run(tmp_path / "b", [quiet(truth("b.mp4"))]))
    with pytest.raises(DatasetError, match="not finished"):
        compare_runs(a, make_run(tmp_path / "c", [quiet(truth("a.mp4"))], state="running"))
    with pytest.raises(DatasetError, match=r"run.json is missing"):
        Run.load(tmp_path)


def test_the_page_escapes_what_models_and_labels_say(tmp_path):
    evil = "<script>alert(1)</script>"
    about = truth("a.mp4", note=evil)
    a = make_run(tmp_path / "a", [row(about, "fall", "escalate", narrative=evil, title=evil)])
    b = make_run(tmp_path / "b", [row(about, "fall", "dismiss", narrative="calm")])
    page = write_comparison(compare_runs(a, b), tmp_path / "c.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="https?://', page)


def test_gates(tmp_path):
    a, b = make_run(tmp_path / "a", rows_of(0, 0)), make_run(tmp_path / "b", rows_of(9, 1))
    before, after = a.metrics(), b.metrics()

    def trips(text):
        return parse_gate(text).trips(before, after)

    assert trips("retention<0.95") == "retention<0.95: it is 0.8333"
    assert trips("retention < 0.80") is None
    assert trips("cut<0.75") is None
    assert trips("fall.cut<=0.75")
    assert trips("delta.retention<-0.1")
    assert trips("violence.cut<0.5" if "violence" in after["by_type"] else "groundedness<0.5").endswith(
        "count"
    )
    for wrong in ("retention=0.9", "retention<", "", "a.b.c<1"):
        with pytest.raises(ConfigError, match="cannot be read"):
            parse_gate(wrong)
    with pytest.raises(ConfigError, match="no metric 'beauty'"):
        trips("beauty<1")
    with pytest.raises(ConfigError, match="no event type 'snow'"):
        trips("snow.cut<1")


def scored_rows(n, *, a=0.5, b=-1.0, seed=0, groups=40):
    """Candidates whose truth really has probability sigmoid(a x + b)."""
    source = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        x = float(source.normal(0, 4))
        real = source.random() < 1 / (1 + math.exp(-(a * x + b)))
        about = truth(f"{number}.mp4", "fall" if real else "benign", group=f"g{number % groups}")
        rows.append(row(about, "fall", "review", score=0.5, log_odds=x))
    return rows


def test_platt_finds_the_slope_it_was_made_with(tmp_path):
    run = make_run(tmp_path / "r", scored_rows(2500), split="val")
    found = calibrate(run, method="platt").content
    fit = found["types"]["fall"]
    assert fit["a"] == pytest.approx(0.5, abs=0.06)
    assert fit["b"] == pytest.approx(-1.0, abs=0.15)
    assert fit["ece_cross_validated"] < 0.04 < fit["ece_before"]
    assert (found["model"], found["prompt"], fit["n"]) == ("m@1", "incident@1.0.0", 2500)


def test_the_file_is_one_the_reasoner_reads(tmp_path):
    run = make_run(tmp_path / "r", scored_rows(400), split="val")
    for method in ("platt", "isotonic"):
        path = tmp_path / f"{method}.json"
        found = calibrate(run, method=method, retention=0.95, precision=0.7)
        path.write_text(json.dumps(found.content))
        fit = read_calibration(path).types["fall"]
        limits = fit.thresholds()
        assert 0 < limits.dismiss_below <= limits.escalate_at < 1
        # The operating point keeps what it promises on the data it was found on.
        real = [one for clip in run.clips for one in clip.candidates if one.real]
        kept = [one for one in real if fit.probability(one.row["log_odds"]) >= limits.dismiss_below]
        assert len(kept) / len(real) >= 0.95


def test_platt_refuses_a_score_that_falls_with_the_truth():
    x = np.linspace(-3, 3, 100)
    assert platt(x, x < 0) is None


def test_calibration_refuses_other_splits_small_sets_and_mixtures(tmp_path):
    for split in ("test", "dev", "train", None, "mixed"):
        run = make_run(tmp_path / f"s-{split}", scored_rows(200), split=split)
        with pytest.raises(DatasetError, match="data marked"):
            calibrate(run)
    few = make_run(tmp_path / "few", scored_rows(40), split="val")
    with pytest.raises(
        DatasetError, match=r"too few: \d+ more real candidates and \d+ more false candidates"
    ):
        calibrate(few)
    narrow = make_run(tmp_path / "narrow", scored_rows(300, groups=4), split="val")
    with pytest.raises(DatasetError, match="from 6 more scenes"):
        calibrate(narrow)
    two = make_run(
        tmp_path / "two", scored_rows(200), split="val", prompts=("incident@1.0.0", "incident@2.0.0")
    )
    with pytest.raises(DatasetError, match="2 prompts"):
        calibrate(two)
