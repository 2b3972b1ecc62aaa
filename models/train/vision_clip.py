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
import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_clip import CLIP_CHANNELS, ClipEncoder
from models.train import data, footage, mined_candidates
from models.train.malloc import keep_memory
from models.train.vision_measure import auc_interval, mean_interval
from models.train.vision_motion_views import Clip, read_clips, shaken
from models.train.vision_scene import Line, fit, folds
from models.train.vision_unseen import CLIPS
from pipeline.clipview import CLIP_FRAMES, CLIP_STEP_S, clip_sheet
from pipeline.types import EventType, Image

VIEWS = data.WORK / "clip-views.npz"
STRENGTH = 1e-2
"""scikit-learn's C; five folds by place rise up to here and by less than a point beyond."""
MADE_UP = 240
SEED = 20261125
_MADE_UP_LABELS = ("normal", "fall_like", "fire_like", "general", "crowd")
Random = np.random.Generator


def windows(clip: Clip) -> list[list[Image]]:
    """Frames of the first and of the last clip view that fit, as the run time would choose them."""
    span = (CLIP_FRAMES - 1) * CLIP_STEP_S
    last = (len(clip.frames) - 1) / clip.fps
    starts = {0.0, max(0.0, last - span)}
    return [
        [
            clip.frames[min(len(clip.frames) - 1, round((start + step * CLIP_STEP_S) * clip.fps))]
            for step in range(CLIP_FRAMES)
        ]
        for start in sorted(starts)
    ]


def sheets_of(clip: Clip) -> list[Image]:
    """Clip views of one training clip: each window whole and cropped to where it moves."""
    return [sheet for frames in windows(clip) for sheet in footage.sheets(frames)]


def made_up(picture: Image, random: Random) -> Image:
    """A harmless clip view from a still: at rest, a shaking camera, or light that changes."""
    kind, frames = random.integers(3), []
    for step in range(CLIP_FRAMES):
        frame = picture
        if kind == 1:
            frame = shaken(frame, 0.01, random)
        elif kind == 2:
            frame = np.clip(frame * (1 + 0.3 * np.sin(step * random.uniform(0.2, 1.0))), 0, 255)
        noisy = frame + random.normal(0, 2, frame.shape)
        frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return data.as_stored(clip_sheet(frames))


def make_views(encoder: ClipEncoder) -> None:
    """Compute and keep features of all views."""
    table: dict[str, list[Any]] = {"x": [], "truth": [], "group": [], "clip": [], "split": []}

    def note(sheets: list[Image], truth: bool, group: str, clip: str, split: str) -> None:
        for features in encoder.encode(sheets):
            for name, value in zip(table, (features, truth, group, clip, split), strict=True):
                table[name].append(value)

    folder = data.shared_data()
    clips = read_clips(folder)
    for number, clip in enumerate(clips, start=1):
        note(sheets_of(clip), clip.violent, clip.group, clip.path, clip.split)
        if number % 25 == 0:
            print(f"clips: {number}/{len(clips)}", file=sys.stderr, flush=True)
    rows = [
        row
        for row in data.read_rows(folder, filed=True)
        if row.split == "train" and row.label.startswith(_MADE_UP_LABELS) and "survfight" not in row.group
    ]
    random = np.random.default_rng(SEED)
    for index in random.permutation(len(rows))[:MADE_UP]:
        row = rows[int(index)]
        note([made_up(data.image(row, folder), random)], False, row.group, "", "train")
    arrays: dict[str, Any] = {name: np.array(value) for name, value in table.items()}
    np.savez(VIEWS, made_by=encoder.features_id, **arrays)


def views_are_of(encoder: ClipEncoder) -> bool:
    """Whether the views that are kept are there and were made by this encoder."""
    if not VIEWS.is_file():
        return False
    stored = np.load(VIEWS)
    return "made_by" in stored and str(stored["made_by"]) == encoder.features_id


@dataclass(frozen=True, slots=True)
class Flagged:
    """Clip views that stage 1 made of the training clips, one or two an alarm.

    Attributes:
        x: (views, 3328) features.
        clip: (views,) name of the clip.
        alarm: (views,) number of the alarm.
        asked: (views,) whether the alarm is of violence.
    """

    x: np.ndarray
    clip: np.ndarray
    alarm: np.ndarray
    asked: np.ndarray


def of_alarms(names: np.ndarray) -> Flagged:
    """Clip views of all alarms of some training clips."""
    found, number, wanted = [], 0, set(names.tolist())
    for mined in mined_candidates.load():
        if mined.item.name not in wanted:
            continue
        for candidate, features in zip(mined.candidates, mined.features, strict=True):
            if features.clip is None:
                continue
            violence = candidate.event_type is EventType.VIOLENCE
            if features.clip.shape[1] != CLIP_CHANNELS:
                raise SystemExit("alarms were mined with another reading: run mined_candidates --clips again")
            for row in features.clip[np.isfinite(features.clip).all(axis=1)]:
                found.append((row, mined.item.name, number, violence))
            number += 1
    x, clip, alarm, asked = zip(*found, strict=True)
    return Flagged(np.stack(x), np.array(clip), np.array(alarm), np.array(asked))


def fit_probe(x: np.ndarray, truth: np.ndarray) -> Line:
    """Weights and bias at equal priors: the mean of a probe on each reading of a clip, fitted apart."""
    half = CLIP_CHANNELS // 2
    as_is, changes = fit(x[:, :half], truth, STRENGTH), fit(x[:, half:], truth, STRENGTH)
    return np.concatenate([as_is[0], changes[0]]) / 2, (as_is[1] + changes[1]) / 2


