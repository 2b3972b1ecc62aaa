"""Runs the ``sitrep`` command as a user would: its own process, its own data directory."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.settings import Settings

CLIPS = Path(__file__).resolve().parents[2] / "evaluation" / "clips"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """The lines that name an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@cache
def _converted() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sitrep-converted-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def share_converted(data_dir: Path) -> Path:
    """Have a data directory use the models this test run has converted, or convert them for all.

    The first to need them converts them, as a new installation does; half a minute each time otherwise.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in ("models", "openvino"):
        (_converted() / name).mkdir(exist_ok=True)
        if not (data_dir / name).exists():
            (data_dir / name).symlink_to(_converted() / name)
    return data_dir


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """The test's environment with no Sitrep setting but these."""
    share_converted(data_dir)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SITREP_")}
    clean = {key: value for key, value in clean.items() if key not in ("REDIS_URL", "DATABASE_URL")}
    return {**clean, "SITREP_DATA_DIR": str(data_dir), "COLUMNS": "200", **extra}


def servers_of(settings: Settings) -> dict[str, str]:
    """The broker and database of a test's settings, as the environment names them."""
    chosen = {"REDIS_URL": settings.redis_url, "DATABASE_URL": settings.database_url}
    return {name: secret.get_secret_value() for name, secret in chosen.items() if secret is not None}


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``sitrep`` in this environment."""
    return [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments)]


def sitrep(*arguments: str | Path, data_dir: Path, timeout: float = 240, **extra: str) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        command(*arguments),
        env=environment(data_dir, **extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
