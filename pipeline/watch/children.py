"""Groups of cameras as child processes: told their sources, listened to, started anew when they die."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import structlog

from pipeline.errors import SourceError
from pipeline.settings import Settings, environment

MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
GRACE_S = 40.0
Told = dict[str, Any]
log = structlog.get_logger(__name__)


class Child:
    """One group's process; made by :func:`start`.

    Attributes:
        sources: Name and address of each source it has, by key.
    """

    def __init__(self, settings: Settings, run_id: str, number: int) -> None:
        self.sources: dict[str, tuple[str, str]] = {}
        self._settings, self._run_id, self._number = settings, run_id, number
        self._heard: deque[Told] = deque()
        self._deaths: deque[float] = deque()
        self._final = self._leaving = False
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._launch()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def busy(self) -> bool:
        """Whether it still runs or has things to say."""
        listening = self._listener is not None and self._listener.is_alive()
        return self.pid is not None or listening or bool(self._heard)

    def add(self, key: str, name: str, uri: str) -> None:
        """Give it a source."""
        self.sources[key] = (name, uri)
        self._tell(add=[key, name, uri])

    def no_more(self) -> None:
        """Tell it that no source will follow: it ends when all have."""
        self._final = True
        self._tell(last=True)

    def heard(self) -> list[Told]:
        """What it has said since the last call."""
        said = []
        while self._heard:
            said.append(self._heard.popleft())
        return said

    def look_after(self) -> None:
        """Start it anew if it died.

        Raises:
            SourceError: It keeps dying.
        """
        if self._process is None or self._leaving:
            return
        code = self._process.poll()
        if code in (None, 0):
            return
        now = time.monotonic()
        while self._deaths and now - self._deaths[0] > RESTART_WINDOW_S:
            self._deaths.popleft()
        self._deaths.append(now)
        log.warning("group.died", group=self._number, code=code, deaths=len(self._deaths))
        if len(self._deaths) > MAX_RESTARTS:
            raise SourceError(
                f"the process of camera group {self._number} keeps dying (exit code {code})",
                hint=f"see {self.log_path}",
            )
        self._close()
        self._launch()
        for key, (name, uri) in self.sources.items():
            self._tell(add=[key, name, uri])
        if self._final:
            self._tell(last=True)

    def let_go(self) -> None:
        """Ask it to end."""
        self._leaving = True
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended; not for ever."""
        if self._process is None:
            return
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    @property
    def log_path(self) -> Path:
        """Where its log is."""
        return self._settings.data_dir / "logs" / f"cameras-{self._number}.log"

    def _launch(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        threads = str(self._settings.detect_threads or 1)
        caps = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        with self.log_path.open("ab") as output:
            # A session of its own: Ctrl-C reaches only the parent, which lets the cameras go in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.watch.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env={**os.environ, **environment(self._settings), **caps},
                start_new_session=True,
            )
        self._tell(run_id=self._run_id)
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for line in process.stdout:
                with contextlib.suppress(json.JSONDecodeError):
                    self._heard.append(json.loads(line))

    def _tell(self, **what: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()

    def _close(self) -> None:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def start(settings: Settings, run_id: str, number: int) -> Child:
    """Start a group of cameras; ``settings`` must say where the broker is."""
    return Child(settings, run_id, number)
