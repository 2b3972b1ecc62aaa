"""``sitrep demo``: the whole way of one candidate, on the bundled clips."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.cli.progress import ScanProgress
from pipeline.cli.scan import check_writable, write_rows
from pipeline.cli.tables import print_reports
from pipeline.errors import FrameStoreError, SourceError

if TYPE_CHECKING:
    from evaluation.dataset import DatasetRow
    from pipeline.interfaces import FrameStore
    from pipeline.report import ClipNote, ReportRow
    from pipeline.scan import ScanResult


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of demo.html and demo.jsonl.")] = Path("out"),
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME].")] = None,
    language: Annotated[str | None, typer.Option("--language", help="en or ko.")] = None,
) -> None:
    """Run broker, worker and model on real clips; print the reports and write out/demo.html."""
    settings = settings_module.load(model=model, language=language)
    page, lines = out / "demo.html", out / "demo.jsonl"
    check_writable(page)
    output.err.print("Sitrep demo: real clips, real queue, a model of its own, no network", highlight=False)

    from pipeline.report import write_report
    from pipeline.scan import ScanSession
    from pipeline.store.schema import RunKind

    truth = bundled_clips()
    folder = clips_folder()
    with ScanSession(settings, kind=RunKind.DEMO) as session:
        with ScanProgress() as progress:
            result = session.scan([folder / row.clip for row in truth], listener=progress)
        rows = report_rows(result, session.frame_store)
    write_rows(lines, result.rows)
    notes = clip_notes(truth, result)
    write_report(
        page,
        rows,
        title="Sitrep demo",
        clips=notes,
        elapsed_s=result.seconds,
        pose=_pose(settings),
        language=settings.language,
    )
    print_reports(result.rows)
    _print_summary(rows, notes, result, page)
    if not result.ok:
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def clips_folder() -> Path:
    """Where the bundled clips are."""
    return Path(str(files("evaluation") / "clips"))


def bundled_clips() -> list[DatasetRow]:
    """The bundled clips that are there: somebody may have deleted those that are not for commercial use.

    Raises:
        SourceError: None is there.
    """
    from evaluation.dataset import load_dataset

    folder = clips_folder()
    known = load_dataset(folder / "clips.jsonl", check_files=False).rows
    there = [row for row in known if (folder / row.clip).is_file()]
    if not there:
        raise SourceError(f"{folder} holds none of the demo's clips", hint="take a fresh copy of Sitrep")
    return there


def report_rows(result: ScanResult, frame_store: FrameStore) -> list[ReportRow]:
    """Rows with their pictures; one that is gone is left out of the page."""
    from pipeline.report import ReportRow

    found = []
    for row in result.rows:
        images: dict[str, bytes] = {}
        for frame in row["frames"]:
            try:
                images[frame["sha256"]] = frame_store.get(frame["sha256"])
            except FrameStoreError as error:
                output.warn(error.one_line())
        found.append(ReportRow(row, images))
    return found


def clip_notes(truth: list[DatasetRow], result: ScanResult) -> list[ClipNote]:
    """What is known about each clip, with what stage 1 took for it."""
    from pipeline.report import ClipNote

    seen = {Path(clip.clip).name: clip for clip in result.clips}
    notes = []
    for row in truth:
        clip = seen.get(row.clip)
        notes.append(
            ClipNote(
                clip=row.clip,
                licence=row.licence,
                source=row.source,
                note=row.note or "",
                label=row.label,
                incident=row.escalate,
                length_s=clip.duration_s if clip else None,
                detect_ms=clip.seconds * 1e3 if clip else None,
                error=clip.error.one_line() if clip and clip.error else "",
            )
        )
    return notes


def _pose(settings: settings_module.Settings) -> Any:
    from pipeline.detect.registry import make_pose_estimator

    return make_pose_estimator("movenet", settings.data_dir, threads=settings.detect_threads)


def _print_summary(rows: list[ReportRow], notes: list[ClipNote], result: ScanResult, page: Path) -> None:
    from pipeline.report.rows import summarise

    total = summarise(rows, notes)
    say = output.out.print
    say(
        f"\n{total.candidates} candidates in {total.clips} clips: {total.escalated} escalated, "
        f"{total.review} for review, {total.dismissed} dismissed, in {result.seconds:.1f} s",
        highlight=False,
    )
    say(
        f"false alarms stopped: {total.stopped} of {total.false_alarms} clips; "
        f"incidents kept: {total.kept} of {total.flagged} flagged, {total.missed} not flagged",
        highlight=False,
    )
    say("ten clips show the way, they measure nothing: see the README for measured figures", style="dim")
    say(f"report: {page}", highlight=False, soft_wrap=True)
