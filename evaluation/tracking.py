"""How well stage 1 tracks: ``python -m evaluation.tracking`` prints MOTA, IDF1 and identity switches.

Detections (people, by the detector and the pose estimator as stage 1 joins them) are made on a bundled clip,
tracked by ``pipeline.detect.tracker``, and compared with the annotation in ``evaluation/data``. ``--dump``
writes the detections, ``--tracks`` measures what another tracker made of them, both in the MOT Challenge
format: ``frame, id, left, top, width, height, score`` with frames from 1.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.mot import Mot, Tracks, measure
from pipeline import settings as settings_module
from pipeline.detect.registry import make_detector, make_pose_estimator
from pipeline.detect.scenes import LookParams, with_posed
from pipeline.detect.tracker import Tracker
from pipeline.errors import ConfigError
from pipeline.ingest import open_source
from pipeline.types import Box, Detections

ROOT = Path(__file__).resolve().parent
ANNOTATION = ROOT / "data" / "campus_walkers_tracks.json"
MIN_HITS = 2
"""A track counts from its second sighting on, as triggers take it."""
_PERSON = "person"


def load_annotation(path: Path) -> tuple[dict[str, Any], Tracks]:
    """An annotation file: what it says about itself, and its boxes in every frame.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        tracks = {int(number): rows for number, rows in read["tracks"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"annotation {path} cannot be read: {error}") from error
    boxes: dict[int, dict[int, Box]] = defaultdict(dict)
    for number, rows in tracks.items():
        for early, late in pairwise(rows):
            for frame in range(early[0], late[0] + 1):
                share = (frame - early[0]) / (late[0] - early[0])
                x1, y1, x2, y2 = (a + (b - a) * share for a, b in zip(early[1:], late[1:], strict=True))
                boxes[frame][number] = (x1, y1, x2, y2)
    return read, boxes


def detect(clip: Path, frames: Sequence[int], settings: settings_module.Settings) -> dict[int, Detections]:
    """People in some frames of a clip, as stage 1 sees them."""
    detector = make_detector(settings.detector, settings.data_dir, threads=settings.detect_threads)
    pose = make_pose_estimator("movenet", settings.data_dir, threads=settings.detect_threads)
    wanted, found = set(frames), {}
    for frame in open_source(clip).frames():
        if frame.index in wanted:
            both = with_posed(
                detector.detect([frame.image])[0], pose.estimate([frame.image])[0], LookParams().pose_adds
            )
            rows = [row for row, label in enumerate(both.label) if label == _PERSON]
            found[frame.index] = Detections(both.xyxy[rows], both.score[rows], (_PERSON,) * len(rows))
        if frame.index >= max(wanted):
            break
    return found


def track(detections: Mapping[int, Detections], fps: float) -> Tracks:
    """What stage 1's tracker makes of detections, as it would say it at the time."""
    tracker, tracks = Tracker(), {}
    for frame in sorted(detections):
        seen = tracker.update(detections[frame], frame / fps)
        tracks[frame] = {one.track_id: one.box for one in seen if one.hits >= MIN_HITS}
    return tracks


def read_tracks(path: Path) -> Tracks:
    """Tracks in the MOT Challenge format. Raises ConfigError."""
    tracks: dict[int, dict[int, Box]] = defaultdict(dict)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                left, top, width, height = (float(value) for value in row[2:6])
                tracks[int(row[0]) - 1][int(row[1])] = (left, top, left + width, top + height)
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(f"tracks {path} cannot be read: {error}", hint="MOT Challenge format") from error
    return tracks


def write_detections(path: Path, detections: Mapping[int, Detections]) -> None:
    """Detections in the MOT Challenge format."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        for frame in sorted(detections):
            found = detections[frame]
            for (x1, y1, x2, y2), score in zip(found.xyxy, found.score, strict=True):
                values = (float(value) for value in (x1, y1, x2 - x1, y2 - y1, score))
                rows.writerow([frame + 1, -1, *(f"{value:.4f}" for value in values)])


def _line(name: str, found: Mot) -> str:
    return (
        f"{name:24} MOTA {found.mota:6.3f}  IDF1 {found.idf1:.3f}  switches {found.switches:3}  "
        f"fragments {found.fragments:3}  misses {found.misses:4}  false {found.false_positives:4}  "
        f"of {found.boxes} boxes, MOTP {found.motp:.2f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--annotation", type=Path, default=ANNOTATION)
    parser.add_argument("--every", type=int, default=2, help="take every so many frames (2: 5 a second)")
    parser.add_argument("--dump", type=Path, help="write the detections here")
    parser.add_argument("--detections", type=Path, help="use these instead of running the detectors")
    parser.add_argument("--tracks", type=Path, action="append", default=[], help="measure these too")
    options = parser.parse_args()
    about, truth = load_annotation(options.annotation)
    frames = range(0, int(about["frames"]), options.every)
    if options.detections:
        detections = _read_detections(options.detections, frames)
    else:
        detections = detect(ROOT.parent / about["clip"], frames, settings_module.load())
    if options.dump:
        write_detections(options.dump, detections)
    print(f"{Path(about['clip']).name}, {len(frames)} frames at {about['fps'] / options.every:g} a second")
    perfect = {f: {i: _box(row) for i, row in enumerate(found.xyxy)} for f, found in detections.items()}
    alone = measure(truth, perfect, frames)
    print(f"detections alone: {alone.misses} misses, {alone.false_positives} false of {alone.boxes} boxes")
    print(_line("stage 1", measure(truth, track(detections, about["fps"]), frames)))
    for path in options.tracks:
        print(_line(path.stem, measure(truth, read_tracks(path), frames)))


def _box(row: Any) -> Box:
    x1, y1, x2, y2 = (float(value) for value in row)
    return (x1, y1, x2, y2)


def _read_detections(path: Path, frames: Sequence[int]) -> dict[int, Detections]:
    rows: dict[int, list[list[float]]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                rows[int(row[0]) - 1].append([float(value) for value in row[2:7]])
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"detections {path} cannot be read: {error}", hint="MOT Challenge format"
        ) from error
    found = {}
    for frame in frames:
        values = np.array(rows.get(frame, []), np.float32).reshape(-1, 5)
        xyxy = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
        found[frame] = Detections(xyxy, values[:, 4], (_PERSON,) * len(values))
    return found


if __name__ == "__main__":
    main()
