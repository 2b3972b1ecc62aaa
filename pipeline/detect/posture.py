"""Geometry of a person: how the body lies and moves, from key points and boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.detect.boxes import iou_matrix
from pipeline.types import Array, Box, Poses

NOSE = 0
SHOULDERS = (5, 6)
HIPS = (11, 12)
LIMBS = (9, 10, 15, 16)
_SEEN = 0.2


@dataclass(frozen=True, slots=True)
class Posture:
    """What a pose says about lying.

    Attributes:
        torso_angle_deg: Tilt of the line from hips to shoulders, 0 upright, 90 level, 180 head down.
        head_below_hip: Whether the head is level with or below the hips.
        score: Mean confidence of the points used, 0..1.
    """

    torso_angle_deg: float
    head_below_hip: bool
    score: float


def posture(points: Array) -> Posture | None:
    """Read the posture off one person's key points.

    Args:
        points: (17, 3) x px, y px, score in COCO order.

    Returns:
        ``None`` when no shoulder or no hip is seen.
    """
    shoulder, hip = (_middle(points, pair) for pair in (SHOULDERS, HIPS))
    if shoulder is None or hip is None:
        return None
    across, up = float(shoulder[0] - hip[0]), float(hip[1] - shoulder[1])
    if math.hypot(across, up) < 2.0:
        return None
    angle = math.degrees(math.atan2(abs(across), up))
    head = points[NOSE]
    below = bool(head[2] >= _SEEN and head[1] >= hip[1] - 0.1 * math.hypot(across, up))
    return Posture(angle, below, float((shoulder[2] + hip[2]) / 2))


def pose_of(box: Box, poses: Poses, min_iou: float = 0.2) -> int | None:
    """Index of the pose that belongs to a person's box, if any."""
    if not len(poses):
        return None
    ious = iou_matrix(np.array([box], np.float32), poses.xyxy)[0]
    best = int(np.argmax(ious))
    return best if ious[best] >= min_iou else None


def limb_speed(now: Array, before: Array, height: float, dt_s: float) -> float:
    """Fastest wrist or ankle relative to the body's own movement.

    Args:
        now: (17, 3) key points.
        before: The same person's earlier ones.
        height: Height of the person, px.
        dt_s: Time between them.

    Returns:
        Heights per second, 0 when nothing can be compared.
    """
    both = (now[:, 2] >= _SEEN) & (before[:, 2] >= _SEEN)
    trunk = [i for i in (*SHOULDERS, *HIPS) if both[i]]
    limbs = [i for i in LIMBS if both[i]]
    if not trunk or not limbs or height <= 0 or dt_s <= 0:
        return 0.0
    moved = now[:, :2] - before[:, :2]
    own = moved[trunk].mean(axis=0)
    return float(np.hypot(*(moved[limbs] - own).T).max() / height / dt_s)


def _middle(points: Array, pair: tuple[int, int]) -> Array | None:
    seen = points[[i for i in pair if points[i, 2] >= _SEEN]]
    return seen.mean(axis=0) if len(seen) else None
