"""What stage 1 really flags in the corpus and the training clips, with features: the alarms to be judged.

Heads and operating points belong to alarms as triggers raise them, not to pictures as a corpus sorts them:
a picture of a sofa becomes a fall alarm only if the fall trigger fires on it, and then with that trigger's
region.

Pictures of train are seen by stills networks that never saw their scene (``vision_finetune --folds``), so
that what is said of them may be weighed and calibrated like what is said of val.

``python -m models.train.mined_candidates [--shard I/N]`` appends to ``.train/mined/``; resumable, with
progress. ``load()`` reads all of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from models.embedded.views import looked_at
from models.embedded.vision import MANIFEST, VisionEncoder, VisionFeatures
from models.embedded.vision_clip import CLIP_CHANNELS, ClipEncoder
from models.embedded.vision_scene import SCENE_CHANNELS, SceneEncoder
from models.train import data
from models.train.malloc import keep_memory
from pipeline import settings as settings_module
from pipeline.detect import build_stage1
from pipeline.ingest import open_source
from pipeline.types import Candidate, EventType, Moment, View

FOLDER = data.WORK / "mined"
SECOND_OPINIONS = (EventType.SMOKE, EventType.FIRE, EventType.FALL, EventType.VIOLENCE)
"""Types whose heads may read scene features (``vision_second``)."""
_FLUSH = 100


@dataclass(frozen=True, slots=True)
class Item:
    """One picture or clip to run stage 1 on."""

    path: str
    name: str
    label: str
    split: str
    group: str
    source: str

    @property
    def scene(self) -> str:
        """The scene it weighs with (``data.scene_of``); folds go by ``group``."""
        return data.scene_of(self.group, self.name)


@dataclass(frozen=True, slots=True)
class Mined:
    """One picture or clip with every candidate stage 1 made of it, and the features of their views.

    Candidates hold the views that are looked at only (``models.embedded.views``).

    ``features`` go with ``candidates`` one to one; tokens are left out.
    """

    item: Item
    candidates: list[Candidate]
    features: list[VisionFeatures]


class MemoryStore:
    """A frame store that keeps images until it is emptied."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put(self, encoded: bytes) -> str:
        """Keep and name by hash."""
        sha256 = hashlib.sha256(encoded).hexdigest()
        self.held[sha256] = encoded
        return sha256

    def get(self, sha256: str) -> bytes:
        """What was put. Raises KeyError."""
        return self.held[sha256]


