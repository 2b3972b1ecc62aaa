"""Progress of a scan on the terminal: stage 1 by clip, and how many verdicts are in."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.cli import output

if TYPE_CHECKING:
    from pipeline.scan import ClipResult


class ScanProgress:
    """Two bars on stderr; one line for each clip that could not be read. A context manager."""

    def __init__(self) -> None:
        self._bars = output.progress(transient=True)
        self._clips = self._bars.add_task("stage 1", total=None)
        self._verdicts = self._bars.add_task("verdicts", total=None, visible=False)
        self._number = 0

    def __enter__(self) -> ScanProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def clip_started(self, clip: str, number: int, total: int) -> None:
        """Show which clip."""
        self._number = number
        name = escape(Path(clip).name)
        self._bars.update(self._clips, description=f"stage 1  {name:.28}", completed=number - 1, total=total)

    def clip_progress(self, done_s: float, total_s: float) -> None:
        """Move within the clip."""
        if total_s > 0:
            self._bars.update(self._clips, completed=self._number - 1 + min(1.0, done_s / total_s))

    def clip_finished(self, result: ClipResult) -> None:
        """Count it, and say what was wrong with it."""
        self._bars.update(self._clips, completed=self._number)
        if result.error is not None:
            output.fail(result.error)

    def judged(self, done: int, total: int) -> None:
        """Show how many verdicts are in."""
        self._bars.update(
            self._verdicts, visible=total > 0, description="verdicts", completed=done, total=total
        )
