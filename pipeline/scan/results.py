"""What a scan gives, and who is told while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.errors import SitrepError


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What stage 1 made of one clip.

    Attributes:
        clip: The path as given.
        candidates: How many candidates it gave.
        seconds: Wall time of stage 1.
        duration_s: Stream time of the last frame seen.
        error: Why it could not be read (to the end), or ``None``. Candidates found before count.
    """

    clip: str
    candidates: int
    seconds: float
    duration_s: float
    error: SitrepError | None = None


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Everything a scan gave: rows in clip order, one result a clip, wall times in seconds."""

    rows: list[dict[str, Any]]
    clips: list[ClipResult]
    run_id: str
    seconds: float
    unjudged: int = 0
    stage1_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every clip was read to its end and every candidate has its verdict."""
        return not self.unjudged and all(clip.error is None for clip in self.clips)


class ScanListener(Protocol):
    """Is told what happens, for progress displays."""

    def clip_started(self, clip: str, number: int, total: int) -> None:
        """Stage 1 opens a clip."""

    def clip_progress(self, done_s: float, total_s: float) -> None:
        """Stage 1 has come this far; ``total_s`` is 0 when unknown."""

    def clip_finished(self, result: ClipResult) -> None:
        """Stage 1 is through with a clip."""

    def judged(self, done: int, total: int) -> None:
        """So many of so many candidates have their verdict."""


class Silent:
    """A listener that says nothing."""

    def clip_started(self, clip: str, number: int, total: int) -> None:
        """Nothing."""

    def clip_progress(self, done_s: float, total_s: float) -> None:
        """Nothing."""

    def clip_finished(self, result: ClipResult) -> None:
        """Nothing."""

    def judged(self, done: int, total: int) -> None:
        """Nothing."""
