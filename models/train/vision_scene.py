"""Teach the accident head to tell crashes from traffic, and traffic from what else its trigger fires on.

``python -m models.train.vision_scene`` fits two probes on scene features (``scene_features``: untouched
weights) of accidents, traffic and harmless pictures of train and val, and writes them to
``heads.json``. Their log-odds on alarms of pictures they have not seen, by scene, go to
``.train/scene-rows.json`` for calibration: val alone holds five accident scenes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from models.embedded.heads import HEADS_FILE
from models.embedded.heads_terms import either
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_scene import OBJECT_CHANNELS, SceneEncoder
from models.train import data, mined_candidates, scene_features
from models.train.data import Row
from models.train.vision_calibrate import LEARN, SCENE_ROWS
from models.train.vision_measure import auc, auc_interval, balanced
from pipeline.types import EventType

OTHERS = ("normal_person", "normal_empty", "fire_like", "fall_like", "general")
OTHER_COUNT = 300
OBJECT_STRENGTH, CONTRAST_STRENGTH, CRASH_STRENGTH = 1e-3, 1e-2, 1e-3
"""scikit-learn's C, by five folds over the scenes of train and val; crashes are of few places."""
ROAD_HEAD_START = 2.0
"""The road probe objects only to what is clearly no traffic: it has not seen every kind of road."""
FOLDS, SEED = 5, 0
MANY = 25
"""Folds of the crash probes: with a fifth of 44 crash scenes away they are worse than the one that ships."""
Line = tuple[np.ndarray, float]


def chosen_rows() -> list[Row]:
    """All accidents and traffic, and some harmless pictures of train and val."""
    rows = [row for row in data.read_rows() if row.split != data.HELD]
    others = [row for row in rows if row.label in OTHERS and row.split != "test"]
    random.Random(SEED).shuffle(others)
    return [row for row in rows if row.label in ("accident", "normal_traffic")] + others[:OTHER_COUNT]


def fit(x: np.ndarray, truth: np.ndarray, strength: float) -> Line:
    """Weights and bias of a logistic regression at equal priors."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(scaler.transform(x), truth, balanced(truth))
    weights = model.coef_[0] / scaler.scale_
    return weights, float(model.intercept_[0] - weights @ scaler.mean_)


def fit_objects(x: np.ndarray, truth: np.ndarray) -> Line:
    """One line for scene features that reads object features only."""
    weights, bias = fit(x[:, :OBJECT_CHANNELS], truth, OBJECT_STRENGTH)
    return np.concatenate([weights, np.zeros(x.shape[1] - OBJECT_CHANNELS)]), bias


def fit_contrast(x: np.ndarray, truth: np.ndarray, strength: float = CONTRAST_STRENGTH) -> Line:
    """One line for scene features that reads contrast features only."""
    weights, bias = fit(x[:, OBJECT_CHANNELS:], truth, strength)
    return np.concatenate([np.zeros(OBJECT_CHANNELS), weights]), bias


def fit_scene(x: np.ndarray, truth: np.ndarray, strength: float = CONTRAST_STRENGTH) -> Line:
    """One line for scene features: the mean of a probe on object and one on contrast features.

    Fitted apart, so that neither drowns in the other.
    """
    (objects, one), (contrast, other) = fit_objects(x, truth), fit_contrast(x, truth, strength)
    return (objects + contrast) / 2, (one + other) / 2


def fit_both(x: np.ndarray, crash: np.ndarray, road: np.ndarray) -> tuple[Line, Line]:
    """The probe of crashes among traffic, and of traffic among everything."""
    weights, bias = fit_contrast(x, road)
    return fit_scene(x[road], crash[road], CRASH_STRENGTH), (weights, bias + ROAD_HEAD_START)


def both_log_odds(x: np.ndarray, lines: tuple[Line, Line]) -> np.ndarray:
    """Log-odds that a picture shows a road and on it a crash."""
    one, other = (x @ weights + bias for weights, bias in lines)
    return np.array([-either(-a, -b) for a, b in zip(one, other, strict=True)])


def folds(group: np.ndarray, count: int = FOLDS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Folds that keep scenes together, shuffled the same way each time."""
    names = np.unique(group)
    shuffled = dict(zip(names, np.random.default_rng(SEED).permutation(len(names)), strict=True))
    yield from GroupKFold(count).split(group, groups=[shuffled[name] for name in group])


