"""``sitrep watch``: a clip played as a camera goes through the live lane; a missing one is named."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from support.command import CLIPS, sitrep

from pipeline import settings as settings_module
from pipeline.store.engine import open_store, read
from pipeline.store.schema import jobs


def test_a_clip_as_a_camera_is_judged_in_the_live_lane(tmp_path: Path) -> None:
    ran = sitrep("watch", CLIPS / "fall-in-office-2.mp4", "--model", "fake", data_dir=tmp_path)

    assert ran.code == 0, ran.err
    assert any("fall" in line and "P(real)" in line for line in ran.out.splitlines()), ran.out
    engine = open_store(settings_module.load(data_dir=tmp_path))
    with read(engine) as connection:
        found = connection.execute(select(jobs.c.lane, jobs.c.state)).all()
    engine.dispose()
    assert found
    assert {tuple(row) for row in found} == {("live", "done")}


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ran = sitrep("watch", tmp_path / "missing.mp4", "--model", "fake", data_dir=tmp_path)

    assert ran.code == 1
    assert len(ran.error_lines) == 1
    assert "missing.mp4" in ran.error_lines[0]
