"""A file that is read again when it changes, so that edits take effect without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.errors import ConfigError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Watched(Generic[T]):
    """The parsed content of a file, kept until its modification time or size changes.

    A running worker keeps the last good content when an edit breaks the file: a slip of the pen must not
    send every candidate to a person. The first read has nothing to fall back on and raises.

    Args:
        path: The file.
        parse: Reads it; raises ConfigError.
    """

    def __init__(self, path: Path, parse: Callable[[Path], T]) -> None:
        self.path = path
        self._parse = parse
        self._stamp: tuple[int, int] | None = None
        self._value: T | None = None
        self._read = False

    def get(self) -> T:
        """The content now. Raises ConfigError when it was never readable."""
        stamp = self._now()
        if not self._read or stamp != self._stamp:
            try:
                self._value = self._parse(self.path)
                self._read = True
            except ConfigError as error:
                if not self._read:
                    raise
                logger.warning("keeping the last good %s: %s", self.path.name, error.one_line())
            self._stamp = stamp
        return self._value  # type: ignore[return-value]  # set by the first successful read

    def _now(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size
