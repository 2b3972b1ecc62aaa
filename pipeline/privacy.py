"""Hides faces in what leaves the control room: reports and exported images.

What the model sees and what a signed-in operator sees stays as it was filmed; what is passed on shows
that a person fell, not who. Heads are found in three ways, and every way's finds are hidden: key points of
a pose estimator, boxes of people that the detector stored with the candidate, and, where people were
counted but nobody can be placed in the picture, the whole picture is made coarse. It errs towards hiding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from pipeline.errors import FrameStoreError
from pipeline.interfaces import PoseEstimator
from pipeline.types import Box, Image, Poses

BLOCKS = 5
"""A hidden head is at most this many coarse blocks wide: too few to tell who it is."""
COARSE_SIDE = 48
"""Longer side, in blocks, of a picture that is made coarse as a whole."""
JPEG_QUALITY = 82
NEAR_S = 0.35
"""A stored box is trusted for pictures this close in time."""
_FACE_POINTS = 5
_SHOULDERS = (5, 6)
_SEEN, _SURE = 0.15, 0.4


def hide_faces(image: Image, heads: Iterable[Box]) -> Image:
    """A copy in which every head is a few coarse, smoothed blocks.

    Args:
        image: (height, width, 3) BGR.
        heads: Regions ``x1, y1, x2, y2`` in 0..1.
    """
    hidden = image.copy()
    height, width = image.shape[:2]
    for head in heads:
        x1, y1 = max(int(head[0] * width), 0), max(int(head[1] * height), 0)
        x2, y2 = min(int(np.ceil(head[2] * width)), width), min(int(np.ceil(head[3] * height)), height)
        if x2 - x1 < 2 or y2 - y1 < 2:
            continue
        hidden[y1:y2, x1:x2] = _coarse(image[y1:y2, x1:x2], BLOCKS)
    return hidden


def make_coarse(image: Image) -> Image:
    """The whole picture in coarse blocks: a scene can be told, a person cannot."""
    return _coarse(image, COARSE_SIDE)


def _coarse(part: Image, blocks: int) -> Image:
    height, width = part.shape[:2]
    scale = blocks / max(height, width)
    small = (max(1, min(width, round(width * scale))), max(1, min(height, round(height * scale))))
    tiny = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(tiny, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def heads_of_poses(poses: Poses, width: int, height: int) -> list[Box]:
    """Head regions in 0..1 of people with key points in pixels of a picture of this size."""
    heads = []
    for points, box in zip(poses.keypoints, poses.xyxy, strict=True):
        face = points[:_FACE_POINTS][points[:_FACE_POINTS, 2] >= _SEEN]
        body = float(max(box[2] - box[0], box[3] - box[1]))
        if len(face):
            centre = face[:, :2].mean(axis=0)
            shoulders = points[list(_SHOULDERS)]
            across = float(np.linalg.norm(shoulders[0, :2] - shoulders[1, :2]))
            # Seen from the side the shoulders fall together; a head is never below an eighth of the body.
            spread = float(np.ptp(face[:, :2], axis=0).max())
            # Half-seen faces are placed badly, above all of people who lie: hide more around them.
            share = 0.11 if float(face[:, 2].mean()) >= _SURE else 0.26
            radius = max(0.6 * across, share * body, 1.1 * spread, 4.0)
            spot = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
            heads.append(_normalised(spot, width, height))
        else:
            heads += heads_of_box(_normalised([float(v) for v in box], width, height), width / height)
    return heads


def heads_of_box(box: Box, aspect: float = 16 / 9) -> list[Box]:
    """Where the head may be in a person's box (0..1): on top, or for somebody lying at both ends.

    Args:
        box: The person.
        aspect: Width by height of the picture, to tell lying from standing.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    if width * aspect <= 1.1 * height:
        return [(x1 - 0.05 * width, y1 - 0.06 * height, x2 + 0.05 * width, y1 + 0.28 * height)]
    top, bottom = y1 - 0.08 * height, y2 + 0.08 * height
    end = 0.34 * width
    return [(x1 - 0.05 * width, top, x1 + end, bottom), (x2 - end, top, x2 + 0.05 * width, bottom)]


