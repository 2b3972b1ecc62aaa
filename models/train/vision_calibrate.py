"""Calibrate log-odds per event type and choose operating points, on validation rows only.

``python -m models.train.vision_calibrate [--rows FILE] [--model ID]`` reads JSON lines with ``type``,
``split`` (val or test), ``log_odds`` and ``truth`` and writes ``calibration.json``. Run it again on rows of
the whole model once the language term is part of the score.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.train import data
from models.train.vision_measure import calibration_error, fit_platt, retention_threshold

KEEP = 0.97
"""Share of real incidents of val that must still reach a person."""
LEAST_ROWS = 8
CEILING = 0.35
"""Nothing likelier than this is dismissed, however well val separates: its sources are few."""
PROXY_CEILING = {"intrusion": 0.15, "loitering": 0.15}
"""Types taught by a stand-in question only (is anybody there?) dismiss the clearest cases alone."""


def calibrate(rows: list[dict[str, Any]], ceiling: float = CEILING) -> dict[str, Any]:
    """Entry of one type, or ``{}`` when val has too few rows of either kind.

    Args:
        rows: All rows of the type.
        ceiling: Highest probability that may be dismissed.
    """
    val, test = ([row for row in rows if row["split"] == split] for split in ("val", "test"))
    truth, odds = _arrays(val)
    if min(int(truth.sum()), int((~truth).sum())) < LEAST_ROWS:
        return {}
    platt = fit_platt(truth, odds, [str(row.get("group", number)) for number, row in enumerate(val)])
    probability = platt(odds)
    below = retention_threshold(truth, odds, keep=KEEP)
    entry: dict[str, Any] = {
        "a": round(platt.a, 4),
        "b": round(platt.b, 4),
        "n": len(val),
        "n_real": int(truth.sum()),
        "ece_val": round(calibration_error(truth, probability), 4),
        "ece_test": None,
        "dismiss_below": round(min(ceiling, float(platt(np.array([below]))[0])), 4),
        # Above this, at most one in ten false alarms of val is called certain.
        "escalate_at": round(float(max(0.5, np.quantile(probability[~truth], 0.9))), 4),
    }
    test_truth, test_odds = _arrays(test)
    if len(test) and 0 < test_truth.sum() < len(test):
        likely = platt(test_odds)
        entry["ece_test"] = round(calibration_error(test_truth, likely), 4)
        entry["retention_test"] = round(float((likely[test_truth] >= entry["dismiss_below"]).mean()), 4)
        entry["cut_test"] = round(float((likely[~test_truth] < entry["dismiss_below"]).mean()), 4)
        entry["n_test"] = len(test)
    return entry


def _arrays(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row["truth"] for row in rows], bool), np.array([row["log_odds"] for row in rows], float)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=data.WORK / "head-rows.jsonl")
    parser.add_argument("--model", help="the part of the model it belongs to; the vision weights by default")
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR / "calibration.json")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    types = {}
    for name in sorted({row["type"] for row in rows}):
        entry = calibrate([row for row in rows if row["type"] == name], PROXY_CEILING.get(name, CEILING))
        if entry:
            types[name] = entry
            print(name, entry)
    vision = VisionEncoder(data.WORK / "cache").weights_id
    stored = {
        "model": arguments.model or vision,
        "vision": vision,
        "prior": 0.5,
        "keep": KEEP,
        "types": types,
    }
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
