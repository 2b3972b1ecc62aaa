"""Every figure against a value computed on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from eval_rows import quiet, row, truth
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from evaluation.bootstrap import Resampling, exact_bounds, ratio
from evaluation.metrics import evaluate
from evaluation.outcomes import read_clips

FIGHT = truth("fight.mp4", "violence", events=[{"type": "violence", "start_s": 5.0, "end_s": 9.0}])
FIRE = truth("fire.mp4", "fire", events=[{"type": "fire", "start_s": 0.0, "end_s": 30.0}])
FALL = truth("fall.mp4", "fall")
MISSED = truth("missed.mp4", "fall", events=[{"type": "fall", "start_s": 2.0, "end_s": 4.0}])
WALK, TREE, SUNSET, EMPTY = (truth(f"{name}.mp4") for name in ("walk", "tree", "sunset", "empty"))

ROWS = [
    row(FIGHT, "violence", "escalate", score=0.9, start_s=6.0, grounded=True),
    row(FIGHT, "fall", "dismiss", score=0.2, start_s=6.0, grounded=False),
    row(FIRE, "smoke", "review", score=0.6, start_s=1.0),
    row(FALL, "fall", "dismiss", score=0.3),
    quiet(MISSED),
    row(WALK, "violence", "dismiss", score=0.1),
    row(WALK, "fall", "escalate", score=0.8, start_s=3.0),
    row(TREE, "smoke", "dismiss", score=0.05),
    row(SUNSET, "fire", "review", score=None, verdict="failed"),
    quiet(EMPTY),
]


@pytest.fixture(scope="module")
def figures():
    return evaluate(read_clips(ROWS))


def value(figures, metric, of_type=None):
    part = figures.by_type[of_type] if of_type else figures.total
    return part[metric].value, part[metric].n


def test_the_five_figures_of_the_design(figures):
    assert value(figures, "flag_recall") == (0.75, 4)
    assert value(figures, "false_alarms_before") == (3, 4)
    assert value(figures, "false_alarms_after") == (2, 4)  # walk by its fall alarm, sunset by its failure
    assert value(figures, "false_alarm_cut") == (pytest.approx(1 / 3, abs=1e-6), 3)
    assert value(figures, "incident_retention") == (pytest.approx(2 / 3, abs=1e-6), 3)


def test_benign_clips_count_under_the_type_of_their_candidates(figures):
    assert value(figures, "false_alarms_before", "violence") == (1, 4)
    assert value(figures, "false_alarms_after", "violence") == (0, 4)
    assert value(figures, "false_alarm_cut", "violence") == (1.0, 1)
    assert value(figures, "false_alarm_cut", "fall") == (0.0, 1)
    assert value(figures, "incident_retention", "fall") == (0.0, 1)
    assert value(figures, "flag_recall", "fall") == (0.5, 2)
    assert value(figures, "flag_recall", "smoke") == (None, 0)


def test_matched_figures_ask_for_an_alarm_about_the_incident():
    rows = [row(FIGHT, "fall", "escalate"), row(FIRE, "smoke", "escalate")]
    found = evaluate(read_clips(rows)).total
    assert found["flag_recall"].value == 1.0
    # A smoke alarm is about a fire; a fall alarm is not about a fight.
    assert found["flag_recall_matched"].value == 0.5
    assert found["incident_retention_matched"].value == 1.0
    assert found["incident_retention_matched"].n == 1


def test_rates_over_candidates(figures):
    assert value(figures, "review_rate") == (0.25, 8)
    assert value(figures, "failed_rate") == (0.125, 8)
    assert value(figures, "groundedness") == (0.5, 2)
    assert value(figures, "seconds_to_verdict_p50") == (0.5, 8)
    assert value(figures, "model_seconds_mean") == (0.4, 8)


def test_a_candidate_without_a_decision_goes_to_a_person():
    found = evaluate(read_clips([row(WALK, "fall", None, timings_ms={}), row(FALL, "fall", None)])).total
    assert found["false_alarms_after"].value == 1
    assert found["incident_retention"].value == 1.0
    assert found["unjudged_rate"].value == 1.0
    assert found["seconds_to_verdict_p50"].n == 1


def test_scores_agree_with_scikit_learn(figures):
    # The fall alarm in the fight clip is about nothing that was labelled and is left out.
    score = np.array([0.9, 0.6, 0.3, 0.1, 0.8, 0.05])
    real = np.array([1, 1, 1, 0, 0, 0])
    assert value(figures, "roc_auc") == (pytest.approx(roc_auc_score(real, score), abs=1e-6), 6)
    assert value(figures, "average_precision")[0] == pytest.approx(
        average_precision_score(real, score), abs=1e-6
    )
    assert value(figures, "brier")[0] == pytest.approx(brier_score_loss(real, score), abs=1e-6)


def test_ties_count_as_one_step():
    rows = [row(FALL, "fall", "review", score=0.5), row(WALK, "fall", "review", score=0.5)]
    found = evaluate(read_clips(rows)).total
    assert found["roc_auc"].value == 0.5
    assert found["average_precision"].value == 0.5


def test_calibration_error_on_paper(figures):
    # Bins: 0.05 -> 0, 0.1 -> 0 in its own bin, 0.3 -> 1, 0.6 -> 1, 0.8 -> 0, 0.9 -> 1; one candidate each.
    expected = (0.05 + 0.1 + 0.7 + 0.4 + 0.8 + 0.1) / 6
    assert value(figures, "calibration_error") == (pytest.approx(expected, abs=1e-6), 6)


def test_events_with_the_certification_tolerance(figures):
    # Scorable: fight, fire, missed, benign ones. Found: fight (6.0), fire by smoke (1.0). Missed: missed.
    assert value(figures, "event_recall") == (pytest.approx(2 / 3, abs=1e-6), 3)
    # False among those reaching a person: walk's fall, sunset's fire.
    assert value(figures, "event_precision") == (0.5, 4)
    assert value(figures, "event_f1")[0] == pytest.approx(2 * 2 / (2 * 2 + 1 + 2), abs=1e-6)
    # Before judgement also walk's violence, tree's smoke and the fight clip's fall alarm are false.
    assert value(figures, "flag_event_precision") == (pytest.approx(2 / 7, abs=1e-6), 7)


def test_unreadable_clips_are_misses_and_are_counted():
    found = evaluate(read_clips([quiet(FALL, clip_error="truncated"), row(FIRE, "fire", "escalate")])).total
    assert found["flag_recall"].value == 0.5
    assert found["unreadable_rate"].value == 0.5


def test_day_and_night_and_cameras_are_split():
    rows = [
        row(truth("a", camera="gate"), "fall", "escalate", brightness=0.1),
        row(truth("b", camera="gate"), "fall", "dismiss", brightness=0.6),
        quiet(truth("c", camera="hall"), brightness=0.6),
    ]
    found = evaluate(read_clips(rows))
    assert found.by_light["night"]["false_alarms_before"].n == 1
    assert found.by_light["day"]["false_alarms_after"].value == 0
    assert found.by_camera["gate"]["false_alarm_cut"].value == 0.5


def test_intervals_go_by_group_not_by_clip():
    # Given 40 clips, half of them dismissed, once as 40 scenes and once as two scenes of 20 equal clips each
    def rows(scenes):
        return [
            row(truth(f"{n}", group=f"{n % scenes}"), "fall", "dismiss" if n % 2 else "escalate")
            for n in range(40)
        ]

    # When intervals are computed
    alone = evaluate(read_clips(rows(40))).total["false_alarm_cut"]
    pairs = evaluate(read_clips(rows(2))).total["false_alarm_cut"]
    # Then the value is the same, and two scenes tell nothing
    assert alone.value == pairs.value == 0.5
    assert (pairs.low, pairs.high) == (0.0, 1.0)
    assert alone.low == pytest.approx(0.5 - 1.96 * math.sqrt(0.25 / 40), abs=0.03)


def test_bootstrap_interval_covers_at_its_level():
    # Given proportions of 0.7 over 60 groups of 1 to 3 dependent clips
    source = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        size = source.integers(1, 4, 60).astype(float)
        hits = size * (source.random(60) < 0.7)
        draws = Resampling.draw([f"{n:02}" for n in range(60)], resamples=400, seed=seed)
        figure = ratio(draws, hits, size)
        covered += figure.low <= 0.7 <= figure.high
    assert 0.90 <= covered / 200 <= 0.985


def test_all_of_them_gets_an_exact_interval_not_a_point():
    found = evaluate(read_clips([row(truth(f"{n}", "fall"), "fall", "escalate") for n in range(10)])).total
    figure = found["incident_retention"]
    assert (figure.value, figure.high, figure.n) == (1.0, 1.0, 10)
    assert figure.low == pytest.approx(0.025 ** (1 / 10), abs=1e-6)
    assert exact_bounds(False, 10)[1] == pytest.approx(1 - 0.025 ** (1 / 10))


def test_nothing_to_count_is_null_not_zero():
    found = evaluate(read_clips([quiet(WALK)])).total
    assert found["false_alarm_cut"].as_json() == {"value": None, "low": None, "high": None, "n": 0}
    assert found["incident_retention"].value is None


def test_the_same_rows_give_the_same_file():
    assert evaluate(read_clips(ROWS)).as_json() == evaluate(read_clips(list(reversed(ROWS)))).as_json()
