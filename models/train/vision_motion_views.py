"""Motion views of the training clips, and made-up benign motion: shake, light changes, things gliding by.

``python -m models.train.vision_motion_views`` fills ``.train/trunk-motion`` (frozen lower blocks) and
``.train/clips.npz`` (per clip and moment: stock features of the full and the motion view, flow statistics).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionEncoder
from models.train import data, evidence_features
from models.train.data import CONFIGS
from models.train.features import fill
from models.train.malloc import keep_memory
from pipeline.detect.keyframes import MOTION_STEP_S, motion_view
from pipeline.types import Box, Image, View

Random = np.random.Generator
MOMENTS = 4


@dataclass(frozen=True, slots=True)
class Clip:
    """A labelled training clip, decoded: ``frames`` BGR at ``fps``."""

    path: str
    violent: bool
    split: str
    group: str
    frames: tuple[Image, ...]
    fps: float


def read_clips(folder: Path) -> list[Clip]:
    """All training clips."""
    clips = []
    for line in (folder / "train_clips" / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        capture = cv2.VideoCapture(str(folder / "train_clips" / row["clip"]))
        fps, frames = capture.get(cv2.CAP_PROP_FPS) or 12.0, []
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            frames.append(np.asarray(frame, np.uint8))
        capture.release()
        clips.append(
            Clip(row["clip"], row["label"] == "violence", row["split"], row["group"], tuple(frames), fps)
        )
    return clips


def moments(clip: Clip, count: int = MOMENTS) -> list[int]:
    """Frame numbers spread evenly over the clip, with room for the neighbours."""
    gap = max(1, round(MOTION_STEP_S * clip.fps))
    return [round(float(v)) for v in np.linspace(gap, len(clip.frames) - 1 - gap, count)]


def moving_box(frames: tuple[Image, Image, Image], aspect: float) -> Box | None:
    """Box around the strongest motion, as a trigger without person boxes draws it."""
    grey = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (80, 60), interpolation=cv2.INTER_AREA)
        for frame in frames
    ]
    energy = cv2.GaussianBlur(
        cv2.absdiff(grey[0], grey[1]).astype(np.float32) + cv2.absdiff(grey[1], grey[2]), (0, 0), 3
    )
    if energy.max() < 4:
        return None
    rows, columns = np.nonzero(energy > 0.4 * energy.max())
    box = (columns.min() / 80, rows.min() / 60, (columns.max() + 1) / 80, (rows.max() + 1) / 60)
    return data.expand(tuple(float(v) for v in box), 1.3, aspect)  # type: ignore[arg-type]


def spoil(view: Image, random: Random) -> Image:
    """Augment a motion view without destroying what time did: the channels stay aligned."""
    height, width = view.shape[:2]
    if random.random() < 0.5:
        view = view[:, ::-1]
    if random.random() < 0.3:
        view = view[:, :, ::-1]
    share = random.uniform(0.6, 1.0)
    w, h = int(width * np.sqrt(share)), int(height * np.sqrt(share))
    x, y = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    view = np.ascontiguousarray(view[y : y + h, x : x + w])
    side = int(random.integers(90, 240)) if random.random() < 0.3 else 260
    view = cv2.resize(cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA), (260, 260))
    out = view.astype(np.float32) * random.uniform(0.6, 1.3) + random.uniform(-25, 25)
    if random.random() < 0.3:
        out += random.normal(0, random.uniform(2, 10), out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)


def shaken(picture: Image, spread: float, random: Random) -> Image:
    """A picture as a shaking camera shows it: moved by a share of its width with this deviation."""
    height, width = picture.shape[:2]
    shift = random.normal(0, spread, 2) * width
    moved = cv2.warpAffine(
        picture,
        np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32),
        (width, height),
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, np.uint8)


def made_up(picture: Image, boxes: list[Box], random: Random) -> Image:
    """Benign motion from a still: nothing, camera shake, a light going on, or boxes gliding by."""
    height, width = picture.shape[:2]
    kind = random.integers(4)
    velocity = random.uniform(-0.03, 0.03, 2) * width
    frames = []
    for step in (-1, 0, 1):
        frame = picture
        if kind == 1:
            frame = shaken(frame, 0.012, random)
        elif kind == 2:
            frame = np.clip(frame * (1 + step * random.uniform(-0.3, 0.3)), 0, 255).astype(np.uint8)
        elif kind == 3 and boxes:
            frame = frame.copy()
            for box in boxes[:3]:
                patch = data.crop(picture, box)
                dx, dy = (velocity * step).astype(int)
                x1, y1 = int(box[0] * width) + dx, int(box[1] * height) + dy // 3
                x1, y1 = min(max(x1, 0), width - patch.shape[1]), min(max(y1, 0), height - patch.shape[0])
                if x1 >= 0 and y1 >= 0:
                    frame[y1 : y1 + patch.shape[0], x1 : x1 + patch.shape[1]] = patch
        frames.append(frame)
    noisy = [np.clip(f + random.normal(0, 2, f.shape), 0, 255).astype(np.uint8) for f in frames]
    return motion_view(*noisy)


def clip_view(clip: Clip, random: Random) -> Image:
    """A motion view at a random moment, full frame or around the motion."""
    gap = max(1, round(MOTION_STEP_S * clip.fps * random.uniform(0.75, 1.25)))
    at = int(random.integers(gap, len(clip.frames) - gap))
    three = (clip.frames[at - gap], clip.frames[at], clip.frames[at + gap])
    view = motion_view(*three)
    if random.random() < 0.5 and (box := moving_box(three, view.shape[1] / view.shape[0])):
        view = data.crop(view, box)
    return spoil(view, random)


def store_moments(clips: list[Clip], encoder: VisionEncoder, out: Path) -> None:
    """Features of the evenly spread moments of each clip, by the given encoder."""
    names = ("full", "motion", "crop", "flow", "flow_crop", "full_logits", "motion_logits", "crop_logits")
    table: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for number, clip in enumerate(clips, start=1):
        gap = max(1, round(MOTION_STEP_S * clip.fps))
        full, motion, crops = [], [], []
        for at in moments(clip):
            three = (clip.frames[at - gap], clip.frames[at], clip.frames[at + gap])
            view = motion_view(*three)
            box = moving_box(three, view.shape[1] / view.shape[0])
            full.append(clip.frames[at])
            motion.append(view)
            crops.append(data.crop(view, box) if box else view)
        seen = encoder.encode(full + motion + crops, [View.FULL] * MOMENTS + [View.MOTION] * 2 * MOMENTS)
        pooled, flow = seen.pooled.reshape(3, MOMENTS, -1), seen.motion.reshape(3, MOMENTS, -1)
        logits = seen.logits.reshape(3, MOMENTS, -1)
        for name, value in zip(names, (*pooled, flow[1], flow[2], *logits), strict=True):
            table[name].append(value)
        if number % 50 == 0:
            print(f"clips: {number}/{len(clips)}", file=sys.stderr, flush=True)
    np.savez(
        out,
        violent=[clip.violent for clip in clips],
        split=[clip.split for clip in clips],
        group=[clip.group for clip in clips],
        path=[clip.path for clip in clips],
        **{name: np.stack(value) for name, value in table.items()},  # type: ignore[arg-type]
    )


def main() -> None:
    """Fill the caches of the motion stream."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIGS / "vision_motion.yaml")
    parser.add_argument("--moments", type=Path, metavar="OUT", help="only store the clips' moments there")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    cv2.setNumThreads(1)
    folder, seen = data.shared_data(), evidence_features.load()
    clips = read_clips(folder)
    encoder = VisionEncoder(data.WORK / "cache", weights_dir=arguments.weights)
    store_moments(clips, encoder, arguments.moments or data.WORK / "clips.npz")
    if arguments.moments:
        return
    stills = [
        row
        for row in data.read_rows(folder, filed=True)
        if row.split == "train"
        and row.label.startswith(("normal", "fall", "general", "crowd", "fire"))
        and "survfight" not in row.group
    ]
    random = np.random.default_rng(config["seed"])
    plan: list[tuple[int, int]] = [
        (index, round_) for index in range(len(clips)) for round_ in range(config["views_per_clip"])
    ]
    plan += [(-1 - int(index), 0) for index in random.permutation(len(stills))[: config["made_up"]]]
    plan = [plan[int(index)] for index in random.permutation(len(plan))]

    def maker(index: int, round_: int) -> Callable[[], Image]:
        def make() -> Image:
            chance = np.random.default_rng([config["seed"], abs(index), round_, int(index < 0)])
            if index >= 0:
                return clip_view(clips[index], chance)
            row = stills[-1 - index]
            boxes = [box for _, score, box in seen[row.file]["objects"] if score >= 0.3]
            return spoil(made_up(data.image(row, folder), boxes, chance), chance)

        return make

    fight = ATTRIBUTES.index("fight")
    target = np.zeros((len(plan), len(ATTRIBUTES)), np.float32)
    mask = np.zeros_like(target)
    mask[:, fight] = 1.0
    target[:, fight] = [float(index >= 0 and clips[index].violent) for index, _ in plan]
    out = data.WORK / "trunk-motion"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / "labels.npz",
        target=target,
        mask=mask,
        clip=[index for index, _ in plan],
        split=[clips[index].split if index >= 0 else "train" for index, _ in plan],
    )
    fill(out, config["cut"], [maker(index, round_) for index, round_ in plan])


if __name__ == "__main__":
    main()
