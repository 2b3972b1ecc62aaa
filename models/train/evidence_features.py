"""Run the detectors over the corpus once, so that crops, pseudo-labels and evidence features need not.

``python -m models.train.evidence_features`` writes ``.train/evidence.pkl``; resumable, with progress.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.train.data import WORK, image, read_rows, shared_data

Seen = dict[str, Any]
"""``size``; ``objects``: (label, score, normalised box); ``people``: (score, box, 17 normalised points)."""

FILE = WORK / "evidence.pkl"


def look(picture: Any, detector: Any, poser: Any) -> Seen:
    """What the detectors see in one picture, normalised."""
    height, width = picture.shape[:2]
    scale = np.array([width, height, width, height], np.float32)
    found = detector.detect([picture])[0]
    people = poser.estimate([picture])[0]
    return {
        "size": (width, height),
        "objects": [
            (label, float(score), tuple(float(v) for v in box / scale))
            for label, score, box in zip(found.label, found.score, found.xyxy, strict=True)
        ][:20],
        "people": [
            (
                float(score),
                tuple(float(v) for v in box / scale),
                points / np.array([width, height, 1], np.float32),
            )
            for score, box, points in zip(people.score, people.xyxy, people.keypoints, strict=True)
        ],
    }


def load() -> dict[str, Seen]:
    """What was seen, by file.

    Raises:
        SystemExit: The step has not been run.
    """
    if not FILE.is_file():
        raise SystemExit(f"{FILE} is not there: run python -m models.train.evidence_features first")
    with FILE.open("rb") as file:
        return dict(pickle.load(file))


def main() -> None:
    """Look at every image that has not been looked at."""
    from models.detect.movenet import MoveNetMultiPose
    from models.detect.ssd import SsdMobileNetV2

    folder, cache = shared_data(), Path(WORK / "cache")
    seen: dict[str, Seen] = load() if FILE.is_file() else {}
    rows = [row for row in read_rows(folder) if row.file not in seen]
    detector, poser = SsdMobileNetV2(cache), MoveNetMultiPose(cache)
    cv2.setNumThreads(1)
    start = time.monotonic()
    for done, row in enumerate(rows, start=1):
        seen[row.file] = look(image(row, folder), detector, poser)
        if done % 500 == 0 or done == len(rows):
            WORK.mkdir(exist_ok=True)
            partial = FILE.with_suffix(".partial")
            partial.write_bytes(pickle.dumps(seen))
            partial.replace(FILE)
            rate = (time.monotonic() - start) / done
            print(f"{done}/{len(rows)} images, {rate * 1e3:.0f} ms each", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
