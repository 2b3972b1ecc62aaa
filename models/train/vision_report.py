"""Measure the eyes on the test split and write ``reports/vision.json`` and ``reports/vision.md``.

``python -m models.train.vision_report`` after ``vision_heads`` and ``vision_calibrate``. The floor (logistic
regression on frozen ImageNet features of the whole picture) is fitted anew in the same run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.embedded.heads_evidence import read_additive
from models.embedded.heads_terms import either
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_scene import OBJECT_CHANNELS
from models.train import data, scene_features
from models.train.data import QUESTIONS, Question
from models.train.vision_calibrate import LEARN
from models.train.vision_candidates import TASKS, Corpus, load_corpus
from models.train.vision_evidence_model import fit_additive
from models.train.vision_heads import total
from models.train.vision_measure import auc, auc_interval, balanced
from models.train.vision_scene import CONTRAST_STRENGTH, fit

REPORTS = Path(__file__).parent / "reports"
TARGETS = {"fire_smoke": 0.98, "fall": 0.95, "accident": 0.92, "violence": 0.94}
FLOOR = "floor: frozen features, logistic regression"
EVIDENCE = "evidence alone"
HEAD = "head: fine-tuned, regions, evidence, second opinion"
SCENE_FRAMES = 4
Figures = dict[str, Any]


def probe(x: np.ndarray, truth: np.ndarray, rows: np.ndarray, c: float) -> Any:
    """Logistic regression on frozen features at equal priors."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300))
    model.fit(
        x[rows].astype(np.float32), truth[rows], logisticregression__sample_weight=balanced(truth[rows])
    )
    return model


def floor_scores(stock: Corpus, question: Question) -> np.ndarray:
    """The floor's log-odds for every row; its only setting is chosen on val."""
    truth, wanted = stock.pick(question.real), stock.pick(question.real + question.false)
    x = stock.pooled[:, 0]
    train, val = wanted & (stock.split == "train"), wanted & (stock.split == "val")
    best = max(
        ((probe(x, truth, train, c), c) for c in (1e-4, 1e-3, 1e-2)),
        key=lambda pair: auc(truth[val], pair[0].decision_function(x[val].astype(np.float32))),
    )[0]
    return np.asarray(best.decision_function(x.astype(np.float32)))


def _task(question: Question) -> Any:
    return next(task for task in TASKS if task.name == question.event_types[0])


def head_scores(ours: Corpus, question: Question, heads: Figures, *, use: str = "all") -> np.ndarray:
    """The committed head's log-odds for every row; the larger one where a question covers two types."""
    scores: list[np.ndarray] = []
    scene = scene_features.of_rows(ours.rows) if use == "all" else np.zeros(0)
    for name in question.event_types:
        entry, task = heads["types"][name], next(task for task in TASKS if task.name == name)
        terms = {}
        for term, setting in entry["terms"].items():
            if term.startswith("attribute:") and use != "evidence":
                share = 0.0 if use == "full" else setting["region"]
                terms[term] = ours.visual(term.removeprefix("attribute:"), task.objects, share)
            if term == "scene" and use == "all":
                terms[term] = _on_line(scene, entry)
        evidence = read_additive(entry.get("evidence")) if use in ("all", "evidence") else None
        if evidence is not None:
            terms["evidence"] = np.array([evidence.log_odds(numbers) for numbers in ours.numbers])
        if not terms:
            return np.zeros(len(ours.rows))
        odds = total({**entry, "bound": 99.0}, terms)
        if use == "all" and "needs" in entry:
            road = _on_line(scene, entry["needs"])
            odds = np.array([-either(-a, -b) for a, b in zip(odds, road, strict=True)])
        scores.append(odds)
    return np.max(scores, axis=0)


def _on_line(scene: np.ndarray, entry: Figures) -> np.ndarray:
    line = entry["scene"]
    return np.asarray(scene @ np.array(line["weights"]) + line["bias"])


