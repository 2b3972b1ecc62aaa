"""Measures of tracking against annotated tracks.

MOTA, MOTP, false positives, misses and identity switches after Bernardin and Stiefelhagen, "Evaluating
Multiple Object Tracking Performance: The CLEAR MOT Metrics" (2008): correspondences of the frame before are
kept while they hold, the rest is assigned at least cost. IDF1 after Ristani et al., "Performance Measures and
a Data Set for Multi-Target, Multi-Camera Tracking" (2016): tracks as a whole are assigned to annotated ones
so that most frames agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.detect.boxes import iou_matrix
from pipeline.types import Array, Box

MIN_IOU = 0.5
Tracks = Mapping[int, Mapping[int, Box]]
"""Frame number -> track id -> box, px."""


@dataclass(frozen=True, slots=True)
class Mot:
    """What was measured; the shares are 0..1, MOTA may be negative.

    Attributes:
        mota: 1 - (misses + false positives + switches) / annotated boxes.
        idf1: Share of boxes with the right identity, harmonic mean of precision and recall.
        switches: How often an annotated person changed the id.
        misses: Annotated boxes nobody tracked.
        false_positives: Tracked boxes where nobody is.
        boxes: Annotated boxes.
        motp: Mean overlap of matched boxes.
        fragments: How often tracking of a person was interrupted.
    """

    mota: float
    idf1: float
    switches: int
    misses: int
    false_positives: int
    boxes: int
    motp: float
    fragments: int


def measure(truth: Tracks, found: Tracks, frames: Sequence[int], min_iou: float = MIN_IOU) -> Mot:
    """Compare tracks with annotated ones.

    Args:
        truth: Annotated boxes.
        found: Tracked boxes.
        frames: Frames that count, in order.
        min_iou: Least overlap of two boxes that may be the same object.

    Raises:
        ValueError: There is no annotated box in these frames.
    """
    misses = false_positives = switches = fragments = boxes = 0
    overlaps: list[float] = []
    together: dict[tuple[int, int], int] = defaultdict(int)
    held: dict[int, int] = {}
    last_id: dict[int, int] = {}
    tracked_before: dict[int, bool] = {}
    for frame in frames:
        real, seen = truth.get(frame, {}), found.get(frame, {})
        real_ids, seen_ids = list(real), list(seen)
        ious = iou_matrix(_array(real, real_ids), _array(seen, seen_ids))
        for i, j in zip(*np.nonzero(ious >= min_iou), strict=True):
            together[real_ids[i], seen_ids[j]] += 1
        pairs = _match(real_ids, seen_ids, ious, held, min_iou)
        for one, other in pairs.items():
            overlaps.append(float(ious[real_ids.index(one), seen_ids.index(other)]))
            switches += last_id.get(one, other) != other
            fragments += one in tracked_before and not tracked_before[one]
            last_id[one] = other
        for one in real_ids:
            if one in pairs or one in tracked_before:
                tracked_before[one] = one in pairs
        held = pairs
        boxes += len(real_ids)
        misses += len(real_ids) - len(pairs)
        false_positives += len(seen_ids) - len(pairs)
    if not boxes:
        raise ValueError("there is no annotated box in these frames")
    return Mot(
        mota=1 - (misses + false_positives + switches) / boxes,
        idf1=_idf1(truth, found, frames, together),
        switches=switches,
        misses=misses,
        false_positives=false_positives,
        boxes=boxes,
        motp=float(np.mean(overlaps)) if overlaps else 0.0,
        fragments=fragments,
    )


def _match(
    real: list[int], seen: list[int], ious: Array, held: Mapping[int, int], min_iou: float
) -> dict[int, int]:
    pairs = {
        one: other
        for one, other in held.items()
        if one in real and other in seen and ious[real.index(one), seen.index(other)] >= min_iou
    }
    rows = [i for i, one in enumerate(real) if one not in pairs]
    columns = [j for j, other in enumerate(seen) if other not in pairs.values()]
    if rows and columns:
        rest = ious[np.ix_(rows, columns)]
        # What may not be matched costs more than any number of matches that may.
        cost = np.where(rest >= min_iou, 1 - rest, 1e6)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if rest[i, j] >= min_iou:
                pairs[real[rows[i]]] = seen[columns[j]]
    return pairs


def _idf1(
    truth: Tracks, found: Tracks, frames: Sequence[int], together: Mapping[tuple[int, int], int]
) -> float:
    lengths = [_lengths(tracks, frames) for tracks in (truth, found)]
    total = sum(lengths[0].values()) + sum(lengths[1].values())
    if not together:
        return 0.0
    real, seen = sorted(lengths[0]), sorted(lengths[1])
    agree = np.zeros((len(real), len(seen)))
    for (one, other), count in together.items():
        agree[real.index(one), seen.index(other)] = count
    rows, columns = linear_sum_assignment(-agree)
    return float(2 * agree[rows, columns].sum() / total)


def _lengths(tracks: Tracks, frames: Sequence[int]) -> dict[int, int]:
    lengths: dict[int, int] = defaultdict(int)
    for frame in frames:
        for track in tracks.get(frame, {}):
            lengths[track] += 1
    return lengths


def _array(boxes: Mapping[int, Box], ids: Sequence[int]) -> Array:
    return np.array([boxes[one] for one in ids], np.float32).reshape(-1, 4)
