"""Fit the decision heads, evidence models and the weights between the terms, on alarms of train and val.

``python -m models.train.vision_heads`` (after ``mined_candidates``, whose alarms say how much regions weigh)
writes ``heads.json`` and the rows for calibration (``.train/head-rows.jsonl``: type, split, group, log_odds,
truth).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.embedded.heads import FORMAT, HEADS_FILE
from models.embedded.heads_evidence import AdditiveModel, evidence_numbers
from models.embedded.heads_terms import attribute_logits, pool_stills
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionEncoder
from models.train import data, mined_candidates
from models.train.mined_candidates import Item, Mined
from models.train.vision_calibrate import HARMLESS, LEAST_ROWS, REAL
from models.train.vision_candidates import TASKS, Corpus, Task, load_corpus
from models.train.vision_evidence_model import fit_additive, stored
from models.train.vision_measure import auc, auc_by_scene, balanced, by_scene
from models.train.vision_scene import folds
from models.train.vision_unseen import EVIDENCE
from pipeline.types import Candidate, EventType

REGIONS = (0.0, 0.25, 0.5, 0.75)
NO_DIFFERENCE = 0.005
"""AUC by scene on alarms: networks trained anew differ by as much, so a choice by less would be chance."""
_RIDGE = 1.0
_FIGHT = ATTRIBUTES.index("fight")
Terms = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Alarm:
    """What stage 1 made of a picture: whether it is real, and what the head's terms are read from."""

    item: Item
    real: bool
    candidate: Candidate
    logits: np.ndarray

    def attribute(self, name: str, region: float) -> float:
        """Pooled logit of an attribute."""
        pooled = pool_stills(attribute_logits(self.logits, name), self.candidate.key_frames, region)
        assert pooled is not None
        return pooled

    def numbers(self) -> dict[str, float]:
        """Its measurements."""
        return evidence_numbers(self.candidate.evidence)


def alarms_of(task: Task, mined: Sequence[Mined]) -> list[Alarm]:
    """Alarms of a type on pictures of train and val, real and harmless; none where either kind is rare.

    None of them was seen in training by the network whose logits they hold.
    """
    event = EventType(task.name)
    # Armed people are the business of another way in the violence head (``vision_weapons``).
    labels = [label for label in REAL.get(event, ()) if label != "weapon"]
    found = [
        Alarm(one.item, one.item.label in labels, candidate, features.logits)
        for one in mined
        if one.item.split in data.LEARNED and one.item.source != "train_clips"
        for candidate, features in zip(one.candidates, one.features, strict=True)
        if candidate.event_type is event and one.item.label in (*labels, *HARMLESS)
    ]
    real = sum(alarm.real for alarm in found)
    return found if min(real, len(found) - real) >= LEAST_ROWS else []


def evidence_model(task: Task, alarms: Sequence[Alarm]) -> AdditiveModel | None:
    """The evidence model of a type, from its alarms; none where there are none, or the type reads none.

    Pictures sorted by label would teach who is in them; alarms teach what a trigger that fired has measured.
    """
    if not (alarms and task.evidence):
        return None
    truth = np.array([alarm.real for alarm in alarms])
    numbers = [alarm.numbers() for alarm in alarms]
    return fit_additive(numbers, truth, task.evidence, balanced(truth), strength=0.02)


def unseen_evidence(task: Task, alarms: Sequence[Alarm]) -> np.ndarray | None:
    """What evidence models that saw no alarm of its scene say of each; ``None`` if the type reads none."""
    if not (alarms and task.evidence):
        return None
    odds = np.zeros(len(alarms))
    for seen, rest in folds(np.array([alarm.item.group for alarm in alarms])):
        model = evidence_model(task, [alarms[index] for index in seen])
        assert model is not None
        odds[rest] = [model.log_odds(alarms[index].numbers()) for index in rest]
    return odds


def choose_region(task: Task, alarms: Sequence[Alarm]) -> float:
    """How much the region view weighs: what is nearest to half of those that are as good as the best."""
    if not alarms:
        return 0.5
    truth, groups = np.array([alarm.real for alarm in alarms]), [alarm.item.scene for alarm in alarms]
    scored = {
        share: auc_by_scene(
            truth, np.array([alarm.attribute(task.attributes[0], share) for alarm in alarms]), groups
        )
        for share in REGIONS
    }
    good = [share for share, value in scored.items() if value >= max(scored.values()) - NO_DIFFERENCE]
    return min(good, key=lambda share: abs(share - 0.5))


