"""Arithmetic on boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.types import Array, Box

SURE_ALONE = 0.6
"""A detection of this score is a thing of its own, whatever it lies on."""
SAME_THING = 0.65
"""Share of the smaller box that lies on the other from which on both may show one thing."""


def area(box: Box) -> float:
    """Area, 0 for an inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(one: Box, other: Box) -> float:
    """Area common to both."""
    return area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def overlap(one: Box, other: Box) -> float:
    """Share of the smaller box that the other covers, 0..1."""
    smaller = min(area(one), area(other))
    return intersection(one, other) / smaller if smaller > 0 else 0.0


def gap(one: Box, other: Box) -> float:
    """Distance between the nearest edges, 0 when they touch; in the boxes' own unit."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    along = max(one[1] - other[3], other[1] - one[3], 0.0)
    return float(np.hypot(across, along))


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of at least one."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return (min(x1), min(y1), max(x2), max(y2))


def centre(box: Box) -> tuple[float, float]:
    """Middle of a box."""
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def apart(boxes: Sequence[Box], scores: Sequence[float]) -> list[int]:
    """Which boxes are surely different things: a weak one that mostly lies on a stronger one may be the same.

    Detectors often give somebody who moves or lies a second, weaker box of half the body. Somebody who stands
    behind another looks alike, so this is for statements of the kind "at least so many", not for tracks.

    Args:
        boxes: Of things of one kind.
        scores: Of the detector, 0..1, one for each box.

    Returns:
        Indices of the boxes that count, strongest first.
    """
    counted: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda row: -scores[row]):
        doubtful = scores[index] < SURE_ALONE
        if not doubtful or all(overlap(boxes[index], boxes[other]) < SAME_THING for other in counted):
            counted.append(index)
    return counted


def iou_matrix(one: Array, other: Array, buffer: float = 0.0) -> Array:
    """Intersection over union of every pair.

    Args:
        one: (N, 4) ``x1, y1, x2, y2``.
        other: (M, 4).
        buffer: Boxes are widened by this share of their size on every side first, so that fast objects
            at low frame rates still meet (Yang et al., "Hard to Track Objects with Irregular Motions and
            Similar Appearances? Make It Easier by Buffering the Matching Space", 2023).

    Returns:
        (N, M) in 0..1.
    """
    first, second = (_widen(boxes, buffer) for boxes in (one, other))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (first, second)]
    total = areas[0][:, None] + areas[1][None, :] - common
    result: Array = (common / np.maximum(total, 1e-9)).astype(np.float32)
    return result


def _widen(boxes: Array, share: float) -> Array:
    size = (boxes[:, 2:] - boxes[:, :2]) * share
    return np.concatenate([boxes[:, :2] - size, boxes[:, 2:] + size], axis=1)