def unseen_log_odds(x: np.ndarray, crash: np.ndarray, road: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Log-odds of each picture by probes that saw none of its scene."""
    odds = np.zeros(len(x))
    for seen, rest in folds(group, MANY):
        odds[rest] = both_log_odds(x[rest], fit_both(x[seen], crash[seen], road[seen]))
    return odds


def flagged(rows: Sequence[Row]) -> np.ndarray:
    """On which pictures stage 1 raised an alarm of an accident (``mined_candidates``)."""
    names = {
        one.item.name
        for one in mined_candidates.load()
        if any(candidate.event_type is EventType.TRAFFIC_ACCIDENT for candidate in one.candidates)
    }
    return np.array([row.file in names for row in rows])


def calibration_rows(rows: Sequence[Row], odds: np.ndarray) -> list[dict[str, Any]]:
    """What calibration reads: alarms as the trigger raises them, not pictures as a corpus sorts them.

    Args:
        rows: Accidents and harmless pictures.
        odds: Log-odds of each, by probes that saw none of its scene.
    """
    return [
        {
            "type": EventType.TRAFFIC_ACCIDENT.value,
            "split": "test" if row.split == "test" else LEARN,
            "group": row.group,
            "name": row.file,
            "label": row.label,
            "log_odds": float(value),
            "truth": row.label == "accident",
        }
        for row, value, asked in zip(rows, odds, flagged(rows), strict=True)
        if asked
    ]


def stored_head(line: Line) -> dict[str, Any]:
    """A head of one scene probe as ``heads.json`` holds it."""
    weights, bias = line
    return {
        "bias": 0.0,
        "bound": 8.0,
        "terms": {"scene": {"coefficient": 1.0, "centre": 0.0}},
        "scene": {"weights": [round(float(v), 5) for v in weights], "bias": round(bias, 5)},
    }


def main() -> None:
    """Fit, measure, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = chosen_rows()
    x = scene_features.of_rows(rows)
    label = np.array([row.label for row in rows])
    group = np.array([row.group for row in rows])
    crash, test = label == "accident", np.array([row.split == "test" for row in rows])
    road = crash | (label == "normal_traffic")
    odds = unseen_log_odds(x[~test], crash[~test], road[~test], group[~test])
    part = road[~test]
    print(
        f"{MANY} folds over train and val: AUC {auc(crash[~test], odds):.3f}, "
        f"against traffic alone {auc(crash[~test][part], odds[part]):.3f}"
    )
    lines = fit_both(x[~test], crash[~test], road[~test])
    held = test & road
    figures = auc_interval(crash[held], both_log_odds(x[held], lines), list(group[held]))
    print("test, accidents against traffic:", figures)
    taught = {row.file for row in rows}
    kept = [row for row in data.read_rows() if row.label in OTHERS and row.split != data.HELD]
    more = [row for row in kept if row.file not in taught]
    told = both_log_odds(x[test], lines), both_log_odds(scene_features.of_rows(more), lines)
    told_of = [row for row in rows if row.split != "test"], [row for row in rows if row.split == "test"], more
    calibration = calibration_rows([row for part in told_of for row in part], np.concatenate([odds, *told]))
    for split in (LEARN, "test"):
        part = [row for row in calibration if row["split"] == split]
        real = np.array([row["truth"] for row in part])
        value = auc(real, np.array([row["log_odds"] for row in part]))
        print(f"alarms, {split}: {real.sum()} real, {(~real).sum()} false, AUC {value:.3f}")
    SCENE_ROWS.write_text(json.dumps(calibration))
    path = WEIGHTS_DIR / HEADS_FILE
    stored: dict[str, Any] = json.loads(path.read_text())
    stored["made_for"]["scene"] = SceneEncoder(data.WORK / "cache").features_id
    stored["types"]["traffic_accident"] = stored_head(lines[0]) | {"needs": stored_head(lines[1])}
    path.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
