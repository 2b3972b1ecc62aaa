"""Calibrate log-odds per event type and choose the operating point, on alarms that nothing was taught by.

``python -m models.train.vision_calibrate`` reads what stage 1 flagged (``mined_candidates``), judges it by
the committed heads and writes ``calibration.json``. A picture is a real alarm of a type if its label says so,
a false one if it is labelled harmless; alarms of another type on an incident are left out. Alarms of train
and val count alike, each judged by networks and probes that saw none of its scene (``vision_unseen``). Types
without real alarms in the corpus (intrusion, loitering) keep the entry that a stand-in question gave them.

Each type has its own slope and offset, but all types are dismissed below one probability: a probability is a
probability whatever the type, and the few scenes of one type cannot carry a point of their own. They can
lower it: no type loses more of its own real alarms than all together may.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from models.embedded.heads import DecisionHead
from models.embedded.report_facts import LIKELY_PROBABILITY
from models.embedded.vision import WEIGHTS_DIR
from models.train import data, mined_candidates
from models.train.mined_candidates import Mined
from models.train.vision_measure import Platt, auc, calibration_error, fit_platt
from models.train.vision_unseen import Unseen
from pipeline.types import EventType, View

KEEP, CONFIDENCE = 0.95, 0.5
"""Share of real alarms that must still reach a person, and how sure we want to be of it: the point is the
one-sided tolerance limit of Wilks, "Determination of sample sizes for setting tolerance limits", 1941. With
the few hundred scenes of val alone it was asked for with confidence 0.95; with over a thousand even odds are
known to within a hundredth."""
LEARN = "learn"
"""Train and val in one: of each alarm is known what something says that has not seen it."""
LEAST_ROWS = 8
CEILING = 0.5
"""Nothing that is likelier real than false is dismissed, however well val and train separate."""
REAL: dict[EventType, tuple[str, ...]] = {
    EventType.FIRE: ("fire",),
    EventType.SMOKE: ("smoke", "fire"),
    EventType.FALL: ("fall",),
    EventType.VIOLENCE: ("fight", "weapon"),
    EventType.TRAFFIC_ACCIDENT: ("accident",),
    EventType.CROWDING: ("crowd",),
}
HARMLESS = ("normal_empty", "normal_person", "normal_traffic", "fire_like", "fall_like", "general")
SCENE_ROWS = data.WORK / "scene-rows.json"
Row = dict[str, Any]


def rows_of(mined: Iterable[Mined], head: DecisionHead, unseen: Unseen) -> list[Row]:
    """Alarms with a known truth: type, split, scene, log-odds, truth, and whether they are of a still.

    Each is judged by what has not seen it, so that those of train and val may be learned from alike.

    Args:
        mined: Pictures and clips with their alarms.
        head: Judges them.
        unseen: What is said of them by what has not seen them. With its probes of clip views, clips that the
            motion network was trained on count too as alarms of violence, of which it then has no say.
    """
    rows = []
    for one in mined:
        for candidate, features in zip(one.candidates, one.features, strict=True):
            real = one.item.label in REAL.get(candidate.event_type, ())
            if one.item.split == data.HELD or not (real or one.item.label in HARMLESS):
                continue
            frames = candidate.key_frames
            known = unseen.of(one.item, candidate, features)
            taught_on = one.item.split == "train" and one.item.source == "train_clips"
            if taught_on and known["clip_odds"] is None and candidate.event_type is EventType.VIOLENCE:
                continue
            log_odds = head.testify(
                candidate.event_type, features, frames, candidate.evidence, **known
            ).log_odds
            rows.append(
                {
                    "type": candidate.event_type.value,
                    "split": "test" if one.item.split == "test" else LEARN,
                    "group": one.item.scene,
                    "name": one.item.name,
                    "label": one.item.label,
                    "log_odds": log_odds,
                    "truth": real,
                    "still": all(frame.view is not View.MOTION for frame in frames),
                }
            )
    return rows


def dismiss_point(parts: Iterable[tuple[np.ndarray, list[str]]]) -> float:
    """The probability below which alarms of all types are dismissed.

    Args:
        parts: By type, calibrated probabilities of its real alarms and the scene of each. A scene
            counts once, however often it was flagged.
    """
    parts = list(parts)
    probability = np.concatenate([found for found, _ in parts])
    weight = np.concatenate([_by_scene(groups) for _, groups in parts])
    scenes = round(float(weight.sum()))
    allowed = int(np.sum(binom.cdf(np.arange(scenes), scenes, 1 - KEEP) <= 1 - CONFIDENCE))
    return min(CEILING, _losing(probability, weight, allowed))


def own_point(probability: np.ndarray, groups: list[str]) -> float:
    """The highest point at which a type loses no more than its share of its own real alarms.

    Some types would otherwise pay for others: those with few scenes say little in the pool.
    """
    weight = _by_scene(groups)
    return _losing(probability, weight, (1 - KEEP) * float(weight.sum()))


def _by_scene(groups: list[str]) -> np.ndarray:
    _, which, size = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / size[which])


def _losing(probability: np.ndarray, weight: np.ndarray, allowed: float) -> float:
    """The highest probability below which lies no more than a weight of real alarms."""
    order = np.argsort(probability)
    lost = np.cumsum(weight[order])
    place = int(np.searchsorted(lost, allowed + 1e-9))
    return float(probability[order][min(len(order) - 1, place)])


def calibrate(rows: list[Row]) -> dict[str, Any]:
    """Slope and offset of one type, or ``{}`` when there are too few rows of either kind."""
    learn = [row for row in rows if row["split"] == LEARN]
    truth, odds, groups = _arrays(learn)
    if min(int(truth.sum()), int((~truth).sum())) < LEAST_ROWS:
        return {}
    platt = fit_platt(truth, odds, list(groups))
    probability = platt(odds)
    entry: dict[str, Any] = {
        "a": round(platt.a, 4),
        "b": round(platt.b, 4),
        "n": len(learn),
        "n_real": int(truth.sum()),
        # Above this, at most one in ten false alarms is called certain; and never below what reports
        # call probable, or "act now" would stand over "unclear".
        "escalate_at": round(float(max(LIKELY_PROBABILITY, np.quantile(probability[~truth], 0.9))), 4),
    }
    return entry


def outcome(entry: dict[str, Any], rows: list[Row], below: float) -> dict[str, Any]:
    """An entry with the operating point, and what it keeps and cuts there and on test."""
    entry = entry | {"dismiss_below": round(below, 4)}
    entry["escalate_at"] = max(entry["escalate_at"], entry["dismiss_below"])
    for split in (LEARN, "test"):
        truth, odds, _ = _arrays([row for row in rows if row["split"] == split])
        if not 0 < truth.sum() < len(truth):
            continue
        likely = Platt(entry["a"], entry["b"])(odds)
        entry[f"auc_{split}"] = round(auc(truth, odds), 4)
        entry[f"ece_{split}"] = round(calibration_error(truth, likely), 4)
        entry[f"retention_{split}"] = round(float((likely[truth] >= below).mean()), 4)
        entry[f"cut_{split}"] = round(float((likely[~truth] < below).mean()), 4)
        entry[f"n_{split}"], entry[f"n_real_{split}"] = len(truth), int(truth.sum())
    return entry


def _arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([row["truth"] for row in rows], bool),
        np.array([row["log_odds"] for row in rows], float),
        np.array([row["group"] for row in rows]),
    )


def _real(entry: dict[str, Any], rows: list[Row]) -> tuple[np.ndarray, list[str]]:
    real = [row for row in rows if row["truth"] and row["split"] == LEARN]
    odds = np.array([row["log_odds"] for row in real])
    return Platt(entry["a"], entry["b"])(odds), [str(row["group"]) for row in real]


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR / "calibration.json")
    arguments = parser.parse_args()
    types: dict[str, Any] = json.loads(arguments.out.read_text())["types"] if arguments.out.is_file() else {}
    head = DecisionHead()
    rows = rows_of(mined_candidates.load(), head, Unseen.read())
    if SCENE_ROWS.is_file():
        rows = [row for row in rows if row["type"] != "traffic_accident"]
        rows += [row | {"still": True} for row in json.loads(SCENE_ROWS.read_text())]
    fits: dict[tuple[str, bool], tuple[dict[str, Any], list[Row]]] = {}
    for name in sorted({row["type"] for row in rows}):
        part = [row for row in rows if row["type"] == name]
        moving = [row for row in part if not row["still"]]
        entry = calibrate(moving)
        if entry:
            fits[name, False] = entry, moving
        # Train clips of other types than violence are all harmless: they count beside the stills.
        rest = [row for row in part if row["still"]] if entry else part
        still = calibrate(rest)
        if still:
            fits[name, True] = still, rest
    below = dismiss_point(_real(entry, part) for entry, part in fits.values())
    for name in sorted({name for name, _ in fits}):
        done = [
            outcome(*fits[key], min(below, own_point(*_real(*fits[key]))))
            for key in ((name, False), (name, True))
            if key in fits
        ]
        types[name] = done[0] | ({"still": done[1]} if len(done) == 2 else {})
        print(name, json.dumps(types[name]))
    print(f"dismissed below {below:.4f}")
    stored = {
        "model": head.weights_id,
        "prior": 0.5,
        "keep": KEEP,
        "confidence": CONFIDENCE,
        "types": types,
    }
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
