"""Let contrast features say, beside the stills network, what is to be seen in a picture.

``python -m models.train.vision_seen`` fits a logistic regression on contrast features (``scene_features``) of
train and val for each incident attribute, with the same pairs left out as in fine-tuning (``data.targets``),
and writes them to ``heads.json`` as ``seen``. Reports state what the mean of both log-odds says; decisions do
not read it.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR
from models.embedded.vision_scene import OBJECT_CHANNELS
from models.train import data, scene_features
from models.train.data import SEEN_BY_DETECTOR, Row, targets
from models.train.vision_measure import auc
from models.train.vision_scene import CONTRAST_STRENGTH, fit

INCIDENTS = tuple(name for name in ATTRIBUTES if name not in SEEN_BY_DETECTOR)
"""People, vehicles and animals are found by detectors, and the stills network agrees or not."""


def seen_lines(rows: list[Row], x: np.ndarray) -> dict[str, Any]:
    """A line over contrast features for each incident attribute, fitted on train and val.

    Args:
        rows: Pictures.
        x: (n, 3328) their scene features.
    """
    known = [targets(row, {}) for row in rows]
    split = np.array([row.split for row in rows])
    found = {}
    for column, name in enumerate(ATTRIBUTES):
        if name not in INCIDENTS:
            continue
        truth, asked = (np.array([pair[part][column] for pair in known]) > 0.5 for part in (0, 1))
        learn, test = asked & np.isin(split, data.LEARNED), asked & (split == "test")
        weights, bias = fit(x[learn, OBJECT_CHANNELS:], truth[learn], CONTRAST_STRENGTH)
        odds = x[test, OBJECT_CHANNELS:] @ weights + bias
        figure = auc(truth[test], odds)
        print(f"{name:12s} {truth[learn].sum()} of {learn.sum()} pictures, test AUC {figure:.3f}")
        found[name] = {"weights": [round(float(v), 5) for v in weights], "bias": round(bias, 5)}
    return found


def main() -> None:
    """Fit and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    held = scene_features.load()
    rows = [row for row in data.read_rows() if row.file in held and row.split != data.HELD]
    path = WEIGHTS_DIR / HEADS_FILE
    stored = json.loads(path.read_text())
    stored["seen"] = seen_lines(rows, scene_features.of_rows(rows))
    path.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