def shareable(
    encoded: bytes,
    key_frame: Mapping[str, Any],
    evidence: Mapping[str, Any],
    pose: PoseEstimator | None = None,
    longest_side: int = 960,
) -> bytes:
    """An encoded picture that may be passed on: faces hidden, no metadata, at most ``longest_side`` px.

    Args:
        encoded: The stored file.
        key_frame: Its entry in a scan row: ``view``, ``t_s``, ``box``.
        evidence: ``objects`` and ``counts`` of its candidate.
        pose: Finds heads in the picture itself; without it only stored boxes are known.
        longest_side: Larger pictures are scaled down.

    Raises:
        FrameStoreError: The bytes are not an image.
    """
    image = decode(encoded)
    scale = longest_side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return encode(_without_faces(image, key_frame, evidence, pose))


def _without_faces(
    image: Image, key_frame: Mapping[str, Any], evidence: Mapping[str, Any], pose: PoseEstimator | None
) -> Image:
    if key_frame.get("view") == "clip":
        # Eight moments in small: no box is known in most of them.
        return make_coarse(image)
    height, width = image.shape[:2]
    people = [seen for seen in evidence.get("objects") or () if seen["label"] == "person"]
    near = [seen for seen in people if abs(seen["t_s"] - key_frame["t_s"]) <= NEAR_S]
    crop = key_frame.get("box") or (0.0, 0.0, 1.0, 1.0)
    boxes = [_inside(seen["box"], crop) for seen in near]
    if pose is not None:
        heads: list[Box] = []
        # Motion views are not pictures of one moment: the estimator reads their middle channel.
        plain = np.repeat(image[:, :, 1:2], 3, axis=2) if key_frame.get("view") == "motion" else image
        for part, region in _tiles(plain):
            found = pose.estimate([part])[0]
            heads += [_outside(head, region) for head in heads_of_poses(found, part.shape[1], part.shape[0])]
        # A stored box says less than a head that was found in it; it counts where none was.
        guessed = [box for box in boxes if not any(_centre_in(head, box) for head in heads)]
        return hide_faces(
            image, heads + [head for box in guessed for head in heads_of_box(box, width / height)]
        )
    counted = int((evidence.get("counts") or {}).get("person", 0))
    if counted > len(near):
        return make_coarse(image)
    return hide_faces(image, [head for box in boxes for head in heads_of_box(box, width / height)])


def _centre_in(head: Box, box: Box) -> bool:
    x, y = (head[0] + head[2]) / 2, (head[1] + head[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _tiles(image: Image) -> list[tuple[Image, Box]]:
    """The picture, and for a large one its two overlapping halves, where small people are found too."""
    height, width = image.shape[:2]
    whole = (image, (0.0, 0.0, 1.0, 1.0))
    if max(height, width) < 400:
        return [whole]
    if width >= height:
        half = round(width * 0.6)
        share = half / width
        return [
            whole,
            (image[:, :half], (0.0, 0.0, share, 1.0)),
            (image[:, width - half :], (1 - share, 0.0, 1.0, 1.0)),
        ]
    half = round(height * 0.6)
    share = half / height
    return [
        whole,
        (image[:half], (0.0, 0.0, 1.0, share)),
        (image[height - half :], (0.0, 1 - share, 1.0, 1.0)),
    ]


def _outside(box: Box, region: Box) -> Box:
    """A box of a part in the coordinates of the whole."""
    across, down = region[2] - region[0], region[3] - region[1]
    return (
        region[0] + box[0] * across,
        region[1] + box[1] * down,
        region[0] + box[2] * across,
        region[1] + box[3] * down,
    )


def _inside(box: Sequence[float], crop: Sequence[float]) -> Box:
    across, down = max(crop[2] - crop[0], 1e-6), max(crop[3] - crop[1], 1e-6)
    return (
        (box[0] - crop[0]) / across,
        (box[1] - crop[1]) / down,
        (box[2] - crop[0]) / across,
        (box[3] - crop[1]) / down,
    )


def _normalised(box: Sequence[float], width: int, height: int) -> Box:
    return (
        float(box[0]) / width,
        float(box[1]) / height,
        float(box[2]) / width,
        float(box[3]) / height,
    )


def decode(encoded: bytes) -> Image:
    """Bytes of an image file as (height, width, 3) BGR. Raises FrameStoreError."""
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    except cv2.error:
        image = None
    if image is None:
        raise FrameStoreError("a stored key frame is not an image", hint="scan the clip again")
    return np.asarray(image, dtype=np.uint8)


def encode(image: Image) -> bytes:
    """An image as JPEG bytes. Raises FrameStoreError."""
    done, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise FrameStoreError("an image cannot be encoded")
    return buffer.tobytes()
