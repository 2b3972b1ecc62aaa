"""A weapon makes a violence alarm real, whether anybody fights or not: the second way in that head.

``python -m models.train.vision_weapons`` fits a probe on scene features (``scene_features``) of armed people
and of harmless pictures of train and val, weighs it beside the weapon attribute and fits one slope for both
on the alarms that stage 1 raised on pictures of train and val (``mined_candidates``), with what networks and
probes say that have not seen them. It becomes ``also`` in ``heads.json``; the log-odds go to
``.train/armed-odds.json`` for calibration.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from models.embedded.heads import HEADS_FILE, pool_stills
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR
from models.train import data, mined_candidates, scene_features
from models.train.vision_calibrate import HARMLESS
from models.train.vision_measure import auc, fit_platt
from models.train.vision_scene import fit_objects
from models.train.vision_second import Second, second_opinion, share_of
from models.train.vision_unseen import ARMED
from pipeline.types import EventType

REGION = 0.5
"""Weight of the region view, as for the fight attribute."""
UNDISTURBED = 0.99
"""Armed people of the corpus come from other sources than harmless scenes, so that the slope flatters: a
weapon speaks only where it is clearer than in this share of harmless alarms."""


def fit(second: Second) -> dict[str, Any]:
    """The entry, with what it was fitted on."""
    column = ATTRIBUTES.index("weapon")
    logits, opinions, truth, groups = [], [], [], []
    for one in mined_candidates.load():
        armed = one.item.label == "weapon"
        if one.item.split not in data.LEARNED or one.item.name not in second.odds:
            continue
        if not (armed or one.item.label in HARMLESS):
            continue
        for candidate, features in zip(one.candidates, one.features, strict=True):
            if candidate.event_type is not EventType.VIOLENCE:
                continue
            pooled = pool_stills(features.logits[:, column], candidate.key_frames, REGION)
            if pooled is not None:
                logits.append(pooled)
                opinions.append(second.odds[one.item.name])
                truth.append(armed)
                groups.append(one.item.group)
    own, other, y = np.array(logits), np.array(opinions), np.array(truth)
    share, centre = share_of(y, own, other, groups)
    x = own + share * (other - centre)
    platt = fit_platt(y, x, groups)
    print(
        f"{y.sum()} armed, {(~y).sum()} harmless alarms: AUC of the attribute {auc(y, own):.3f}, "
        f"with scene features {auc(y, x):.3f} (share {share:.2f}), {platt}"
    )
    from_where = max(-platt.b / platt.a, float(np.quantile(x[~y], UNDISTURBED)))
    slope = round(platt.a, 4)
    weights, bias = second.line
    return {
        "bias": 0.0,
        "bound": 8.0,
        "terms": {
            "attribute:weapon": {"coefficient": slope, "centre": round(from_where, 4), "region": REGION},
            # No armed people in moving footage are at hand to show that it helps there as well.
            "scene": {
                "coefficient": round(platt.a * share, 4),
                "centre": round(centre, 4),
                "still_only": True,
            },
        },
        "scene": {"weights": [round(float(v), 5) for v in weights], "bias": round(bias, 5)},
    }


def main() -> None:
    """Fit and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    held = scene_features.load()
    rows = [row for row in data.read_rows() if row.file in held]
    second = second_opinion(("weapon",), rows, scene_features.of_rows(rows), fit_objects)
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