def same_split(stock: Corpus, ours: Corpus, heads: Figures) -> Figures:
    """AUC on test by group for each way of judging."""
    out: Figures = {}
    for question in QUESTIONS:
        truth = ours.pick(question.real)
        test = ours.pick(question.real + question.false) & (ours.split == "test")
        ways = {
            FLOOR: floor_scores(stock, question),
            EVIDENCE: head_scores(ours, question, heads, use="evidence"),
            "fine-tuned, full view": head_scores(ours, question, heads, use="full"),
            "fine-tuned, full and region": head_scores(ours, question, heads, use="visual"),
            HEAD: head_scores(ours, question, heads),
        }
        if not any("evidence" in heads["types"][name] for name in question.event_types):
            del ways[EVIDENCE]
        out[question.name] = {
            name: auc_interval(truth[test], score[test], ours.group[test]) for name, score in ways.items()
        }
        for name in (FLOOR, HEAD):
            out[question.name][f"{name}, whole scenes"] = by_scene(ours, test, truth, ways[name])
        new = test & ~np.isin(ours.group, list(data.taught_places()))
        out[question.name][f"{HEAD}, new places"] = auc_interval(truth[new], ways[HEAD][new], ours.group[new])
    return out


def by_scene(corpus: Corpus, rows: np.ndarray, truth: np.ndarray, score: np.ndarray) -> Figures:
    """AUC over scenes: up to four frames of one group and kind, pooled as a candidate's moments are."""
    scenes: dict[tuple[str, bool], list[float]] = {}
    for index in np.flatnonzero(rows):
        scenes.setdefault((corpus.group[index], bool(truth[index])), []).append(float(score[index]))
    pooled, kinds, groups = [], [], []
    for (group, kind), values in scenes.items():
        picked = [values[int(i)] for i in np.unique(np.linspace(0, len(values) - 1, SCENE_FRAMES).round())]
        pooled.append(np.mean(sorted(picked, reverse=True)[:2]))
        kinds.append(kind)
        groups.append(group)
    return auc_interval(np.array(kinds), np.array(pooled), groups)


def cross_source(stock: Corpus) -> Figures:
    """Leave one source of incidents out, on frozen features, on contrast features and on evidence."""
    out: Figures = {}
    contrast = scene_features.of_rows(stock.rows)[:, OBJECT_CHANNELS:]
    for question in QUESTIONS:
        truth, wanted = stock.pick(question.real), stock.pick(question.real + question.false)
        names = _task(question).evidence
        rows_out: Figures = {}
        for source in sorted(set(stock.source[truth & wanted])):
            held = wanted & (stock.source == source)
            train = wanted & (stock.split == "train") & ~held
            test = held.copy()
            if truth[held].all():
                test |= wanted & ~truth & (stock.split == "test")
            if truth[train].sum() < 10 or truth[test].sum() < 5:
                continue
            seen = stock.pooled[:, 0].astype(np.float32)
            frozen = probe(stock.pooled[:, 0], truth, train, 1e-3).decision_function(seen)
            weights, bias = fit(contrast[train], truth[train], CONTRAST_STRENGTH)
            told = contrast @ weights + bias
            entry = {
                "frozen": auc_interval(truth[test], frozen[test], stock.group[test], samples=300),
                "contrast": auc_interval(truth[test], told[test], stock.group[test], samples=300),
            }
            if names:
                index = np.flatnonzero(train)
                model = fit_additive(
                    [stock.numbers[i] for i in index],
                    truth[train],
                    names,
                    balanced(truth[train]),
                    strength=0.02,
                )
                evidence = np.array([model.log_odds(numbers) for numbers in stock.numbers])
                both = frozen / frozen[train].std() + evidence / max(evidence[train].std(), 1e-6)
                entry["evidence"] = auc_interval(truth[test], evidence[test], stock.group[test], samples=300)
                entry["frozen and evidence"] = auc_interval(
                    truth[test], both[test], stock.group[test], samples=300
                )
            rows_out[source] = entry
        out[question.name] = rows_out
    return out


