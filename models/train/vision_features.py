"""Clean features of every corpus image: the full view and two regions as a trigger would cut them.

The regions lie around the strongest object and around the two strongest.

``python -m models.train.vision_features [--weights DIR] [--out FILE]`` writes pooled features and attribute
logits by the committed encoder (or another weights folder) to ``.train/corpus.npz``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.train import data, evidence_features
from models.train.malloc import keep_memory
from models.train.vision_views import region_box
from pipeline.types import View


def main() -> None:
    """Encode three views of all images."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--out", type=Path, default=data.WORK / "corpus.npz")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["train", "val", "test"],
        help="heads and report need val and test of the committed encoder, and all of the stock one",
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    # Other weights are for comparison, such as the floor: those as exactly as they come.
    exact = arguments.weights != WEIGHTS_DIR
    encoder = VisionEncoder(data.WORK / "cache", weights_dir=arguments.weights, exact=exact)
    folder, seen = data.shared_data(), evidence_features.load()
    rows = data.read_rows(folder, filed=True)
    pooled, logits = np.zeros((len(rows), 3, 1280), np.float16), None
    region = np.zeros((len(rows), 2), bool)
    start = time.monotonic()
    wanted = [index for index, row in enumerate(rows) if row.split in arguments.splits]
    for first in range(0, len(wanted), 8):
        part = wanted[first : first + 8]
        images, places = [], []
        for index in part:
            picture = data.image(rows[index], folder)
            images.append(picture)
            places.append((index, 0))
            # Annotated boxes are left out: at run time there is only what detectors see.
            for count in (1, 2):
                box = region_box(rows[index], seen[rows[index].file], None, annotated=False, count=count)
                if box is not None:
                    region[index, count - 1] = True
                    images.append(data.crop(picture, box))
                    places.append((index, count))
        found = encoder.encode(images, [View.FULL] * len(images))
        if logits is None:
            logits = np.full((len(rows), 3, found.logits.shape[1]), np.nan, np.float32)
        for place, vector, logit in zip(places, found.pooled, found.logits, strict=True):
            pooled[place], logits[place] = vector, logit
        if first % 800 == 0:
            each = (time.monotonic() - start) / (first + 8) * 1e3
            print(f"features: {first}/{len(wanted)}, {each:.0f} ms each", file=sys.stderr, flush=True)
    assert logits is not None
    for count in (1, 2):
        missing = ~region[:, count - 1]
        pooled[missing, count], logits[missing, count] = pooled[missing, 0], logits[missing, 0]
    np.savez(
        arguments.out,
        pooled=pooled,
        logits=logits,
        region=region,
        name=[row.file for row in rows],
        weights=encoder.features_id,
    )


if __name__ == "__main__":
    main()
