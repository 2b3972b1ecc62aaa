"""Scene features (``models.embedded.vision_scene``) of corpus pictures, once each.

``python -m models.train.scene_features`` fills ``.train/scene/``, labels that heads ask for first; resumable.
Pictures are compressed as key frames are: the contrast network sees what that leaves.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from models.embedded.vision_scene import SceneEncoder
from models.train import data
from models.train.data import Row
from models.train.malloc import keep_memory

FOLDER = data.WORK / "scene"
_FIRST = (
    "accident",
    "normal_traffic",
    "smoke",
    "fire",
    "fire_like",
    "normal_empty",
    "fight",
    "normal_person",
)
_FLUSH = 100


def load() -> dict[str, np.ndarray]:
    """(3328,) float16 features by file name of what has been computed so far."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(FOLDER.glob("*.npz")):
        stored = np.load(path)
        found |= dict(zip((str(name) for name in stored["name"]), stored["scene"], strict=True))
    return found


def of_rows(rows: list[Row]) -> np.ndarray:
    """(n, 3328) float64 features of rows.

    Raises:
        SystemExit: Some have not been computed.
    """
    held = load()
    missing = sum(row.file not in held for row in rows)
    if missing:
        raise SystemExit(
            f"scene features of {missing} pictures are missing: python -m models.train.scene_features"
        )
    return np.stack([held[row.file] for row in rows]).astype(np.float64)


def main() -> None:
    """Compute what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shard", type=data.shard, default="0/1", help="I/N: every Nth picture from the Ith")
    arguments = parser.parse_args()
    keep_memory()
    cv2.setNumThreads(1)
    encoder, folder = SceneEncoder(data.WORK / "cache", arguments.threads), data.shared_data()
    data.claim(FOLDER, f"{encoder.features_id} of stored pictures")
    held = load()
    rows = [row for row in data.read_rows() if row.file not in held]
    rows.sort(key=lambda row: _FIRST.index(row.label) if row.label in _FIRST else len(_FIRST))
    rows = rows[arguments.shard]
    start = time.monotonic()
    for first in range(0, len(rows), _FLUSH):
        part = rows[first : first + _FLUSH]
        found = [encoder.encode([data.as_stored(data.image(row, folder))])[0] for row in part]
        path = Path(FOLDER / f"{time.time_ns()}.npz")
        np.savez(path, scene=np.stack(found).astype(np.float16), name=[row.file for row in part])
        each = (time.monotonic() - start) / (first + len(part)) * 1e3
        print(f"{first + len(part)}/{len(rows)} pictures, {each:.0f} ms each", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
