"""A seeded store and a client of the incident page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.desk.app import create_app
from tests.unit.desk.desk_rows import TOKEN, Seeded, fill, open_desk


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled and an empty data directory, made once: each test gets a copy of one."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("empty", "full"):
        desk = open_desk(folder / name)
        if name == "full":
            fill(desk)
        desk.queue.close()
        desk.engine.dispose()
    return folder


def _copy(stored: Path, tmp_path: Path) -> Iterator[Seeded]:
    shutil.copytree(stored, tmp_path / "data")
    desk = open_desk(tmp_path / "data", migrate=False)
    yield desk
    desk.queue.close()
    desk.engine.dispose()


@pytest.fixture
def empty_desk(stored: Path, tmp_path: Path) -> Iterator[Seeded]:
    yield from _copy(stored / "empty", tmp_path)


@pytest.fixture
def desk(stored: Path, tmp_path: Path) -> Iterator[Seeded]:
    yield from _copy(stored / "full", tmp_path)


@pytest.fixture
def client(desk: Seeded) -> Iterator[TestClient]:
    """Signed in as Kim."""
    app = create_app(desk.settings, engine=desk.engine, frames=desk.frames, ping_broker=lambda: True)
    with TestClient(app) as made:
        assert made.get("/", params={"token": TOKEN, "operator": "Kim"}).status_code == 200
        yield made


@pytest.fixture
def stranger(desk: Seeded) -> Iterator[TestClient]:
    """Not signed in."""
    app = create_app(desk.settings, engine=desk.engine, frames=desk.frames, ping_broker=lambda: True)
    with TestClient(app, follow_redirects=False) as made:
        yield made
