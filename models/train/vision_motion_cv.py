"""Five-fold cross-validation of the motion stream over the surveillance-fight clips.

``python -m models.train.vision_motion_cv``: in every fold the motion network is fine-tuned from ImageNet on
the other four fifths (and made-up benign motion), so that no weight has seen a test clip. Four moments of
each test clip are judged as the run time sees them: a full and a cropped motion view, and optical flow.
Writes ``.train/motion-cv.npz``; folds already done are kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.embedded.vision import ATTRIBUTES, prepare
from models.train import data
from models.train.data import CONFIGS
from models.train.features import trunk_runner
from models.train.malloc import keep_memory
from models.train.vision_finetune import Upper, train
from models.train.vision_motion_views import MOMENTS, moments, moving_box, read_clips
from pipeline.detect.keyframes import MOTION_STEP_S, motion_view

FOLDS = 5


def clean_maps(cut: int) -> np.ndarray:
    """Lower-block maps of the clean views, (clips, moments, 2, ...): full motion view, cropped one."""
    file = data.WORK / f"motion-clean-{cut}.npy"
    if file.is_file():
        return np.load(file, mmap_mode="r")
    run, out = trunk_runner(cut), []
    for clip in read_clips(data.shared_data()):
        gap, views = max(1, round(MOTION_STEP_S * clip.fps)), []
        for at in moments(clip):
            three = (clip.frames[at - gap], clip.frames[at], clip.frames[at + gap])
            view = motion_view(*three)
            box = moving_box(three, view.shape[1] / view.shape[0])
            views += [prepare(view), prepare(data.crop(view, box) if box else view)]
        maps = run(np.stack(views))
        out.append(maps.reshape(MOMENTS, 2, *maps.shape[1:]))
    np.save(file, np.stack(out))
    return np.stack(out)


def predict(model: Upper, maps: np.ndarray) -> np.ndarray:
    """Fight logits of (..., side, side, c) maps."""
    flat = maps.reshape(-1, *maps.shape[-3:])
    fight = ATTRIBUTES.index("fight")
    with torch.no_grad():
        parts = [
            model(torch.from_numpy(flat[i : i + 32].astype(np.float32)))[:, fight].numpy()
            for i in range(0, len(flat), 32)
        ]
    return np.concatenate(parts).reshape(maps.shape[:-3])


def probe(x: np.ndarray, y: np.ndarray, train_rows: Any, test_rows: Any, c: float) -> np.ndarray:
    """Log-odds of a logistic regression, on the scale of its own training rows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))
    model.fit(x[train_rows], y[train_rows])
    return model.decision_function(x[test_rows])


def main() -> None:
    """Run the folds."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIGS / "vision_motion.yaml")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)), help="only these")
    parser.add_argument("--out", type=Path, default=data.WORK / "motion-cv.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    config = yaml.safe_load(arguments.config.read_text())
    stored = np.load(data.WORK / "clips.npz")
    truth = stored["violent"].astype(int)
    flow = np.log1p(
        np.concatenate([stored["flow"].mean(1), stored["flow"].max(1), stored["flow_crop"].mean(1)], 1)
    )
    maps = np.load(data.WORK / "trunk-motion" / "maps.npy", mmap_mode="r")
    labels = np.load(data.WORK / "trunk-motion" / "labels.npz")
    clean = clean_maps(config["cut"])
    network, of_flow, fold_of = (np.full(len(truth), np.nan) for _ in range(3))
    logits = np.full((len(truth), MOMENTS, 2), np.nan)
    if arguments.out.is_file():
        before = np.load(arguments.out)
        network, of_flow, fold_of, logits = (before[k] for k in ("network", "flow", "fold", "logits"))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=config["seed"] % 1000).split(truth, truth)
    for fold, (train_clips, test_clips) in enumerate(folds):
        if fold not in arguments.folds or not np.isnan(network[test_clips]).any():
            continue
        usable = np.flatnonzero(np.isin(labels["clip"], train_clips) | (labels["clip"] < 0))
        random = np.random.default_rng([config["seed"], fold])
        # Fewer steps than the shipped weights get: the figure is a lower bound of what they can do.
        order = random.permutation(usable)[: round(config["cv_share"] * len(usable))]
        model = train(maps, labels["target"], labels["mask"], config, order).eval()
        logits[test_clips] = predict(model, clean[test_clips])
        network[test_clips] = logits[test_clips].mean((1, 2))
        of_flow[test_clips] = probe(flow, truth, train_clips, test_clips, 0.03)
        fold_of[test_clips] = fold
        right = ((network + of_flow)[test_clips] > 0) == truth[test_clips]
        alone = (network[test_clips] > 0) == truth[test_clips]
        print(
            f"fold {fold}: network {alone.mean():.3f}, with flow {right.mean():.3f}",
            file=sys.stderr,
            flush=True,
        )
        np.savez(arguments.out, network=network, flow=of_flow, fold=fold_of, truth=truth, logits=logits)


if __name__ == "__main__":
    main()
