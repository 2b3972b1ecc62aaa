"""Clip views of the training clips and what else the clip probe of fights learns from (``vision_clip``)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.embedded.vision_clip import CLIP_CHANNELS, ClipEncoder
from models.train import data, footage, mined_candidates
from models.train.vision_motion_views import Clip, read_clips, shaken
from pipeline.clipview import CLIP_FRAMES, CLIP_STEP_S, clip_sheet
from pipeline.types import EventType, Image

VIEWS = data.WORK / "clip-views.npz"
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