def clip_figures() -> Figures:
    """Five-fold accuracy and AUC over the surveillance-fight clips, interval by bootstrap over clips."""
    parts = [np.load(file) for file in sorted(data.WORK.glob("motion-cv*.npz"))]
    if not parts:
        return {}
    stored = {name: np.array(parts[0][name]) for name in ("network", "flow", "fold", "truth")}
    for part in parts[1:]:
        for name in ("network", "flow", "fold"):
            stored[name] = np.where(np.isnan(stored[name]), part[name], stored[name])
    judged = ~np.isnan(stored["network"])
    stored = {name: value[judged] for name, value in stored.items()}
    truth = stored["truth"].astype(bool)
    # Added as they are, which is what the shipped head does too (weights 0.98 and 1.02, from val).
    ways = {
        "motion network": stored["network"],
        "optical flow": stored["flow"],
        "both": stored["network"] + stored["flow"],
    }
    out: Figures = {}
    random = np.random.default_rng(0)
    for name, score in ways.items():
        right = (score > 0) == truth
        draws = [right[random.integers(0, len(right), len(right))].mean() for _ in range(2000)]
        low, high = np.quantile(draws, [0.025, 0.975])
        out[name] = {
            "accuracy": {
                "value": round(float(right.mean()), 4),
                "low": round(float(low), 4),
                "high": round(float(high), 4),
                "n": len(right),
            },
            "by_fold": [
                round(float(right[stored["fold"] == fold].mean()), 3) for fold in sorted(set(stored["fold"]))
            ],
            "auc": auc_interval(truth, score, [str(i) for i in range(len(truth))]),
        }
    return out


def markdown(report: Figures) -> str:
    """The report for people."""
    lines = [
        "# The eyes, measured",
        "",
        f"Weights `{report['weights']}`. Written by `python -m models.train.vision_report`.",
        "",
    ]
    lines += ["## Test split, given the right trigger (AUC, 95 % interval by group)", ""]
    for question, ways in report["test"].items():
        target = TARGETS.get(question)
        lines += [
            f"### {question}" + (f" (target {target})" if target else ""),
            "",
            "| judged by | AUC | real / false | groups |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {_auc(f)} | {f['n_real']} / {f['n_false']} | {f['groups']} |"
            for name, f in ways.items()
        ]
        lines.append("")
    lines += [
        "## Surveillance-fight clips, five folds by clip",
        "",
        "| judged by | accuracy | AUC | folds |",
        "|---|---|---|---|",
    ]
    for name, f in report["clips"].items():
        lines.append(f"| {name} | {_auc(f['accuracy'])} | {_auc(f['auc'])} | {f['by_fold']} |")
    lines += [
        "",
        "## Across sources (source of incidents held out; frozen features, nothing of the source seen)",
        "",
        "Contrast: a line over contrast features, as second opinions are. Both: frozen and evidence.",
        "",
        "| question | source | frozen | contrast | evidence | both |",
        "|---|---|---|---|---|---|",
    ]
    for question, sources in report["cross_source"].items():
        for source, f in sources.items():
            ways = ("frozen", "contrast", "evidence", "frozen and evidence")
            cells = [_auc(f[k]) if k in f else "-" for k in ways]
            lines.append(f"| {question} | {source} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Calibration (Platt on alarms of train and val, equal priors)",
        "",
        "| type | n | ECE there | ECE test | escalate at | dismiss below | kept on test | cut on test |",
        "|---|---|---|---|---|---|---|---|",
    ]
    columns = ("n", f"ece_{LEARN}", "ece_test", "escalate_at", "dismiss_below", "retention_test", "cut_test")
    for name, f in report["calibration"].items():
        lines.append(f"| {name} | " + " | ".join(str(f.get(column, "-")) for column in columns) + " |")
    return "\n".join(lines) + "\n"


def _auc(figure: Figures) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def main() -> None:
    """Write the report."""
    stock, ours = load_corpus("corpus-stock.npz"), load_corpus()
    heads = json.loads((WEIGHTS_DIR / "heads.json").read_text())
    calibration = json.loads((WEIGHTS_DIR / "calibration.json").read_text())
    report = {
        "weights": heads["made_for"]["vision"],
        "test": same_split(stock, ours, heads),
        # The five folds take long: without them the figures of the last report stay.
        "clips": clip_figures() or json.loads((REPORTS / "vision.json").read_text())["clips"],
        "cross_source": cross_source(stock),
        "calibration": calibration["types"],
    }
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "vision.json").write_text(json.dumps(report, indent=1) + "\n")
    (REPORTS / "vision.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
