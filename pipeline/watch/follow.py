"""Folders that clips are dropped into: each is taken up once it is complete."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.ingest.sniff import EXTENSIONS

SETTLE_S = 3.0
"""A clip is complete when its size and time have not changed for so long."""


@dataclass(slots=True)
class FollowedFolder:
    """Looks for clips that are new and complete.

    A clip that is still being written changes its size or its time of change; names that begin with a dot
    or end with something else than a clip's extension (``.part``) are left alone until they are renamed.

    Attributes:
        path: The folder; those below it are looked into as well.
        settle_s: How long a clip must not have changed.
    """

    path: Path
    settle_s: float = SETTLE_S
    _seen: dict[Path, tuple[int, int, float]] = field(default_factory=dict)
    _given: set[tuple[Path, int, int]] = field(default_factory=set)

    def look(self) -> list[Path]:
        """Clips that have become complete since the last look, oldest first.

        Raises:
            SourceError: The folder is gone.
        """
        if not self.path.is_dir():
            raise SourceError(f"folder {self.path} is gone", hint="is its disk or share mounted?")
        now = time.monotonic()
        there: dict[Path, tuple[int, int, float]] = {}
        ready: list[tuple[int, Path]] = []
        for path in self.path.rglob("*"):
            parts = path.relative_to(self.path).parts
            if path.suffix.lower() not in EXTENSIONS or any(part.startswith(".") for part in parts):
                continue
            try:
                found = path.stat()
            except OSError:
                continue
            if not path.is_file() or (path, found.st_size, found.st_mtime_ns) in self._given:
                continue
            before = self._seen.get(path)
            same = before is not None and before[:2] == (found.st_size, found.st_mtime_ns)
            since = before[2] if before is not None and same else now
            there[path] = (found.st_size, found.st_mtime_ns, since)
            if found.st_size and now - since >= self.settle_s:
                ready.append((found.st_mtime_ns, path))
                self._given.add((path, found.st_size, found.st_mtime_ns))
                del there[path]
        self._seen = there
        return [path for _, path in sorted(ready)]

    def camera(self, clip: Path) -> str:
        """Which camera a clip is from: the folder it lies in."""
        return clip.parent.name or self.path.name
