"""Followed folders: a clip is taken up once, when it is complete."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.watch.follow import FollowedFolder


def settle(folder: FollowedFolder) -> list[Path]:
    found = folder.look()
    time.sleep(folder.settle_s * 1.5)
    return found + folder.look()


def test_a_clip_is_taken_when_it_has_stopped_growing(tmp_path: Path) -> None:
    """Given a clip being copied, when it no longer grows, then it is taken up, once."""
    folder = FollowedFolder(tmp_path, settle_s=0.1)
    clip = tmp_path / "gate" / "a.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"1")
    assert folder.look() == []
    time.sleep(0.15)
    clip.write_bytes(b"12")
    assert folder.look() == [], "it has just grown"
    assert settle(folder) == [clip]
    assert settle(folder) == []
    assert folder.camera(clip) == "gate"


def test_what_is_not_a_finished_clip_is_left_alone(tmp_path: Path) -> None:
    """Given partial, hidden, empty and foreign files, when the folder is looked at, then none is taken."""
    for name in ("a.mp4.part", ".b.mp4", "c.txt"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "empty.mp4").touch()
    folder = FollowedFolder(tmp_path, settle_s=0.05)
    assert settle(folder) == []
    (tmp_path / "a.mp4.part").rename(tmp_path / "a.mp4")
    assert settle(folder) == [tmp_path / "a.mp4"]


def test_a_clip_written_anew_under_its_name_is_another_clip(tmp_path: Path) -> None:
    """Given a clip that was taken, when it is overwritten, then it is taken again."""
    folder = FollowedFolder(tmp_path, settle_s=0.05)
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"1")
    assert settle(folder) == [clip]
    clip.write_bytes(b"123")
    assert settle(folder) == [clip]


def test_a_folder_that_goes_away_is_named(tmp_path: Path) -> None:
    """Given a share that is unmounted, when it is looked at, then one line says so."""
    with pytest.raises(SourceError, match="is gone"):
        FollowedFolder(tmp_path / "none").look()
