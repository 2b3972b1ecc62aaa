"""Teach the violence head to read clip views: a probe on features of a network that knows actions.

``python -m models.train.vision_clip`` makes clip views of the training clips as the run time makes them
(whole frame and where it moves, begin and end of the clip) and of harmless pictures that are shaken, lit or
at rest, adds those that stage 1 made of the clips (``mined_candidates --clips``) and harmless footage from
elsewhere (``footage``), fits a logistic regression, writes it to ``heads.json`` as the ``clip`` term, and
prints five folds by place over all 250 clips. Nothing is learned at places that development clips show.
Log-odds of clips by probes that saw none of their place go to ``.train/clip-odds.json`` with the probes, for
calibration. Features stay in ``.train/clip-views.npz``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_clip import CLIP_CHANNELS, ClipEncoder
from models.train import data, footage
from models.train.malloc import keep_memory
from models.train.vision_clip_views import Flagged, Views, make_views, of_alarms, views_are_of
from models.train.vision_measure import auc, auc_interval, mean_interval
from models.train.vision_scene import Line, fit, folds
from models.train.vision_unseen import CLIPS

STRENGTH = 1e-2
"""scikit-learn's C; five folds by place rise up to here and by less than a point beyond."""


def fit_probe(x: np.ndarray, truth: np.ndarray) -> Line:
    """Weights and bias at equal priors: the mean of a probe on each reading of a clip, fitted apart."""
    half = CLIP_CHANNELS // 2
    as_is, changes = fit(x[:, :half], truth, STRENGTH), fit(x[:, half:], truth, STRENGTH)
    return np.concatenate([as_is[0], changes[0]]) / 2, (as_is[1] + changes[1]) / 2


@dataclass(frozen=True, slots=True)
class Folds:
    """By clip the mean log-odds of its views, by probes that saw none of its place; and those probes."""

    odds: dict[str, float]
    probes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Clips:
    """The training clips by name: (n,) each, and for every view of an alarm whether its clip is violent."""

    names: np.ndarray
    truth: np.ndarray
    place: np.ndarray
    flagged_truth: np.ndarray

    @classmethod
    def of(cls, views: Views, flagged: Flagged) -> Clips:
        """Those that views are of."""
        names = views.names
        first = np.array([np.flatnonzero(views.clip == name)[0] for name in names])
        truth = views.truth[first]
        return cls(names, truth, views.place[first], truth[np.searchsorted(names, flagged.clip)])


def taught_by(views: Views, flagged: Flagged, clips: Clips, seen: np.ndarray) -> Line:
    """A probe that has seen some of the clips, their alarms, and all that is of no clip."""
    learn = views.pick((views.clip == "") | np.isin(views.clip, clips.names[seen]))
    also = np.isin(flagged.clip, clips.names[seen])
    return fit_probe(
        np.concatenate([learn.x, flagged.x[also]]), np.concatenate([learn.truth, clips.flagged_truth[also]])
    )