def alarm_terms(task: Task, alarms: Sequence[Alarm], region: float, evidence: np.ndarray | None) -> Terms:
    """The terms of a type's head over alarms, each by what has not seen them; ``evidence`` as it is known."""
    terms: Terms = {
        f"attribute:{name}": np.array([alarm.attribute(name, region) for alarm in alarms])
        for name in task.attributes
    }
    if evidence is not None:
        terms["evidence"] = evidence
    return terms


def weigh(terms: Terms, truth: np.ndarray, weight: np.ndarray) -> dict[str, dict[str, float]]:
    """Ridge logistic regression between the terms, never trusting one backwards.

    A coefficient below zero would mean that seeing the event speaks against it: with few val rows that is
    chance, so such a term is left out.
    """
    names = list(terms)
    while True:
        x = np.stack([terms[name] for name in names], axis=1)
        scaler = StandardScaler().fit(x, sample_weight=weight)
        model = LogisticRegression(C=_RIDGE, max_iter=1000).fit(scaler.transform(x), truth, weight)
        negative = [name for name, value in zip(names, model.coef_[0], strict=True) if value < 0]
        if not negative or len(names) == 1:
            break
        names = [name for name in names if name not in negative] or names[:1]
    return {
        name: {
            "coefficient": round(float(max(0.0, value) / scale), 4),
            # Halfway between the classes, so that a missing term speaks for neither.
            "centre": round(float((terms[name][truth].mean() + terms[name][~truth].mean()) / 2), 4),
        }
        for name, value, scale in zip(names, model.coef_[0], scaler.scale_, strict=True)
    }


def total(entry: dict[str, Any], terms: Terms) -> np.ndarray:
    """The head's log-odds of many candidates."""
    parts = [
        setting["coefficient"] * (terms[name] - setting["centre"])
        for name, setting in entry["terms"].items()
        if name in terms
    ]
    return np.clip(entry["bias"] + np.sum(parts, axis=0), -entry["bound"], entry["bound"])


def fit_flow(clips: Any, rows: np.ndarray) -> dict[str, Any]:
    """Logistic regression on the flow statistics of full and cropped motion views."""
    x = np.concatenate([_flow_table(clips["flow"]), _flow_table(clips["flow_crop"])])
    truth = np.tile(clips["violent"], 2)
    use = np.tile(rows, 2)
    scaler = StandardScaler().fit(x[use])
    model = LogisticRegression(C=0.03, max_iter=1000).fit(
        np.clip(scaler.transform(x[use]), -4, 4), truth[use]
    )
    return {
        "mean": [round(float(v), 5) for v in scaler.mean_],
        "scale": [round(float(v), 5) for v in scaler.scale_],
        "coefficients": [round(float(v), 5) for v in model.coef_[0]],
        "bias": round(float(model.intercept_[0]), 5),
    }


def _flow_table(flow: np.ndarray) -> np.ndarray:
    logs = np.log1p(np.maximum(flow, 0.0))
    return np.concatenate([logs.mean(1), logs.max(1)], axis=1)


def flow_log_odds(model: dict[str, Any], flow: np.ndarray) -> np.ndarray:
    """Log-odds of (clips, moments, M) statistics; the same as ``heads.FlowModel``."""
    x = (_flow_table(flow) - np.asarray(model["mean"])) / np.asarray(model["scale"])
    return np.clip(x, -4, 4) @ np.asarray(model["coefficients"]) + model["bias"]


def clip_terms(clips: Any, flow: dict[str, Any]) -> Terms:
    """Terms of the training clips: what the run time would have of four moments with cropped motion views."""
    full = np.sort(clips["full_logits"][:, :, _FIGHT], axis=1)[:, -2:].mean(1)
    return {
        "attribute:fight": full,
        "motion": (clips["motion_logits"][:, :, _FIGHT].mean(1) + clips["crop_logits"][:, :, _FIGHT].mean(1))
        / 2,
        "flow": (flow_log_odds(flow, clips["flow"]) + flow_log_odds(flow, clips["flow_crop"])) / 2,
    }


