"""Fits the weights of the violence trigger: ``python -m models.detect.fit_violence TRAIN.jsonl``.

Runs stage 1's own sampling over labelled clips (``label`` is ``violence`` or not), fits a standardised
logistic regression on all windows, prints its cross-validation by group, and writes
``pipeline/detect/triggers/violence_weights.py``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import settings as settings_module
from pipeline.detect.registry import make_detector, make_pose_estimator
from pipeline.detect.scenes import SceneReader
from pipeline.detect.triggers import violence
from pipeline.detect.triggers.violence_weights import FEATURES
from pipeline.ingest import open_source
from pipeline.types import Array

_STRENGTH = 0.1
_FOLDS = 10
_HEADER = '''"""Weights of the violence trigger: standardised logistic regression (C = 0.1, balanced classes).

{said}
Made by ``python -m models.detect.fit_violence``: do not edit.
"""

'''


def windows(rows: list[dict[str, Any]], folder: Path) -> tuple[Array, Array, list[str], Array]:
    """Statistics of every window of every clip, with label, group and clip number."""
    settings = settings_module.load()
    detector = make_detector("ssd", settings.data_dir, threads=settings.detect_threads)
    pose = make_pose_estimator("movenet", settings.data_dir, threads=settings.detect_threads)
    params = violence.ViolenceParams()
    values, labels, groups, clips = [], [], [], []
    for number, row in enumerate(rows):
        reader, sampler = SceneReader(detector, pose), violence.WindowSampler()
        seen: list[violence.Sample] = []
        for frame in open_source(folder / row["clip"], fps=settings.detect_fps).frames():
            seen.append(sampler.sample(reader.read(frame)))
            window = [sample for sample in seen if frame.t_s - sample.t_s <= params.window_s]
            if len(window) >= params.frames:
                values.append(violence.features(window))
                labels.append(float(row["label"] == "violence"))
                groups.append(row["group"])
                clips.append(float(number))
    return np.array(values, np.float32), np.array(labels, np.float32), groups, np.array(clips, np.float32)


def main() -> None:
    """Fit, report, write."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parser = argparse.ArgumentParser(description="Fit the violence trigger.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, default=Path(violence.__file__).with_name("violence_weights.py"))
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.dataset.read_text(encoding="utf-8").splitlines()]
    values, labels, groups, clips = windows(rows, options.dataset.parent)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=2000, class_weight="balanced")
    )
    folds = GroupKFold(_FOLDS)
    scores = cross_val_predict(model, values, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    best = np.array([scores[clips == clip].max() for clip in np.unique(clips)])
    truth = np.array([labels[clips == clip][0] for clip in np.unique(clips)])
    threshold = violence.ViolenceParams().score
    caught, others = (float((best[truth == value] >= threshold).mean()) for value in (1.0, 0.0))
    said = (
        f"Fitted on {len(truth)} clips, {int(truth.sum())} with violence; {_FOLDS}-fold by group: clip AUC "
        f"{roc_auc_score(truth, best):.2f},\nat threshold {threshold} {caught:.0%} of the fights and "
        f"{others:.0%} of the other clips fire."
    )
    print(said)
    model.fit(values, labels)
    scaler, regression = model[0], model[1]
    lines = [f"FEATURES = {FEATURES!r}\n".replace("'", '"')]
    for name, numbers in (("MEAN", scaler.mean_), ("SCALE", scaler.scale_), ("WEIGHT", regression.coef_[0])):
        lines.append(f"{name} = ({', '.join(f'{number:.4f}' for number in numbers)})\n")
    lines.append(f"INTERCEPT = {regression.intercept_[0]:.4f}\n")
    options.out.write_text(_HEADER.format(said=said) + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