def of_violence(flagged: Flagged, clips: Clips, odds: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Of each alarm of violence whether it is real, the mean log-odds of its views, and its place."""
    numbers = np.unique(flagged.alarm[flagged.asked])
    first = np.array([np.flatnonzero(flagged.alarm == number)[0] for number in numbers])
    told = np.array([odds[flagged.alarm == number].mean() for number in numbers])
    place = clips.place[np.searchsorted(clips.names, flagged.clip[first])]
    return clips.flagged_truth[first], told, [str(one) for one in place]


def five_folds(views: Views, flagged: Flagged) -> Folds:
    """Fit five times, by place; print how well that tells clips, and alarms of violence on them."""
    clips = Clips.of(views, flagged)
    odds: dict[str, float] = {}
    probes: list[dict[str, Any]] = []
    flagged_odds = np.zeros(len(flagged.x))
    for seen, rest in folds(clips.place):
        weights, bias = taught_by(views, flagged, clips, seen)
        names = clips.names[rest]
        probes.append({"clips": names.tolist(), "weights": weights.tolist(), "bias": bias})
        away = np.isin(flagged.clip, names)
        flagged_odds[away] = flagged.x[away] @ weights + bias
        for name in names:
            odds[str(name)] = float((views.x[views.clip == name] @ weights + bias).mean())
    values = np.array([odds[name] for name in clips.names])
    right = (values > 0) == clips.truth
    low, high = mean_interval(right, list(clips.place))
    print(
        f"five folds by place, {len(right)} clips, {len(set(clips.place))} places: "
        f"accuracy {right.mean():.3f} ({low:.3f} to {high:.3f}), "
        f"AUC {auc_interval(clips.truth, values, list(clips.place))}"
    )
    real, told, place = of_violence(flagged, clips, flagged_odds)
    print(
        f"by the views of each of {len(told)} alarms of violence: "
        f"accuracy {((told > 0) == real).mean():.3f}, AUC {auc_interval(real, told, place)}"
    )
    return Folds(odds, probes)


def unseen_films(
    views: Views, flagged: Flagged, x: np.ndarray, place: np.ndarray, *, beside: bool
) -> dict[str, float]:
    """How footage from elsewhere is told from fights by probes that saw neither, five folds of both at once.

    Args:
        views: Of the clips.
        flagged: Alarms on them.
        x: (m, 3328) features of the footage.
        place: (m,) package of each.
        beside: Whether the probes are taught by the rest of the footage, or by the clips alone.

    Returns:
        ``auc`` of real alarms of violence against false ones and films; ``above``, the share of films
        above the point that keeps 0.95 of the real alarms; ``likelier``, of those likelier a fight than not.
    """
    clips = Clips.of(views, flagged)
    of_flagged, of_films = np.zeros(len(flagged.x)), np.zeros(len(x))
    for (seen, rest), (others, these) in zip(folds(clips.place), folds(place), strict=True):
        learn = views.beside(x[others], place[others]) if beside else views
        weights, bias = taught_by(learn, flagged, clips, seen)
        away = np.isin(flagged.clip, clips.names[rest])
        of_flagged[away] = flagged.x[away] @ weights + bias
        of_films[these] = x[these] @ weights + bias
    real, told, _ = of_violence(flagged, clips, of_flagged)
    return {
        "auc": auc(np.concatenate([real, np.zeros(len(x), bool)]), np.concatenate([told, of_films])),
        "above": float((of_films > np.quantile(told[real], 0.05)).mean()),
        "likelier": float((of_films > 0).mean()),
    }


def main() -> None:
    """Make what is missing, fit, measure, write."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    encoder = ClipEncoder(data.WORK / "cache", arguments.threads)
    if not views_are_of(encoder):
        make_views(encoder)
    every = Views.read()
    five_folds(every, of_alarms(every.names))
    print("without the places of development clips, as it ships:")
    views = every.unmeasured()
    flagged = of_alarms(views.names)
    elsewhere = footage.read(encoder)
    for beside in (False, True):
        shown = {
            name: round(value, 3)
            for name, value in unseen_films(views, flagged, *elsewhere, beside=beside).items()
        }
        print(f"footage from elsewhere, {'beside its rest' if beside else 'by the clips alone'}: {shown}")
    views = views.beside(*elsewhere)
    found = five_folds(views, flagged)
    clips = Clips.of(views, flagged)
    weights, bias = taught_by(views, flagged, clips, np.arange(len(clips.names)))
    (data.WORK / CLIPS).write_text(json.dumps({"odds": found.odds, "probes": found.probes}))
    path = WEIGHTS_DIR / HEADS_FILE
    heads = json.loads(path.read_text())
    heads["made_for"]["clip"] = encoder.features_id
    violence = heads["types"]["violence"]
    violence["clip"] = {"weights": [round(float(v), 5) for v in weights], "bias": round(bias, 5)}
    violence["terms"]["clip"] = {"coefficient": 1.0, "centre": 0.0}
    for name in ("motion", "flow", "attribute:fight"):
        if name in violence["terms"]:
            violence["terms"][name]["clipless_only"] = True
    path.write_text(json.dumps(heads, indent=1) + "\n")
    print(f"wrote the clip term of violence to {path}")


if __name__ == "__main__":
    main()
