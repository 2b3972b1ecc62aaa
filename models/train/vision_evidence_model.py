"""Fit the additive evidence models on the corpus: what poses, boxes and counts say about each alarm.

Used by ``models.train.vision_heads``; the facts are computed from one picture exactly as ``facts.py`` defines
them, and dropped at random while fitting, since no trigger gives all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.embedded.heads_evidence import ANIMALS, FACT_NAMES, VEHICLES, AdditiveModel, evidence_numbers
from models.train.evidence_features import Seen
from pipeline.types import Box, Evidence, JsonScalar, SeenObject

_SEEN = 0.35
_SHOULDERS, _HIPS, _NOSE = (5, 6), (11, 12), 0
_JOINT = 0.2


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, width) * max(0.0, height) / max(smaller, 1e-6)


def _gap(a: Box, b: Box, aspect: float) -> float:
    dx = max(0.0, max(a[0], b[0]) - min(a[2], b[2])) * aspect
    dy = max(0.0, max(a[1], b[1]) - min(a[3], b[3]))
    return math.hypot(dx, dy) / max(a[3] - a[1], b[3] - b[1], 1e-6)


def _pose_facts(seen: Seen) -> dict[str, JsonScalar]:
    """Facts of the person lying most, among those the pose estimator is sure of."""
    width, height = seen["size"]
    best: dict[str, JsonScalar] = {}
    for score, box, points in seen["people"]:
        if score < 0.2:
            continue
        pixels = points[:, :2] * np.float32([width, height])
        sure = points[:, 2]
        facts: dict[str, JsonScalar] = {
            "pose_score": score,
            "low_in_frame": box[3],
            "box_aspect": (box[2] - box[0]) * width / max((box[3] - box[1]) * height, 1.0),
        }
        if min(sure[list(_SHOULDERS)].max(), sure[list(_HIPS)].max()) >= _JOINT:

            def middle(
                pair: tuple[int, int], pixels: np.ndarray = pixels, sure: np.ndarray = sure
            ) -> np.ndarray:
                weight = sure[list(pair)] + 1e-3
                return (pixels[list(pair)] * weight[:, None]).sum(0) / weight.sum()

            up = middle(_HIPS) - middle(_SHOULDERS)
            facts["torso_angle_deg"] = math.degrees(math.atan2(abs(up[0]), max(float(up[1]), 1e-3)))
            if up[1] < 0:
                facts["torso_angle_deg"] = 90.0
            if sure[_NOSE] >= _JOINT:
                facts["head_below_hip"] = bool(pixels[_NOSE, 1] >= middle(_HIPS)[1])

        def lying(f: dict[str, JsonScalar]) -> float:
            return float(f.get("torso_angle_deg") or 0.0) / 90 + min(2.0, float(f.get("box_aspect") or 0.0))

        if not best or lying(facts) > lying(best):
            best = facts
    return best


def evidence_of(seen: Seen) -> Evidence:
    """Evidence as a trigger would give it for a single picture."""
    width, height = seen["size"]
    aspect = width / height
    objects = tuple(SeenObject(label, score, box, 0.0) for label, score, box in seen["objects"])
    people = [o.box for o in objects if o.label == "person" and o.score >= _SEEN]
    vehicles = [o.box for o in objects if o.label in VEHICLES and o.score >= _SEEN]
    facts = _pose_facts(seen)
    if not facts and people:
        facts["box_aspect"] = max((b[2] - b[0]) * aspect / max(b[3] - b[1], 1e-6) for b in people)
        facts["low_in_frame"] = max(b[3] for b in people)
    facts["person_count"] = max(len(people), sum(score >= 0.2 for score, _, _ in seen["people"]))
    facts["vehicle_count"] = len(vehicles)
    for name, boxes in (("people", people), ("vehicle", vehicles)):
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
        if pairs:
            facts[f"{name}_overlap"] = max(_overlap(a, b) for a, b in pairs)
            if name == "people":
                facts["people_distance"] = min(_gap(a, b, aspect) for a, b in pairs)
    facts["crowd_density"] = min(1.0, sum((b[2] - b[0]) * (b[3] - b[1]) for b in people))
    facts["animal_label_near"] = any(o.label in ANIMALS and o.score >= 0.3 for o in objects)
    return Evidence(objects=objects, facts=facts)


def numbers_of(seen: Seen) -> dict[str, float]:
    """The measurements of one picture."""
    return evidence_numbers(evidence_of(seen), seen["size"][0] / seen["size"][1])


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
    edges: dict[str, np.ndarray] = {}
    for column, name in enumerate(names):
        known = table[:, column][~np.isnan(table[:, column])]
        cuts = (
            np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
            if len(known) > 20
            else np.zeros(0)
        )
        edges[name] = (cuts + 1e-6).astype(np.float32)

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
