"""Visual tokens of training and validation images and clips, for training the joint.

``python -m models.train.language_features [--limit N]`` writes ``.train/language-tokens.npz``: for every row
the 3x3 tokens of the full view, a region view as a trigger would cut it, and a motion view for clips.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.train import data, evidence_features
from models.train.vision_motion_views import read_clips
from models.train.vision_views import region_box
from pipeline.detect.keyframes import MOTION_STEP_S, motion_view
from pipeline.types import Image, View

FILE = data.WORK / "language-tokens.npz"
SPLITS = ("train", "val", "test")
_TEST_SHARE = 3
"""Every n-th test image: enough to report on, and a third of the time."""


def clip_views(frames: Any, fps: float, box: Any = None) -> dict[View, Image]:
    """Full and motion view of the middle of a clip."""
    middle, step = len(frames) // 2, max(1, round(MOTION_STEP_S * fps))
    before, after = frames[max(0, middle - step)], frames[min(len(frames) - 1, middle + step)]
    return {View.FULL: frames[middle], View.MOTION: motion_view(before, frames[middle], after)}


def corpus_views(row: data.Row, picture: Image, seen: Any, random: np.random.Generator) -> dict[View, Image]:
    """Full view, and a region view where something was detected."""
    views = {View.FULL: picture}
    box = region_box(row, seen, random)
    if box is not None:
        views[View.REGION] = data.crop(picture, box)
    return views


def main() -> None:
    """Encode all rows; shows progress."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=0, help="Corpus images in all; 0: every one.")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    encoder = VisionEncoder(data.WORK / "cache", arguments.threads, weights_dir=arguments.weights)
    folder, seen, random = data.shared_data(), evidence_features.load(), np.random.default_rng(0)
    rows = [row for row in data.read_rows(folder, filed=True) if row.split != "test"]
    rows += [row for row in data.read_rows(folder, filed=True) if row.split == "test"][::_TEST_SHARE]
    if arguments.limit:
        rows = [rows[index] for index in random.permutation(len(rows))[: arguments.limit]]
    names, kinds, tokens = [], [], []
    pooled, logits, motion = [], [], []
    start = time.monotonic()

    def add(pending: list[tuple[str, View, Image]]) -> None:
        found = encoder.encode([image for *_, image in pending], [view for _, view, _ in pending])
        for (name, view, _), index in zip(pending, range(len(pending)), strict=True):
            names.append(name)
            kinds.append(view.value)
            tokens.append(found.tokens[index].astype(np.float16))
            pooled.append(found.pooled[index].astype(np.float16))
            logits.append(found.logits[index])
            motion.append(found.motion[index])

    pending: list[tuple[str, View, Image]] = []
    for number, row in enumerate(rows):
        picture = data.image(row, folder)
        pending += [
            (row.file, view, image)
            for view, image in corpus_views(row, picture, seen[row.file], random).items()
        ]
        if len(pending) >= 32:
            add(pending)
            pending = []
        if number % 200 == 0:
            each = (time.monotonic() - start) / (number + 1) * 1e3
            print(
                f"language features: {number}/{len(rows)} images, {each:.0f} ms each",
                file=sys.stderr,
                flush=True,
            )
    for clip in read_clips(folder):
        pending += [(clip.path, view, image) for view, image in clip_views(clip.frames, clip.fps).items()]
        if len(pending) >= 32:
            add(pending)
            pending = []
    if pending:
        add(pending)
    np.savez(
        FILE,
        name=names,
        view=kinds,
        tokens=np.stack(tokens),
        pooled=np.stack(pooled),
        logits=np.stack(logits),
        motion=np.stack(motion),
        weights=encoder.weights_id,
    )
    print(f"language features: {len(names)} views in {FILE}", file=sys.stderr)


if __name__ == "__main__":
    main()
