"""A weapon makes a violence alarm real, whether anybody fights or not: the second way in that head.

``python -m models.train.vision_weapons`` fits a probe on contrast features (``scene_features``) of armed
people and of harmless pictures of train and val, and its slope on the alarms that stage 1 raised on pictures
of train and val (``mined_candidates``), with what probes say that have not seen them. It becomes ``also`` in
``heads.json``; the log-odds go to ``.train/armed-odds.json`` for calibration. The weapon attribute of the
stills network, beside it, lets through more harmless alarms and finds no more armed people
(``EXPERIMENTS.md``).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import WEIGHTS_DIR
from models.train import data, mined_candidates, scene_features
from models.train.vision_calibrate import HARMLESS
from models.train.vision_measure import auc, fit_platt
from models.train.vision_scene import fit_contrast
from models.train.vision_second import Second, second_opinion
from models.train.vision_unseen import ARMED
from pipeline.types import EventType

UNDISTURBED = 0.99
"""Armed people of the corpus come from other sources than harmless scenes, so that the slope flatters: a
weapon speaks only where it is clearer than in this share of harmless alarms."""


def fit(second: Second) -> dict[str, Any]:
    """The entry, with what it was fitted on."""
    opinions, truth, groups = [], [], []
    for one in mined_candidates.load():
        armed = one.item.label == "weapon"
        if one.item.split not in data.LEARNED or one.item.name not in second.odds:
            continue
        if armed or one.item.label in HARMLESS:
            alarms = sum(candidate.event_type is EventType.VIOLENCE for candidate in one.candidates)
            opinions += [second.odds[one.item.name]] * alarms
            truth += [armed] * alarms
            groups += [one.item.group] * alarms
    x, y = np.array(opinions), np.array(truth)
    platt = fit_platt(y, x, groups)
    print(f"{y.sum()} armed, {(~y).sum()} harmless alarms: AUC {auc(y, x):.3f}, {platt}")
    from_where = max(-platt.b / platt.a, float(np.quantile(x[~y], UNDISTURBED)))
    weights, bias = second.line
    return {
        "bias": 0.0,
        "bound": 8.0,
        "terms": {"scene": {"coefficient": round(platt.a, 4), "centre": round(from_where, 4)}},
        "scene": {"weights": [round(float(v), 5) for v in weights], "bias": round(bias, 5)},
    }


def main() -> None:
    """Fit and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    held = scene_features.load()
    rows = [row for row in data.read_rows() if row.file in held]
    second = second_opinion(("weapon",), rows, scene_features.of_rows(rows), fit_contrast)
    path = WEIGHTS_DIR / HEADS_FILE
    stored = json.loads(path.read_text())
    stored["types"]["violence"]["also"] = fit(second)
    path.write_text(json.dumps(stored, indent=1) + "\n")
    weights, bias = second.train_line
    (data.WORK / ARMED).write_text(
        json.dumps({"pictures": second.odds, "train": {"weights": weights.tolist(), "bias": bias}})
    )


if __name__ == "__main__":
    main()