def fit_type(
    task: Task,
    corpus: Corpus,
    clips: Any,
    flow: dict[str, Any],
    alarms: Sequence[Alarm],
    unseen: np.ndarray | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One type's entry of ``heads.json`` and its calibration rows.

    Args:
        task: The type.
        corpus: Pictures sorted by label.
        clips: Features of the training clips.
        flow: The flow model.
        alarms: Of the type, on pictures of train and val.
        unseen: What the evidence of each says by models that have not seen it.
    """
    wanted = corpus.pick(task.real + task.false)
    val = np.flatnonzero(wanted & (corpus.split == "val"))
    truth = corpus.pick(task.real)
    region = choose_region(task, alarms)
    terms: Terms = {
        f"attribute:{name}": corpus.visual(name, task.objects, region) for name in task.attributes
    }
    evidence = evidence_model(task, alarms)
    if evidence is not None:
        terms["evidence"] = np.array([evidence.log_odds(numbers) for numbers in corpus.numbers])
    if alarms:
        # Pictures sorted by label are another question than what a trigger fires on.
        real = np.array([alarm.real for alarm in alarms])
        scenes = by_scene(real, [alarm.item.scene for alarm in alarms])
        weighed = weigh(alarm_terms(task, alarms, region, unseen), real, scenes)
    else:
        at_val = {name: value[val] for name, value in terms.items()}
        weighed = weigh(at_val, truth[val], balanced(truth[val]))
    rows: list[dict[str, Any]] = []
    if task.name == "violence":
        of_val = clips["split"] == "val"
        of_clips = clip_terms(clips, flow)
        violent = clips["violent"][of_val]
        at_val = {name: value[of_val] for name, value in of_clips.items()}
        moving = weigh(at_val, violent, balanced(violent))
        weighed |= {name: moving[name] for name in ("motion", "flow") if name in moving}
    for name, setting in weighed.items():
        if name.startswith("attribute:"):
            setting["region"] = region
    entry: dict[str, Any] = {"bias": 0.0, "bound": task.bound, "terms": weighed}
    if evidence is not None and "evidence" in weighed:
        entry["evidence"] = stored(evidence)
    if task.name == "violence":
        odds = total(entry, of_clips)
        rows += [
            _row("violence", "val", g, o, t)
            for g, o, t in zip(clips["group"][of_val], odds[of_val], violent, strict=True)
        ]
    odds = total(entry, terms)
    for index in np.flatnonzero(wanted & (corpus.split != "train")):
        rows.append(_row(task.name, corpus.split[index], corpus.group[index], odds[index], truth[index]))
    return entry, rows


def _row(name: str, split: str, group: str, odds: float, truth: bool) -> dict[str, Any]:
    return {
        "type": name,
        "split": str(split),
        "group": str(group),
        "log_odds": round(float(odds), 4),
        "truth": bool(truth),
    }


def main() -> None:
    """Fit all types."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    corpus, clips = load_corpus(), np.load(data.WORK / "clips.npz")
    flow = fit_flow(clips, clips["split"] == "train")
    mined = mined_candidates.load()
    types, rows, unseen = {}, [], {}
    for task in TASKS:
        alarms = alarms_of(task, mined)
        odds = unseen_evidence(task, alarms)
        if odds is not None:
            unseen[task.name] = {
                alarm.item.name: round(float(value), 4) for alarm, value in zip(alarms, odds, strict=True)
            }
        entry, its_rows = fit_type(task, corpus, clips, flow, alarms, odds)
        if task.name == "intrusion":
            types["loitering"] = entry
            rows += [{**row, "type": "loitering"} for row in its_rows]
        types[task.name] = entry
        rows += its_rows
        for split in ("val", "test"):
            part = [row for row in its_rows if row["split"] == split]
            value = auc(np.array([r["truth"] for r in part]), np.array([r["log_odds"] for r in part]))
            shown = _shown(entry) if split == "val" else ""
            print(f"{task.name:17s} {split:4s} AUC {value:.3f} of {len(part)}  {shown}")
    heads = {
        "format": FORMAT,
        "attributes": list(ATTRIBUTES),
        "made_for": {"vision": VisionEncoder(data.WORK / "cache").features_id},
        "types": types,
        "flow": flow,
    }
    (WEIGHTS_DIR / HEADS_FILE).write_text(json.dumps(heads, indent=1) + "\n")
    (data.WORK / EVIDENCE).write_text(json.dumps(unseen))
    out = data.WORK / "head-rows.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"wrote {WEIGHTS_DIR / HEADS_FILE} and {out}")


def _shown(entry: dict[str, Any]) -> str:
    return ", ".join(f"{name} x{s['coefficient']:.2f}" for name, s in entry["terms"].items())


if __name__ == "__main__":
    main()
