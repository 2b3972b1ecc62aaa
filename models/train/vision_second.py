"""Give heads a second opinion: a probe on untouched features beside the fine-tuned attributes.

``python -m models.train.vision_second`` fits, for each type below, a logistic regression on scene features
(``scene_features``) of train and val, and weighs it against the head on their alarms (``mined_candidates``),
with log-odds of pictures that the probe has not seen (five folds by scene). It writes
the probe to ``heads.json`` and those log-odds to ``.train/second-odds.json`` for calibration. Ensembles of
fine-tuned and untouched features hold better on places never seen (the idea of Wortsman et al., "Robust
fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.embedded.heads import HEADS_FILE, DecisionHead
from models.embedded.vision import WEIGHTS_DIR
from models.train import data, mined_candidates, scene_features
from models.train.data import Row
from models.train.mined_candidates import SECOND_OPINIONS
from models.train.vision_calibrate import HARMLESS, LEARN, REAL, rows_of
from models.train.vision_measure import auc, auc_by_scene, by_scene
from models.train.vision_scene import Line, fit_contrast, fit_objects, fit_scene, folds
from models.train.vision_unseen import SECOND, Unseen
from pipeline.types import EventType

STILL_ONLY = {EventType.VIOLENCE}
"""Of the types with second opinions, the ones that do so only where nothing moves: there clips tell more."""
LEAST_GAIN = 0.003
"""AUC by scene on alarms of train and val that a second opinion must add, or it is left out."""
LARGEST_SHARE = 4.0
"""A second opinion never weighs more than this many times what the head does."""
Odds = dict[str, float]
Fit = Callable[[np.ndarray, np.ndarray], Line]
WITNESSES: dict[str, Fit] = {
    "objects": fit_objects,
    "contrast": fit_contrast,
    "objects and contrast": fit_scene,
}
"""What a second opinion may be read from; the one that adds more is taken."""


@dataclass(frozen=True, slots=True)
class Second:
    """The probe that ships, one that has seen train only, and log-odds of unseen pictures."""

    line: Line
    train_line: Line
    odds: Odds


def second_opinion(labels: Sequence[str], rows: list[Row], x: np.ndarray, fit: Fit) -> Second:
    """Fit the probes that tell pictures with these labels from harmless ones."""
    use = np.array([row.label in labels or row.label in HARMLESS for row in rows])
    truth = np.array([row.label in labels for row in rows])
    group = np.array([row.group for row in rows])
    learn = np.flatnonzero(use & np.array([row.split in data.LEARNED for row in rows]))
    line = fit(x[learn], truth[learn])
    odds = x @ line[0] + line[1]
    for seen, rest in folds(group[learn]):
        weights, bias = fit(x[learn[seen]], truth[learn[seen]])
        odds[learn[rest]] = x[learn[rest]] @ weights + bias
    for split in ("val", "test"):
        part = use & np.array([row.split == split for row in rows])
        figure = auc(truth[part], odds[part])
        print(f"  {split}: AUC of the probe alone, all pictures {figure:.3f}")
    train = np.flatnonzero(use & np.array([row.split == "train" for row in rows]))
    return Second(
        line,
        fit(x[train], truth[train]),
        {row.file: round(float(value), 4) for row, value in zip(rows, odds, strict=True)},
    )


def share_of(
    truth: np.ndarray, own: np.ndarray, second: np.ndarray, groups: Sequence[str]
) -> tuple[float, float]:
    """How much a second opinion weighs beside a first one, 0 to 1, and its centre between the classes."""
    x = np.stack([own, second], axis=1)
    scaler = StandardScaler().fit(x)
    weight = by_scene(truth, groups)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(x), truth, weight)
    first, other = model.coef_[0] / scaler.scale_
    share = min(LARGEST_SHARE, max(0.0, float(other / first))) if first > 0 else LARGEST_SHARE
    return share, float((second[truth].mean() + second[~truth].mean()) / 2)


def weigh(event_type: EventType, alarms: list[dict[str, Any]], odds: Odds) -> tuple[float, dict[str, float]]:
    """What the second opinion adds to the head, and its coefficient and centre.

    The gain is of the AUC by scene; where pictures, counted one by one, are told worse, that loss.
    """
    own_alarms = [a for a in alarms if a["type"] == event_type.value and a["name"] in odds]
    learn = [a for a in own_alarms if a["split"] == LEARN and a["label"] != "weapon"]
    truth = np.array([a["truth"] for a in learn])
    head = np.array([a["log_odds"] for a in learn])
    second = np.array([odds[a["name"]] for a in learn])
    groups = [a["group"] for a in learn]
    share, centre = share_of(truth, head, second, groups)
    both = head + share * (second - centre)
    before, after = (auc_by_scene(truth, told, groups) for told in (head, both))
    by_picture = auc(truth, both) - auc(truth, head)
    print(f"  alarms of train and val: {before:.3f} -> {after:.3f} with share {share:.2f}")
    gain = after - before if by_picture > 0 else by_picture
    return gain, {"coefficient": round(share, 4), "centre": round(centre, 4)}


def main() -> None:
    """Fit, weigh, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    path = WEIGHTS_DIR / HEADS_FILE
    stored = json.loads(path.read_text())
    for event_type in SECOND_OPINIONS:
        stored["types"][event_type.value].pop("scene", None)
        stored["types"][event_type.value]["terms"].pop("scene", None)
    path.write_text(json.dumps(stored, indent=1) + "\n")
    held = scene_features.load()
    rows = [row for row in data.read_rows() if row.file in held]
    x = scene_features.of_rows(rows)
    # What is asked is what a second opinion would add, so none of an earlier run may be in it.
    others = replace(Unseen.read(), second={}, probes={})
    alarms = rows_of(mined_candidates.load(), DecisionHead(), others)
    found: dict[str, Any] = {}
    for event_type in SECOND_OPINIONS:
        tried = []
        for name, fit in WITNESSES.items():
            print(event_type.value, name)
            # Armed people are the business of another way in the violence head (``vision_weapons``).
            labels = [label for label in REAL[event_type] if label != "weapon"]
            second = second_opinion(labels, rows, x, fit)
            tried.append((*weigh(event_type, alarms, second.odds), second))
        gain, term, second = max(tried, key=lambda one: one[0])
        if gain < LEAST_GAIN:
            continue
        if event_type in STILL_ONLY:
            term["still_only"] = True
        weights, bias = second.line
        found[event_type.value] = {
            "pictures": second.odds,
            "train": {"weights": second.train_line[0].tolist(), "bias": second.train_line[1]},
        }
        stored["types"][event_type.value]["terms"]["scene"] = term
        stored["types"][event_type.value]["scene"] = {
            "weights": [round(float(v), 5) for v in weights],
            "bias": round(bias, 5),
        }
    path.write_text(json.dumps(stored, indent=1) + "\n")
    (data.WORK / SECOND).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