def items() -> list[Item]:
    """Corpus pictures, then training clips; those at places of development clips are held."""
    folder = data.shared_data()
    found = [
        Item(str(folder / "corpus" / row.file), row.file, row.label, row.split, row.group, row.source)
        for row in data.read_rows(folder)
    ]
    for line in (folder / "train_clips" / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = folder / "train_clips" / row["clip"]
        label = "fight" if row["label"] == "violence" else "normal_person"
        place = data.place_of(row["group"])
        split = data.HELD if place in data.development_places() else row["split"]
        found.append(Item(str(path), row["clip"], label, split, place, "train_clips"))
    return found


def load() -> list[Mined]:
    """Everything mined so far, without doubles, at the places and in the splits that are known now.

    Raises:
        SystemExit: Nothing was.
    """
    known = {item.name: item for item in items()}
    found: dict[str, Mined] = {}
    for file in sorted(FOLDER.glob("*.pkl")):
        for mined in pickle.loads(file.read_bytes()):
            found[mined.item.name] = replace(mined, item=known[mined.item.name])
    if not found:
        raise SystemExit(f"{FOLDER} is empty: run python -m models.train.mined_candidates first")
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Eyes:
    """What features are made with; ``left_out``: by scene of train, the encoder that was not taught it."""

    encoder: VisionEncoder
    scene: SceneEncoder
    clip: ClipEncoder
    left_out: Mapping[str, VisionEncoder] = field(default_factory=dict)

    @property
    def features_id(self) -> str:
        """Names of all weights and their arithmetic."""
        others = dict.fromkeys(one.features_id for one in self.left_out.values())
        return "+".join([*(one.features_id for one in (self.encoder, self.scene, self.clip)), *others])

    def unspoilt(self, item: Item) -> Eyes:
        """Eyes that have not seen the scene of an item."""
        return replace(self, encoder=self.left_out.get(item.group, self.encoder))


def left_out(cache: Path, threads: int) -> dict[str, VisionEncoder]:
    """By scene of train, the encoder that was trained on the others.

    Raises:
        SystemExit: They have not been trained.
    """
    found = [data.FOLDS_DIR / str(fold) for fold in range(data.FOLDS)]
    if not all((folder / MANIFEST).is_file() for folder in found):
        raise SystemExit(
            f"{data.FOLDS_DIR} lacks networks: run python -m models.train.vision_finetune --folds"
        )
    encoders = [VisionEncoder(cache, threads, weights_dir=folder) for folder in found]
    fold_of = data.fold_of_groups(data.read_rows(), data.FOLDS)
    return {group: encoders[fold] for group, fold in fold_of.items()}


def features_of(candidate: Candidate, store: MemoryStore, eyes: Eyes) -> VisionFeatures:
    """Features of a candidate's views, without tokens."""
    images = [
        np.asarray(cv2.imdecode(np.frombuffer(store.get(frame.sha256), np.uint8), cv2.IMREAD_COLOR), np.uint8)
        for frame in candidate.key_frames
    ]
    found = eyes.encoder.encode(images, [frame.view for frame in candidate.key_frames])
    tokens = np.zeros((len(found), 0, 0), np.float32)
    scene = None
    asked = candidate.event_type in (*SECOND_OPINIONS, EventType.TRAFFIC_ACCIDENT)
    twice = [
        asked and frame.view is View.FULL and frame.moment is Moment.PEAK for frame in candidate.key_frames
    ]
    if any(twice):
        scene = np.full((len(images), SCENE_CHANNELS), np.nan, np.float32)
        scene[twice] = eyes.scene.encode([image for image, want in zip(images, twice, strict=True) if want])
    clip, moving = None, [frame.view is View.CLIP for frame in candidate.key_frames]
    if any(moving):
        clip = np.full((len(images), CLIP_CHANNELS), np.nan, np.float32)
        clip[moving] = eyes.clip.encode([image for image, want in zip(images, moving, strict=True) if want])
    return VisionFeatures(tokens, found.pooled.astype(np.float16), found.logits, found.motion, scene, clip)


def _looked_at(candidate: Candidate) -> list[int]:
    return looked_at(candidate.key_frames, candidate.event_type, candidate.evidence)


def mine(wanted: list[Item], eyes: Eyes, threads: int) -> Iterator[Mined]:
    """Run stage 1 on items, one after another."""
    settings = settings_module.load(data_dir=data.WORK / "cache", detect_threads=threads)
    store = MemoryStore()
    stage1 = build_stage1(settings, store)
    for item in wanted:
        source = open_source(item.path, fps=settings.detect_fps)
        candidates = [
            replace(one, key_frames=tuple(one.key_frames[index] for index in _looked_at(one)))
            for one in stage1.run(source, camera=Path(item.path).name)
        ]
        source.close()
        unspoilt = eyes.unspoilt(item)
        yield Mined(item, candidates, [features_of(one, store, unspoilt) for one in candidates])
        store.held.clear()


def main() -> None:
    """Mine what has not been mined."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=data.shard, default="0/1", help="I/N: every Nth item from the Ith")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--splits", nargs="+", default=["val", "test", "train"])
    parser.add_argument("--clips", action="store_true", help="the training clips only")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    cache, threads = data.WORK / "cache", arguments.threads
    eyes = Eyes(
        VisionEncoder(cache, threads),
        SceneEncoder(cache, threads),
        ClipEncoder(cache, threads),
        left_out(cache, threads),
    )
    data.claim(FOLDER, eyes.features_id)
    done = {mined.item.name for mined in load()} if any(FOLDER.glob("*.pkl")) else set()
    wanted = [item for item in items() if item.name not in done and item.split in arguments.splits]
    if arguments.clips:
        wanted = [item for item in wanted if item.source == "train_clips"]
    # Clips and val first: they decide the most.
    order = {"val": 0, "test": 1, "train": 2, data.HELD: 3}
    wanted.sort(key=lambda item: (order[item.split], item.source != "train_clips"))
    wanted = wanted[arguments.shard]
    batch: list[Mined] = []
    start = time.monotonic()
    for number, mined in enumerate(mine(wanted, eyes, threads), start=1):
        batch.append(mined)
        if len(batch) == _FLUSH or number == len(wanted):
            name = f"{arguments.shard.start}of{arguments.shard.step}-{time.time_ns()}.pkl"
            partial = FOLDER / f"{name}.partial"
            partial.write_bytes(pickle.dumps(batch))
            partial.replace(FOLDER / name)
            batch = []
            each = (time.monotonic() - start) / number * 1e3
            print(f"{number}/{len(wanted)} items, {each:.0f} ms each", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Pickles name the module of what they hold, and "__main__" is another one when they are read.
    from models.train.mined_candidates import main as run

    run()
