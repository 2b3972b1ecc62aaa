"""What the language term does: by site context, on validation or test rows the tower never trained on.

``python -m models.train.language_eval [--split val] [--count 60] [--tensors FILE]`` prints, by kind of site
context, the tower's log-odds and the language term made of them, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.embedded.connector import MANIFEST, WEIGHTS, Connector, read_joint
from models.embedded.language import LanguageTower, converted
from models.embedded.prompting import YesNo, spliced, turn
from models.train import language_data, text, text_sites
from pipeline.types import EventType


def main() -> None:
    """Evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--joint", type=Path, default=WEIGHTS, help=f"Weights; {MANIFEST} lies beside them.")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    joint = read_joint(arguments.joint)
    store = language_data.TokenStore()
    random = np.random.default_rng(5)
    kinds: dict[str, list[float]] = {
        name: [] for name in ("none_real", "none_false", "irrelevant", "excused")
    }
    by_type: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        tower = LanguageTower(converted(Path(folder), joint), arguments.threads)
        connector, yes_no = Connector(joint.tensors), YesNo(tower)
        for sample in store.questions(random, arguments.count, arguments.split):
            s = replace(sample.situation, site_context="")
            event = s.candidate.event_type
            sites = {("none_real" if s.real or s.excused else "none_false"): ""}
            sites["irrelevant"] = str(random.choice(text_sites.HELD_OUT_PLAIN))
            if event in text_sites.HELD_OUT and (s.real or s.excused):
                sites["excused"] = str(random.choice(text_sites.HELD_OUT[event]))
            tokens = np.stack([store.tokens(s.name, view) for view in s.views]).astype(np.float32)
            visual = connector(tokens, s.views)
            prompts = [
                spliced(tower, turn(tower, text.inquiry_of(replace(s, site_context=site)).messages), visual)
                for site in sites.values()
            ]
            odds = yes_no.log_odds(tower.prefill(prompts, yes_no.tokens))
            for kind, value in zip(sites, odds, strict=True):
                kinds[kind].append(float(value))
                if kind == "excused":
                    by_type.setdefault(event.value, []).append(float(value))
    kinds |= {f"excused_{EventType(name).value}": values for name, values in by_type.items()}
    result = {
        kind: {"tower": _summary(values), "term": _summary([joint.manifest.term(value) for value in values])}
        for kind, values in kinds.items()
        if values
    }
    text_out = "\n".join(f"{kind}: {json.dumps(found)}" for kind, found in result.items())
    print(text_out)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _summary(values: list[float]) -> dict[str, object]:
    array, random = np.asarray(values), np.random.default_rng(0)
    resampled = [random.choice(array, len(array)).mean() for _ in range(1000)]
    below = np.mean(array < -4)
    return {
        "n": len(values),
        "mean": round(float(array.mean()), 2),
        "interval": [round(float(v), 2) for v in np.percentile(resampled, (2.5, 97.5))],
        "spread": round(float(array.std()), 2),
        "quartiles": [round(float(v), 2) for v in np.percentile(array, (5, 25, 50, 75, 95))],
        "below_minus_4": round(float(below), 3),
    }


if __name__ == "__main__":
    main()
