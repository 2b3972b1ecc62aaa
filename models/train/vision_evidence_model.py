"""Fit the additive evidence models on the corpus: what poses, boxes and counts say about each alarm.

Used by ``models.train.vision_heads``; the facts are computed from one picture exactly as ``facts.py`` defines
them, and dropped at random while fitting, since no trigger gives all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.embedded.heads_evidence import FACT_NAMES, AdditiveModel, evidence_numbers
from models.train.evidence_features import Seen
from pipeline.detect.posture import pose_of, posture
from pipeline.types import Evidence, JsonScalar, Poses, SeenObject

_SEEN = 0.35
_LEAST_KNOWN = 20


def _pose_facts(seen: Seen) -> dict[str, JsonScalar]:
    """Facts of the person who lies most, as the fall trigger measures them on a single picture."""
    width, height = seen["size"]
    scale = np.array([width, height, width, height], np.float32)
    poses = Poses(
        np.array(
            [points * np.array([width, height, 1]) for *_, points in seen["people"]], np.float32
        ).reshape(-1, 17, 3),
        np.array([np.asarray(box) * scale for _, box, _ in seen["people"]], np.float32).reshape(-1, 4),
        np.array([score for score, *_ in seen["people"]], np.float32),
    )
    boxes = [
        np.asarray(box) * scale for label, score, box in seen["objects"] if label == "person" and score >= 0.2
    ]
    boxes += [box for box, score in zip(poses.xyxy, poses.score, strict=True) if score >= 0.25]
    best: dict[str, JsonScalar] = {}
    most = -1.0
    for box in boxes:
        index = pose_of((float(box[0]), float(box[1]), float(box[2]), float(box[3])), poses)
        stance = None if index is None else posture(poses.keypoints[index])
        facts: dict[str, JsonScalar] = {
            "box_aspect": float((box[2] - box[0]) / max(box[3] - box[1], 1.0)),
            "low_in_frame": float(box[3] / height),
        }
        if stance is not None:
            facts |= {
                "torso_angle_deg": stance.torso_angle_deg,
                "head_below_hip": stance.head_below_hip,
                "pose_score": stance.score,
            }
        lying = min(2.0, float(facts["box_aspect"] or 0.0))
        if stance is not None:
            lying += min(stance.torso_angle_deg, 90.0) / 90
        if lying > most:
            best, most = facts, lying
    return best


def numbers_of(seen: Seen) -> dict[str, float]:
    """The measurements of one picture, as a trigger would give them."""
    objects = tuple(SeenObject(label, score, box, 0.0) for label, score, box in seen["objects"])
    people = sum(one.label == "person" and one.score >= _SEEN for one in objects)
    posed = sum(score >= 0.2 for score, _, _ in seen["people"])
    facts = _pose_facts(seen) | {"person_count": max(people, posed)}
    return evidence_numbers(Evidence(objects=objects, facts=facts))


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of at most ``bins`` bins with about as many values each; none where too few are known.

    An edge lies halfway between two neighbouring values: many measurements are 0 or 1, and one that is
    stored with fewer digits must not change sides.
    """
    known = values[~np.isnan(values)]
    if len(known) <= _LEAST_KNOWN:
        return np.zeros(0, np.float32)
    distinct = np.unique(known)
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    above = np.searchsorted(distinct, cuts, side="right")
    above = np.unique(above[(above > 0) & (above < len(distinct))])
    return ((distinct[above - 1] + distinct[above]) / 2).astype(np.float32)


def stored(model: AdditiveModel) -> dict[str, dict[str, list[float]]]:
    """The model as ``heads.json`` has it."""
    return {
        "edges": {name: [round(float(v), 5) for v in value] for name, value in model.edges.items()},
        "weights": {name: [round(float(v), 4) for v in value] for name, value in model.weights.items()},
    }


def fit_additive(
    numbers: Sequence[dict[str, float]],
    truth: np.ndarray,
    names: Sequence[str],
    weight: np.ndarray,
    *,
    strength: float = 0.05,
    bins: int = 5,
    copies: int = 4,
    drop: float = 0.35,
    seed: int = 0,
) -> AdditiveModel:
    """Fit bin weights with fact dropout; ``strength`` is sklearn's C (smaller: flatter)."""
    random = np.random.default_rng(seed)
    table = np.asarray([[row[name] for name in names] for row in numbers], np.float64)
    edges = {name: bin_edges(table[:, column], bins) for column, name in enumerate(names)}

    def encode(values: np.ndarray) -> np.ndarray:
        parts = []
        for column, name in enumerate(names):
            which = np.searchsorted(edges[name], values[:, column], side="right")
            hot = np.eye(len(edges[name]) + 1)[which]
            hot[np.isnan(values[:, column])] = 0.0
            parts.append(hot)
        return np.concatenate(parts, axis=1)

    augmented = [table]
    for _ in range(copies - 1):
        dropped = table.copy()
        for column, name in enumerate(names):
            if name in FACT_NAMES:
                dropped[random.random(len(table)) < drop, column] = np.nan
        augmented.append(dropped)
    x = encode(np.concatenate(augmented))
    model = LogisticRegression(C=strength, max_iter=1000).fit(
        x, np.tile(truth, copies), np.tile(weight, copies)
    )
    weights, start = {}, 0
    for name in names:
        size = len(edges[name]) + 1
        # Centred, so that a missing measurement is worth as much as an average one.
        part, share = model.coef_[0, start : start + size], x[:, start : start + size].mean(0)
        weights[name] = (part - (part * share).sum() / max(share.sum(), 1e-9)).astype(np.float32)
        start += size
    return AdditiveModel(edges, weights)
