"""What a motion view says without a network: statistics of dense optical flow between its three frames.

A motion view holds grey frames before, at and after the moment as its B, G and R channels, so the flow
between them can be had from the stored picture alone. Flow: Kroeger et al., "Fast Optical Flow using Dense
Inverse Search", 2016 (OpenCV's DIS).
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import Array, Image

FLOW_WIDTH_PX = 160
MOTION_STATISTICS = (
    "flow_mean",
    "flow_p90",
    "flow_p99",
    "flow_std",
    "moving_share",
    "camera_motion",
    "direction_entropy",
    "divergence",
    "acceleration",
    "acceleration_p95",
    "change_mean",
    "change_p95",
    "reversal",
    "concentration",
    "spread_x",
    "spread_y",
    "down_share",
    "still_share",
)
_DIRECTIONS = 12
_MOVING_PX = 0.6


def motion_statistics(view: Image) -> Array:
    """Statistics of one motion view, in the order of ``MOTION_STATISTICS``.

    Lengths are in per cent of the picture's width per frame step, so that clips of any size compare.
    """
    height, width = view.shape[:2]
    size = (FLOW_WIDTH_PX, max(48, round(FLOW_WIDTH_PX * height / width)))
    small = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    before, middle, after = (np.ascontiguousarray(small[:, :, channel]) for channel in range(3))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    first = dis.calc(before, middle, None)
    second = dis.calc(middle, after, None)
    camera = np.median(second.reshape(-1, 2), axis=0)
    first = first - np.median(first.reshape(-1, 2), axis=0)
    second = second - camera
    unit = 100.0 / FLOW_WIDTH_PX
    length = np.hypot(second[..., 0], second[..., 1])
    moving = length > _MOVING_PX
    weight = np.where(moving, length, 0.0)
    total = float(weight.sum()) + 1e-6
    angle = np.arctan2(second[..., 1], second[..., 0])
    histogram = np.bincount(
        ((angle + np.pi) / (2 * np.pi) * _DIRECTIONS).astype(int).ravel() % _DIRECTIONS,
        weights=weight.ravel(),
        minlength=_DIRECTIONS,
    )
    share = histogram / total
    entropy = float(-(share * np.log(share + 1e-9)).sum() / np.log(_DIRECTIONS))
    divergence = np.gradient(second[..., 0], axis=1) + np.gradient(second[..., 1], axis=0)
    change = np.hypot(*np.moveaxis(second - first, -1, 0))
    dot = (first * second).sum(-1)
    difference = cv2.absdiff(middle, after).astype(np.float32) / 255.0
    rows, columns = np.indices(length.shape)
    mean_x, mean_y = (weight * columns).sum() / total, (weight * rows).sum() / total
    ordered = np.sort(weight.ravel())[::-1]
    top = ordered[: max(1, len(ordered) // 20)].sum() / total
    values = (
        length.mean() * unit,
        np.percentile(length, 90) * unit,
        np.percentile(length, 99) * unit,
        length.std() * unit,
        moving.mean(),
        float(np.hypot(*camera)) * unit,
        entropy if moving.any() else 0.0,
        float(np.abs(divergence).mean()),
        change.mean() * unit,
        np.percentile(change, 95) * unit,
        difference.mean(),
        np.percentile(difference, 95),
        float((weight * (dot < 0)).sum() / total),
        float(top),
        float(np.sqrt((weight * (columns - mean_x) ** 2).sum() / total) / length.shape[1]),
        float(np.sqrt((weight * (rows - mean_y) ** 2).sum() / total) / length.shape[0]),
        float((weight * (second[..., 1] > np.abs(second[..., 0]))).sum() / total),
        float((difference < 0.02).mean()),
    )
    return np.asarray(values, np.float32)
