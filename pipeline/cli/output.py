"""What the command line prints: tables and results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.errors import ConfigError, SitrepError, SourceError

out = Console()
err = Console(stderr=True, highlight=False)


class ExitCode(IntEnum):
    """What a command's exit status means; stated in the README."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    UNEXPECTED = 70
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code_of(error: SitrepError) -> ExitCode:
    """The exit status for an error that ended a command."""
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    return ExitCode.SOME_FAILED if isinstance(error, SourceError) else ExitCode.UNAVAILABLE


def fail(error: SitrepError) -> None:
    """Print an error as one line."""
    err.print(f"[bold red]error:[/] {escape(error.one_line())}", soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning as one line."""
    err.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)


def unexpected(error: BaseException) -> None:
    """Save the traceback of a defect to a file and print one line that names it."""
    path = Path(tempfile.gettempdir()) / f"sitrep-error-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    path.write_text("".join(traceback.format_exception(error)))
    name = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    err.print(f"[bold red]error:[/] unexpected {escape(name)} (details in {path})", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, unwrapped."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def progress(*, transient: bool = False) -> Progress:
    """A progress display on stderr for anything that takes longer than two seconds."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=transient,
    )


def moment(option: str, text: str | None) -> datetime | None:
    """A day or time given as an option; local time unless it says otherwise. Raises ConfigError."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} '{text}' is no date", hint="e.g. 2026-10-01T18:30") from error
    return found if found.tzinfo else found.astimezone(UTC)


def set_up_logging(level: str) -> None:
    """Send structured logs to stderr at this level."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s", force=True)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
