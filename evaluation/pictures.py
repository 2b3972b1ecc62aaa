"""Small pictures of candidates and the brightness that tells day from night."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.errors import FrameStoreError, SitrepError
from pipeline.interfaces import FrameStore
from pipeline.types import Image, Moment, View

THUMB_WIDTH = 320
THUMB_QUALITY = 72


def main_frame(row: Mapping[str, Any]) -> str | None:
    """Hash of the key frame that shows a candidate best: the whole view at its peak."""
    frames = row.get("frames") or []
    ranked = sorted(
        frames, key=lambda frame: (frame.get("view") != View.FULL, frame.get("moment") != Moment.PEAK)
    )
    return str(ranked[0]["sha256"]) if ranked else None


def decode(store: FrameStore, sha256: str) -> Image | None:
    """A stored frame as an image, or ``None`` when it is gone or damaged."""
    try:
        data = store.get(sha256)
    except FrameStoreError:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def save_thumb(image: Image, folder: Path) -> str:
    """Write a small JPEG under the hash of its bytes; returns the file's name."""
    height, width = image.shape[:2]
    if width > THUMB_WIDTH:
        size = (THUMB_WIDTH, max(1, round(height * THUMB_WIDTH / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, THUMB_QUALITY])
    encoded = data.tobytes()
    name = hashlib.sha256(encoded).hexdigest()[:24] + ".jpg"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).write_bytes(encoded)
    return name


def brightness(images: Sequence[Image]) -> float | None:
    """Mean luma of some images, 0..1, to four digits; ``None`` of none."""
    if not images:
        return None
    luma = [float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean()) / 255 for image in images]
    return round(sum(luma) / len(luma), 4)


def first_frame(clip: Path) -> Image | None:
    """The first frame of a clip, for clips that gave no candidate; ``None`` when it has none."""
    from pipeline.ingest import open_source

    try:
        source = open_source(str(clip))
        try:
            return next((frame.image for frame in source.frames()), None)
        finally:
            source.close()
    except SitrepError:
        return None
