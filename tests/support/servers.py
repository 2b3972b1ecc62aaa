"""Real servers for tests, on free loopback ports, in folders of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import redis

PASSWORD = "test-secret-7d1f"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """redis-server with AOF. ``kill`` is SIGKILL; ``start`` again reads the log back."""

    def __init__(self, folder: Path, appendfsync: str = "everysec") -> None:
        self.folder = folder
        self.port = free_port()
        self.appendfsync = appendfsync
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": PASSWORD,
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "save": "",
            "dir": str(self.folder),
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        self.process = subprocess.Popen(
            ["redis-server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD, socket_timeout=5)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


def postgres_program(name: str) -> str | None:
    """PostgreSQL's programs are not on Debian's PATH."""
    found = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return found[-1] if found else shutil.which(name)


class PostgresServer:
    """A cluster made by initdb; runs as the postgres user when the tests run as root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sitrep-pg-", dir="/tmp"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, object] = {}
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def start(self) -> None:
        data, secret = self.folder / "data", self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        initdb = [str(postgres_program("initdb")), "-D", str(data), "-U", "sitrep", "-A", "scram-sha-256"]
        made = subprocess.run(
            [*initdb, f"--pwfile={secret}", "-E", "UTF8", "--no-sync"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as,  # type: ignore[call-overload]
        )
        assert made.returncode == 0, made.stderr
        server = [str(postgres_program("postgres")), "-D", str(data), "-p", str(self.port)]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "60",
            "shared_buffers": "32MB",
            "fsync": "off",
        }
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*server, *(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._as,  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._url("postgres")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _url(self, database: str) -> str:
        return f"postgresql://sitrep:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Address of the database, emptied: a thousand files a new one would take minutes to remove."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self._url("postgres")

    def stop(self) -> None:
        if self._process is not None:
            # At once and without a checkpoint: the cluster is thrown away.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