@dataclass(frozen=True, slots=True)
class Views:
    """Clip views of training clips, of harmless pictures made to move and of harmless footage from elsewhere.

    Attributes:
        x: (n, 3328) features.
        truth: (n,) whether the clip is violent.
        clip: (n,) its name; empty for what was made up or is from elsewhere.
        place: (n,) where it is.
    """

    x: np.ndarray
    truth: np.ndarray
    clip: np.ndarray
    place: np.ndarray

    @classmethod
    def read(cls) -> Views:
        """What :func:`make_views` has kept."""
        stored = np.load(VIEWS)
        place = np.array([data.place_of(str(group)) for group in stored["group"]])
        return cls(stored["x"].astype(np.float64), stored["truth"], stored["clip"], place)

    def beside(self, x: np.ndarray, place: np.ndarray) -> Views:
        """These, and harmless ones from elsewhere: (m, 3328) features and (m,) their places."""
        return Views(
            np.concatenate([self.x, x]),
            np.concatenate([self.truth, np.zeros(len(x), bool)]),
            np.concatenate([self.clip, np.full(len(x), "")]),
            np.concatenate([self.place, place]),
        )

    @property
    def names(self) -> np.ndarray:
        """Names of the clips."""
        return np.unique(self.clip[self.clip != ""])

    def pick(self, rows: np.ndarray) -> Views:
        """Some of them."""
        return Views(self.x[rows], self.truth[rows], self.clip[rows], self.place[rows])

    def unmeasured(self) -> Views:
        """Those that may be learned from: none at a place of a development clip, where clips are measured."""
        return self.pick((self.clip == "") | ~np.isin(self.place, list(data.development_places())))


@dataclass(frozen=True, slots=True)
class Folds:
    """By clip the mean log-odds of its views, by probes that saw none of its place; and those probes."""

    odds: dict[str, float]
    probes: list[dict[str, Any]]


def five_folds(views: Views, flagged: Flagged) -> Folds:
    """Fit five times, by place; print how well that tells clips, and alarms of violence on them."""
    names = views.names
    first_view = np.array([np.flatnonzero(views.clip == name)[0] for name in names])
    truth_of, place_of = views.truth[first_view], views.place[first_view]
    flagged_truth = truth_of[np.searchsorted(names, flagged.clip)]
    odds: dict[str, float] = {}
    probes: list[dict[str, Any]] = []
    flagged_odds = np.zeros(len(flagged.x))
    for seen, rest in folds(place_of):
        learn = views.pick((views.clip == "") | np.isin(views.clip, names[seen]))
        also = np.isin(flagged.clip, names[seen])
        weights, bias = fit_probe(
            np.concatenate([learn.x, flagged.x[also]]), np.concatenate([learn.truth, flagged_truth[also]])
        )
        probes.append({"clips": names[rest].tolist(), "weights": weights.tolist(), "bias": bias})
        flagged_odds[~also] = flagged.x[~also] @ weights + bias
        for name in names[rest]:
            odds[str(name)] = float((views.x[views.clip == name] @ weights + bias).mean())
    values = np.array([odds[name] for name in names])
    right = (values > 0) == truth_of
    low, high = mean_interval(right, list(place_of))
    print(
        f"five folds by place, {len(names)} clips, {len(set(place_of))} places: accuracy {right.mean():.3f} "
        f"({low:.3f} to {high:.3f}), AUC {auc_interval(truth_of, values, list(place_of))}"
    )
    alarms = np.unique(flagged.alarm[flagged.asked])
    told = np.array([flagged_odds[flagged.alarm == number].mean() for number in alarms])
    first = np.array([np.flatnonzero(flagged.alarm == number)[0] for number in alarms])
    real = flagged_truth[first]
    print(
        f"by the views of each of {len(told)} alarms of violence: "
        f"accuracy {((told > 0) == real).mean():.3f}, "
        f"AUC {auc_interval(real, told, list(place_of[np.searchsorted(names, flagged.clip[first])]))}"
    )
    return Folds(odds, probes)


def never_seen(views: Views, flagged: Flagged, x: np.ndarray, place: np.ndarray) -> None:
    """Print how much of the footage from elsewhere looks like a fight, with and without the rest of it.

    Each package's films are judged by a probe that saw none of them.
    """
    truth_of = {name: views.truth[views.clip == name][0] for name in views.names}
    taught = np.concatenate([views.x, flagged.x])
    truth = np.concatenate([views.truth, [truth_of[name] for name in flagged.clip]])
    alone = x @ (line := fit_probe(taught, truth))[0] + line[1]
    beside = np.zeros(len(x))
    for one in np.unique(place):
        rest = x[place != one]
        weights, bias = fit_probe(
            np.concatenate([taught, rest]), np.concatenate([truth, np.zeros(len(rest))])
        )
        beside[place == one] = x[place == one] @ weights + bias
    print(
        f"{len(x)} views of footage from elsewhere, {len(set(place))} packages: likelier a fight than not "
        f"{(alone > 0).mean():.2f} by the clips alone, {(beside > 0).mean():.2f} beside the other packages"
    )


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
    never_seen(views, flagged, *elsewhere)
    views = views.beside(*elsewhere)
    found = five_folds(views, flagged)
    names = views.names
    truth_of = np.array([views.truth[views.clip == name][0] for name in names])
    flagged_truth = truth_of[np.searchsorted(names, flagged.clip)]
    weights, bias = fit_probe(
        np.concatenate([views.x, flagged.x]), np.concatenate([views.truth, flagged_truth])
    )
    (data.WORK / CLIPS).write_text(json.dumps({"odds": found.odds, "probes": found.probes}))
    path = WEIGHTS_DIR / HEADS_FILE
    heads = json.loads(path.read_text())
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
