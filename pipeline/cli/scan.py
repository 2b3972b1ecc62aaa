"""``sitrep scan``: clips in, one JSON object a candidate out."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.cli.progress import ScanProgress
from pipeline.cli.tables import print_reports
from pipeline.errors import SourceError


def scan(
    clips: Annotated[list[str], typer.Argument(help="Clips, pictures or folders of them.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write JSON lines here; '-' for stdout.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME].")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Prompt pack, ID[@VERSION].")] = None,
    detector: Annotated[str | None, typer.Option("--detector", help="ssd, or FILE.onnx.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Camera name of all clips.")] = None,
    language: Annotated[str | None, typer.Option("--language", help="en or ko.")] = None,
    site_context: Annotated[str | None, typer.Option("--site-context", help="What the site says.")] = None,
    only_detections: Annotated[
        bool, typer.Option("--detections-only", help="Stage 1 alone, no verdicts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON array.")] = False,
) -> None:
    """Find candidates in clips and have each judged, through the queue.

    Exit code 0 when every clip was read to its end, 1 when one was not; the others are judged all the same.
    """
    settings = settings_module.load(
        model=model, prompt=prompt, detector=detector, language=language, site_context=site_context
    )
    to_file = out is not None and str(out) != "-"
    if out is not None and to_file:
        check_writable(out)

    from pipeline.scan import detections_only, expand
    from pipeline.scan import scan as scan_clips

    expanded = expand(clips)
    for fault in expanded.faults:
        if fault.error is not None:
            output.fail(fault.error)
    if not expanded.paths:
        raise typer.Exit(output.ExitCode.SOME_FAILED)
    with ScanProgress() as progress:
        run = detections_only if only_detections else scan_clips
        result = run(expanded.paths, settings, camera=camera, listener=progress)
    if out is not None and to_file:
        write_rows(out, result.rows)
    elif out is not None:
        typer.echo(lines(result.rows), nl=False)
    if as_json:
        output.print_json(result.rows)
    elif out is None or to_file:
        print_reports(result.rows)
    failed = len(expanded.faults) + sum(clip.error is not None for clip in result.clips)
    said = f"{len(result.rows)} candidates in {len(result.clips)} clips, {result.seconds:.1f} s"
    if failed:
        said += f"; {failed} clips could not be read to their end"
    if result.unjudged:
        said += f"; {result.unjudged} candidates without verdict: see sitrep queue stats"
    output.err.print(said, highlight=False)
    if failed or not result.ok:
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def check_writable(path: Path) -> None:
    """Fail before the work, not after it.

    Raises:
        SourceError: The file cannot be written.
    """
    if path.is_dir():
        raise SourceError(f"{path} is a folder", hint="name a file for --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_special(path):
            with tempfile.NamedTemporaryFile(dir=path.resolve().parent):
                pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise SourceError(
            f"{path} cannot be written: {error.strerror}", hint="choose another file for --out"
        ) from error


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows at once, so that nobody reads half a file; pipes and devices are written to as they are.

    Raises:
        SourceError: The file cannot be written; the verdicts are in the database all the same.
    """
    try:
        if _is_special(path):
            path.write_text(lines(rows), encoding="utf-8")
            return
        # Through a link to what it names: the link itself is the user's.
        target = path.resolve()
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            part.write_text(lines(rows), encoding="utf-8")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be written: {error.strerror}", hint="the verdicts are kept in the database"
        ) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()
