"""Measure the heads on the alarms stage 1 raises on test pictures: ``reports/alarms.md`` and ``.json``.

``python -m models.train.alarm_report`` after ``vision_calibrate``: by event type the AUC with its interval by
scene, the calibration error, and what the operating point keeps and cuts. Test pictures were used to
fit nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.embedded.heads import DecisionHead
from models.embedded.vision import WEIGHTS_DIR
from models.train import data, mined_candidates
from models.train.vision_calibrate import SCENE_ROWS, Row, rows_of
from models.train.vision_measure import (
    Platt,
    auc_by_scene,
    auc_interval,
    calibration_error,
    error_by_chance,
)
from models.train.vision_unseen import Unseen

REPORTS = Path(__file__).parent / "reports"
SAMPLES = 1000


def figures(rows: list[Row], fit: dict[str, Any], taught: frozenset[str]) -> dict[str, Any]:
    """AUC, calibration error, retention and cut of one type, each with a bootstrap interval by scene.

    Args:
        rows: Its alarms of test.
        fit: Its calibration.
        taught: Places that the stills network was taught at.
    """
    truth = np.array([row["truth"] for row in rows], bool)
    odds = np.array([row["log_odds"] for row in rows], float)
    groups = [str(row["group"]) for row in rows]
    likely = Platt(fit["a"], fit["b"])(odds)
    kept = likely >= fit["dismiss_below"]
    names, which = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(which == index) for index in range(len(names))]
    random = np.random.default_rng(0)
    draws: dict[str, list[float]] = {"retention": [], "cut": [], "calibration_error": []}
    for _ in range(SAMPLES):
        drawn = np.concatenate([members[index] for index in random.integers(0, len(names), len(names))])
        if truth[drawn].all() or not truth[drawn].any():
            continue
        for name, value in _values(truth[drawn], likely[drawn], kept[drawn]).items():
            draws[name].append(value)
    new = np.array([group not in taught for group in groups])
    found: dict[str, Any] = {
        "auc": auc_interval(truth, odds, groups),
        "auc_new_places": auc_interval(truth[new], odds[new], list(np.array(groups)[new])),
        "auc_by_scene": round(auc_by_scene(truth, odds, groups), 4),
        "calibration_error_by_scene": round(calibration_error(truth, likely, group=groups), 4),
        "calibration_error_by_chance": [round(value, 4) for value in error_by_chance(truth, likely)],
    }
    for name, value in _values(truth, likely, kept).items():
        low, high = np.quantile(draws[name], [0.025, 0.975])
        found[name] = {
            "value": round(value, 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
        }
    return found


def _values(truth: np.ndarray, likely: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    return {
        "retention": float(kept[truth].mean()),
        "cut": float((~kept[~truth]).mean()),
        "calibration_error": calibration_error(truth, likely),
    }


def shown(figure: dict[str, float]) -> str:
    """Value and interval."""
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def main() -> None:
    """Measure and write."""
    calibration = json.loads((WEIGHTS_DIR / "calibration.json").read_text())["types"]
    rows = rows_of(mined_candidates.load(), DecisionHead(), Unseen.read())
    rows = [row for row in rows if row["type"] != "traffic_accident"]
    rows += [row | {"still": True} for row in json.loads(SCENE_ROWS.read_text())]
    found, taught = {}, data.taught_places()
    for name, fit in sorted(calibration.items()):
        part = [row for row in rows if row["type"] == name and row["split"] == "test"]
        if any(row["truth"] for row in part) and not all(row["truth"] for row in part):
            # Test pictures are stills; clips with motion are all in train and val.
            found[name] = figures(part, fit.get("still") or fit, taught)
    lines = [
        "# Alarms of test pictures",
        "",
        "What stage 1 flags on test pictures, judged by the committed heads and operating points.",
        "Written by `python -m models.train.alarm_report`; 95 % intervals by scene: by place, where it is",
        "known. New places: without those that the stills network was taught at. By scene: scenes weigh",
        "the same within their class, as they do in calibration. By chance: the calibration error that so",
        "many alarms would show if every probability were right, median and 95th percentile, taking pictures",
        "of a scene for independent.",
        "",
        "| alarm | AUC | by scene | new places | real / false | scenes | real ones kept | false ones cut "
        "| calibration error | by scene | by chance |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {shown(f['auc'])} | {f['auc_by_scene']:.3f} | {shown(f['auc_new_places'])} "
        f"| {f['auc']['n_real']} / {f['auc']['n_false']} | {f['auc']['groups']} "
        f"| {shown(f['retention'])} | {shown(f['cut'])} | {shown(f['calibration_error'])} "
        f"| {f['calibration_error_by_scene']:.3f} "
        f"| {' to '.join(f'{value:.3f}' for value in f['calibration_error_by_chance'])} |"
        for name, f in found.items()
    ]
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "alarms.json").write_text(json.dumps(found, indent=1) + "\n")
    (REPORTS / "alarms.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
