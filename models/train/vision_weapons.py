"""A weapon makes a violence alarm real, whether anybody fights or not: the second way in that head.

``python -m models.train.vision_weapons`` fits one slope on the alarms that stage 1 raised on validation
pictures of armed people and of harmless scenes (``mined_candidates``); it becomes ``also`` in ``heads.json``.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from models.embedded.heads import HEADS_FILE, pool_stills
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR
from models.train import mined_candidates
from models.train.vision_calibrate import HARMLESS
from models.train.vision_measure import auc, fit_platt
from pipeline.types import EventType

REGION = 0.5
"""Weight of the region view, as for the fight attribute."""
UNDISTURBED = 0.99
"""Armed people of the corpus come from other sources than harmless scenes, so that the slope flatters: a
weapon speaks only where it is clearer than in this share of harmless alarms."""


def fit() -> dict[str, Any]:
    """The entry, with what it was fitted on."""
    column = ATTRIBUTES.index("weapon")
    logits, truth, groups = [], [], []
    for one in mined_candidates.load():
        armed = one.item.label == "weapon"
        if one.item.split != "val" or not (armed or one.item.label in HARMLESS):
            continue
        for candidate, features in zip(one.candidates, one.features, strict=True):
            if candidate.event_type is not EventType.VIOLENCE:
                continue
            pooled = pool_stills(features.logits[:, column], candidate.key_frames, REGION)
            if pooled is not None:
                logits.append(pooled)
                truth.append(armed)
                groups.append(one.item.group)
    x, y = np.array(logits), np.array(truth)
    platt = fit_platt(y, x, groups)
    print(f"{y.sum()} armed, {(~y).sum()} harmless alarms of val: AUC {auc(y, x):.3f}, {platt}")
    centre = max(-platt.b / platt.a, float(np.quantile(x[~y], UNDISTURBED)))
    term = {"coefficient": round(platt.a, 4), "centre": round(centre, 4), "region": REGION}
    return {"bias": 0.0, "bound": 8.0, "terms": {"attribute:weapon": term}}


def main() -> None:
    """Fit and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    path = WEIGHTS_DIR / HEADS_FILE
    stored = json.loads(path.read_text())
    stored["types"]["violence"]["also"] = fit()
    path.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
