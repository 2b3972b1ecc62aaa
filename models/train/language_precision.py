"""What int8 costs the language tower: yes/no log-odds against float32 on validation questions.

``python -m models.train.language_precision [--count 40]`` prints a table: int8 weights alone, with int8
activations, and the speed of each. Needs about 900 MB on disk for a moment.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from models.embedded.assets import LANGUAGE, locate
from models.embedded.connector import Connector, read_joint
from models.embedded.gguf import GgufTower
from models.embedded.graph import build_tower
from models.embedded.language import LanguageTower, converted
from models.embedded.prompting import YesNo, spliced, turn
from models.train import language_data, text


def main() -> None:
    """Compare."""
    import openvino as ov

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    joint, store = read_joint(), language_data.TokenStore()
    samples = store.questions(np.random.default_rng(21), arguments.count, "val")
    found: dict[str, tuple[np.ndarray, float, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        small = converted(Path(place), joint)
        exact = Path(place) / "float32"
        exact.mkdir()
        for name in ("tokenizer.json", "embedding.npy", "language.json"):
            shutil.copy(small / name, exact / name)
        model = build_tower(GgufTower(locate(LANGUAGE)), joint.deltas(), compress=False)
        ov.save_model(model, str(exact / "language.xml"), compress_to_fp16=False)
        del model
        for name, folder, activations in (
            ("float32", exact, False),
            ("int8 weights", small, False),
            ("int8 weights and activations", small, True),
        ):
            tower = LanguageTower(folder, arguments.threads, activations_int8=activations)
            connector, yes_no = Connector(joint.tensors), YesNo(tower)
            odds, seconds = [], []
            for sample in samples:
                s = sample.situation
                tokens = np.stack([store.tokens(s.name, view) for view in s.views]).astype(np.float32)
                prompt = spliced(tower, turn(tower, text.inquiry_of(s).messages), connector(tokens, s.views))
                start = time.perf_counter()
                odds.append(float(yes_no.log_odds(tower.prefill([prompt], yes_no.tokens))[0]))
                seconds.append(time.perf_counter() - start)
            size = (folder / "language.bin").stat().st_size / 2**20
            found[name] = np.asarray(odds), float(np.median(seconds)) * 1e3, size
            del tower
    exact_odds = found["float32"][0]
    print("| tower | size MiB | ms a question | log-odds change, mean / max | correlation | signs changed |")
    print("|---|---|---|---|---|---|")
    for name, (values, each, size) in found.items():
        change = np.abs(values - exact_odds)
        flips = int(((values > 0) != (exact_odds > 0)).sum())
        agreement = np.corrcoef(values, exact_odds)[0, 1]
        figures = f"{size:.0f} | {each:.0f} | {change.mean():.2f} / {change.max():.2f} | {agreement:.4f}"
        print(f"| {name} | {figures} | {flips} of {len(values)} |")


if __name__ == "__main__":
    main()
