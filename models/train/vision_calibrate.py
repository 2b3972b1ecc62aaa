"""Calibrate log-odds per event type and choose operating points, on alarms of validation data.

``python -m models.train.vision_calibrate`` reads what stage 1 flagged (``mined_candidates``), judges it by
the committed heads and writes ``calibration.json``. A picture is a real alarm of a type if its label says so,
a false one if it is labelled harmless; alarms of another type on an incident are left out. Accidents use the
log-odds of pictures unseen by their probes (``vision_scene``). Types without real alarms in the corpus
(intrusion, loitering) keep the entry that a stand-in question gave them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.embedded.heads import DecisionHead
from models.embedded.vision import WEIGHTS_DIR, VisionEncoder, VisionFeatures
from models.train import data, mined_candidates
from models.train.mined_candidates import Mined
from models.train.vision_measure import auc, calibration_error, fit_platt, kept_threshold
from pipeline.types import EventType, View

KEEP = 0.99
"""Share of real alarms of val that must still reach a person. At 0.97 alarms of test pictures kept 0.90 to
1.00 by type: a new place costs retention, so the point lies on the safe side of the 0.95 wanted there."""
LEAST_ROWS = 8
CEILING = 0.5
"""Nothing that is likelier real than false is dismissed, however well val separates: its sources are few."""
REAL: dict[EventType, tuple[str, ...]] = {
    EventType.FIRE: ("fire",),
    EventType.SMOKE: ("smoke", "fire"),
    EventType.FALL: ("fall",),
    EventType.VIOLENCE: ("fight", "weapon"),
    EventType.TRAFFIC_ACCIDENT: ("accident",),
    EventType.CROWDING: ("crowd",),
}
HARMLESS = ("normal_empty", "normal_person", "normal_traffic", "fire_like", "fall_like", "general")
SCENE_ROWS, SECOND_ODDS = data.WORK / "scene-rows.json", data.WORK / "second-odds.json"
Row = dict[str, Any]


def rows_of(mined: Iterable[Mined], head: DecisionHead, second: Mapping[str, Any] | None = None) -> list[Row]:
    """Alarms with a known truth: type, split, scene, log-odds, truth, and whether they are of a still.

    Args:
        mined: Pictures and clips with their alarms.
        head: Judges them.
        second: By type, second opinions of probes that have not seen the pictures (``vision_second``).
    """
    rows = []
    for one in mined:
        for candidate, features in zip(one.candidates, one.features, strict=True):
            real = one.item.label in REAL.get(candidate.event_type, ())
            if not real and one.item.label not in HARMLESS:
                continue
            frames = candidate.key_frames
            opinion = _opinion((second or {}).get(candidate.event_type.value), one.item.name, features)
            log_odds = head.testify(
                candidate.event_type, features, frames, candidate.evidence, scene_odds=opinion
            ).log_odds
            rows.append(
                {
                    "type": candidate.event_type.value,
                    "split": one.item.split,
                    "group": one.item.group,
                    "name": one.item.name,
                    "label": one.item.label,
                    "log_odds": log_odds,
                    "truth": real,
                    "still": all(frame.view is not View.MOTION for frame in frames),
                }
            )
    return rows


def _opinion(second: Mapping[str, Any] | None, name: str, features: VisionFeatures) -> float | None:
    """The second opinion on a corpus picture, or on a clip by the probe that has seen train only."""
    if second is None or name in second["pictures"] or features.scene is None:
        return None if second is None else second["pictures"].get(name)
    seen = features.scene[np.isfinite(features.scene).all(axis=1)]
    line = second["train"]
    return float((seen @ np.array(line["weights"]) + line["bias"]).mean()) if len(seen) else None


def calibrate(rows: list[Row]) -> dict[str, Any]:
    """Entry of one type, or ``{}`` when val has too few rows of either kind."""
    val, test = ([row for row in rows if row["split"] == split] for split in ("val", "test"))
    truth, odds, groups = _arrays(val)
    if min(int(truth.sum()), int((~truth).sum())) < LEAST_ROWS:
        return {}
    platt = fit_platt(truth, odds, list(groups))
    probability = platt(odds)
    below = platt(np.array([kept_threshold(odds[truth], groups[truth], keep=KEEP)]))[0]
    entry: dict[str, Any] = {
        "a": round(platt.a, 4),
        "b": round(platt.b, 4),
        "n": len(val),
        "n_real": int(truth.sum()),
        "auc_val": round(auc(truth, odds), 4),
        "ece_val": round(calibration_error(truth, probability), 4),
        "cut_val": None,
        "dismiss_below": round(min(CEILING, float(below)), 4),
        # Above this, at most one in ten false alarms of val is called certain.
        "escalate_at": round(float(max(0.5, np.quantile(probability[~truth], 0.9))), 4),
    }
    entry["cut_val"] = round(float((probability[~truth] < entry["dismiss_below"]).mean()), 4)
    test_truth, test_odds, _ = _arrays(test)
    if len(test) and 0 < test_truth.sum() < len(test):
        likely = platt(test_odds)
        entry["auc_test"] = round(auc(test_truth, test_odds), 4)
        entry["ece_test"] = round(calibration_error(test_truth, likely), 4)
        entry["retention_test"] = round(float((likely[test_truth] >= entry["dismiss_below"]).mean()), 4)
        entry["cut_test"] = round(float((likely[~test_truth] < entry["dismiss_below"]).mean()), 4)
        entry["n_test"], entry["n_real_test"] = len(test), int(test_truth.sum())
    return entry


def _arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([row["truth"] for row in rows], bool),
        np.array([row["log_odds"] for row in rows], float),
        np.array([row["group"] for row in rows]),
    )


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR / "calibration.json")
    arguments = parser.parse_args()
    types: dict[str, Any] = json.loads(arguments.out.read_text())["types"] if arguments.out.is_file() else {}
    second = json.loads(SECOND_ODDS.read_text()) if SECOND_ODDS.is_file() else {}
    rows = rows_of(mined_candidates.load(), DecisionHead(), second)
    if SCENE_ROWS.is_file():
        rows = [row for row in rows if row["type"] != "traffic_accident"]
        rows += [row | {"still": True} for row in json.loads(SCENE_ROWS.read_text())]
    for name in sorted({row["type"] for row in rows}):
        part = [row for row in rows if row["type"] == name]
        moving = calibrate([row for row in part if not row["still"]])
        # Train clips of other types than violence are all harmless: they count beside the stills.
        still = calibrate([row for row in part if row["still"]] if moving else part)
        if moving:
            types[name] = moving | ({"still": still} if still else {})
        elif still:
            types[name] = still
        print(name, json.dumps(types.get(name)))
    vision = VisionEncoder(data.WORK / "cache").weights_id
    stored = {"model": vision, "vision": vision, "prior": 0.5, "keep": KEEP, "types": types}
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
