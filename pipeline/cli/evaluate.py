"""``sitrep eval``, ``compare``, ``calibrate`` and ``dataset``: change a prompt or a model with evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import settings as settings_module
from pipeline.cli import output, rescore
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from evaluation.dataset import Dataset, DatasetRow
    from evaluation.metrics import Evaluation
    from evaluation.runs import Run
    from pipeline.settings import Settings

Model = Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME]; else the setting.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="ID[@VERSION]; else the setting.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunFolder = Annotated[Path, typer.Argument(help="A folder that sitrep eval --out wrote.")]
ClipFolder = Annotated[Path | None, typer.Option("--clips", help="Folder of the clips; else the file's own.")]

dataset_app = typer.Typer(no_args_is_help=True, help="Check and make dataset files.")
import_app = typer.Typer(no_args_is_help=True, help="Make a dataset file from other annotations.")
dataset_app.add_typer(import_app, name="import")


def register(app: typer.Typer) -> None:
    """Add the commands of the prompt lab and the archive to the main application."""
    app.command("eval")(evaluate)
    app.command("compare")(compare)
    app.command("calibrate")(calibrate)
    app.add_typer(dataset_app, name="dataset")
    rescore.register(app)


def evaluate(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; an unfinished one is resumed.")],
    dataset: Annotated[Path | None, typer.Option("--dataset", help="Dataset file (.jsonl).")] = None,
    model: Model = None,
    prompt: Prompt = None,
    clips: ClipFolder = None,
    events: Annotated[Path | None, typer.Option("--events", help="Dataset file with event times.")] = None,
    replay: Annotated[Path | None, typer.Option("--replay", help="Repeat this run and compare.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure false-alarm cut and incident retention on labelled clips."""
    from evaluation.dataset import load_dataset
    from evaluation.replay import replay_request, replayed
    from evaluation.report import write_report

    if (dataset is None) == (replay is None):
        raise ConfigError("give either --dataset FILE or --replay RUN", hint="see: sitrep eval --help")
    if replay is not None:
        if any((model, prompt, clips, events)):
            raise ConfigError(
                "--replay takes model, prompt and data from the run", hint="drop the other options"
            )
        request = replay_request(replay)
        data, settings, events = request.dataset, request.settings, request.events
    else:
        assert dataset is not None
        data = load_dataset(dataset, clips=clips, events=events)
        settings = _pinned(settings_module.load(model=model, prompt=prompt))
    run, figures = _run(data, settings, out, events)
    report = write_report(run, figures)
    if as_json:
        output.print_json(figures.as_json())
    else:
        _print_figures(figures)
        output.out.print(f"report: {report}", highlight=False, soft_wrap=True)
    if replay is not None:
        difference = replayed(replay, run)
        output.err.print(difference.line, highlight=False, soft_wrap=True)
        if difference.rows:
            raise typer.Exit(output.ExitCode.SOME_FAILED)
    if broken := [clip for clip in run.clips if clip.error]:
        for clip in broken[:5]:
            output.warn(f"{clip.truth.clip}: {clip.error}")
        output.warn(
            f"{len(broken)} of {len(run.clips)} clips could not be read to the end; they count as they are"
        )
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def compare(
    run_a: RunFolder,
    run_b: RunFolder,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", help="Gate, e.g. 'retention<0.95'; may be repeated.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Page of the flips; else RUN_B/compare.html.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what flips from run A to run B, and whether it is more than noise."""
    from evaluation.compare import compare_runs
    from evaluation.compare_report import differences_table, flips_table, write_comparison
    from evaluation.gates import parse_gate
    from evaluation.runs import Run

    gates = [parse_gate(text) for text in fail_if or []]
    comparison = compare_runs(Run.load(run_a), Run.load(run_b))
    tripped = [
        why
        for gate in gates
        if (why := gate.trips(comparison.a.metrics(), comparison.b.metrics())) is not None
    ]
    page = write_comparison(comparison, html or run_b / "compare.html")
    if as_json:
        output.print_json({**comparison.as_json(), "failed_gates": tripped, "html": str(page)})
    else:
        output.out.print(differences_table(comparison))
        if comparison.flips:
            output.out.print(flips_table(comparison))
        output.out.print(f"[bold]{comparison.verdict}[/]", highlight=False)
        output.out.print(f"page: {page}", highlight=False, soft_wrap=True)
    for why in tripped:
        output.err.print(f"[bold red]gate failed:[/] {why}", highlight=False, soft_wrap=True)
    if tripped:
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def calibrate(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Calibration file (.json) to write.")],
    method: Annotated[str, typer.Option("--method", help="auto, platt or isotonic.")] = "auto",
    retention: Annotated[float, typer.Option("--retention", min=0.5, max=1.0)] = 0.97,
    precision: Annotated[float, typer.Option("--precision", min=0.5, max=1.0)] = 0.8,
) -> None:
    """Fit probabilities and thresholds per event type on a validation run."""
    from evaluation.calibrate import calibrate as fit
    from evaluation.runs import Run, write_json

    if method not in ("auto", "platt", "isotonic"):
        raise ConfigError(f"--method '{method}' is unknown", hint="auto, platt or isotonic")
    found = fit(Run.load(run), method=method, retention=retention, precision=precision)  # type: ignore[arg-type]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, found.content)
    for name, part in found.content["types"].items():
        output.out.print(
            f"{name}: {part['n']} candidates, calibration error {part['ece_before']:.3f} -> "
            f"{part['ece_cross_validated']:.3f} (cross-validated), "
            f"dismiss below {part['dismiss_below']:.2f}, escalate at {part['escalate_at']:.2f}",
            highlight=False,
            soft_wrap=True,
        )
    for name, why in found.refused.items():
        output.warn(f"{name} is not calibrated: {why}")


@dataset_app.command("check")
def check(file: Path, clips: ClipFolder = None) -> None:
    """Validate a dataset file and say what is in it."""
    from collections import Counter

    from evaluation.dataset import load_dataset

    data = load_dataset(file, clips=clips)
    labels = Counter(row.label for row in data.rows)
    timed = sum(bool(row.events) for row in data.rows if row.escalate)
    incidents = sum(row.escalate for row in data.rows)
    output.out.print(
        f"{len(data.rows)} clips in {len({row.group for row in data.rows})} groups, {incidents} incidents "
        f"({timed} with event times), split {data.split or 'not marked'}, sha256 {data.sha256[:16]}",
        highlight=False,
    )
    output.out.print(", ".join(f"{name} {n}" for name, n in labels.most_common()), highlight=False)


@import_app.command("folders")
def folders(
    root: Path,
    out: Annotated[Path, typer.Option("--out")],
    licence: Annotated[str, typer.Option("--licence")],
    group: Annotated[
        str | None, typer.Option("--group", help="Expression with one (...) for the scene.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="train, val, test or dev.")] = None,
) -> None:
    """Make a dataset of clips that lie in one folder a label."""
    from evaluation.importers import import_folders

    _write(out, import_folders(root, licence=licence, group_pattern=group), root, split)


@import_app.command("ucf-crime")
def ucf_crime(annotations: Path, clips: Path, out: Annotated[Path, typer.Option("--out")]) -> None:
    """Make a dataset of UCF-Crime's temporal annotations."""
    from evaluation.importers import import_ucf_crime

    _write(out, import_ucf_crime(annotations, clips), clips, None)


@import_app.command("kisa")
def kisa(
    annotations: Path,
    clips: Path,
    out: Annotated[Path, typer.Option("--out")],
    licence: Annotated[str, typer.Option("--licence")],
    split: Annotated[str | None, typer.Option("--split")] = None,
) -> None:
    """Make a dataset of KISA-style XML event annotations."""
    from evaluation.importers import import_kisa

    _write(out, import_kisa(annotations, clips, licence=licence), clips, split)


@import_app.command("feedback")
def feedback(
    out: Annotated[Path, typer.Option("--out")],
    split: Annotated[str | None, typer.Option("--split")] = None,
) -> None:
    """Make a dataset of what operators confirmed or called a false alarm."""
    from evaluation.importers import import_feedback
    from pipeline.store.engine import open_store

    settings = settings_module.load()
    _write(out, import_feedback(open_store(settings), settings), Path("/"), split)


def _write(out: Path, rows: Sequence[DatasetRow], root: Path, split: str | None) -> None:
    from evaluation.dataset import SPLITS, write_dataset

    if split is not None:
        if split not in SPLITS:
            raise ConfigError(f"--split '{split}' is unknown", hint=f"one of {', '.join(SPLITS)}")
        rows = [row.model_copy(update={"split": split}) for row in rows]
    write_dataset(out, rows)
    output.out.print(f"{len(rows)} clips written to {out}", highlight=False, soft_wrap=True)
    if root.absolute() != out.parent.absolute():
        output.out.print(f"evaluate with: --clips {root}", highlight=False, soft_wrap=True)


def _pinned(settings: Settings) -> Settings:
    """Write the prompt's version out, so that promoting another one half-way changes nothing."""
    from prompts.loader import PromptLibrary
    from prompts.pack import SHIPPED

    if "@" in settings.prompt:
        return settings
    split = PromptLibrary(settings.data_dir / "prompts", SHIPPED).active(settings.prompt)
    if len(split) > 1:
        arms = ", ".join(f"{settings.prompt}@{version}" for version in split)
        raise ConfigError(f"'{settings.prompt}' is split between versions", hint=f"evaluate one: {arms}")
    return settings.model_copy(update={"prompt": f"{settings.prompt}@{next(iter(split))}"})


def _run(data: Dataset, settings: Settings, out: Path, events: Path | None) -> tuple[Run, Evaluation]:
    from evaluation.runner import finish, run_evaluation, waiting_clips
    from pipeline.scan import ScanSession, Silent
    from pipeline.store.schema import RunKind
    from pipeline.types import Lane

    class Watch(Silent):
        """Moves the bars while a batch is scanned."""

        def clip_started(self, clip: str, number: int, total: int) -> None:
            bar.update(task, description=f"evaluating {Path(clip).name[:36]}")

        def judged(self, done: int, total: int) -> None:
            bar.update(task, description=f"judging candidates {done}/{total}")

    if not waiting_clips(data, settings, out, events=events):
        done = finish(out)
        return done.run, done.evaluation
    with (
        output.progress() as bar,
        ScanSession(settings, kind=RunKind.EVAL, lane=Lane.ARCHIVE, live=False) as session,
    ):
        task = bar.add_task("evaluating clips", total=len(data.rows))
        done = run_evaluation(
            data,
            settings,
            out,
            scan=lambda paths, camera: session.scan(paths, camera=camera, listener=Watch()),
            frame_store=session.frame_store,
            events=events,
            on_clips=lambda count, total: bar.update(task, completed=count, total=total),
        )
    return done.run, done.evaluation


def _print_figures(figures: Evaluation) -> None:
    from rich.table import Table

    shown = (
        "flag_recall", "false_alarms_before", "false_alarms_after", "false_alarm_cut", "incident_retention",
        "review_rate", "calibration_error", "groundedness", "event_recall", "event_f1",
        "seconds_to_verdict_p50", "seconds_to_verdict_p95",
    )  # fmt: skip
    table = Table()
    for heading in ("metric", "value", "95 % interval", "n"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name in shown:
        figure = figures.total[name]
        interval = "" if figure.low is None else f"{figure.low:.3g} - {figure.high:.3g}"
        table.add_row(name, "-" if figure.value is None else f"{figure.value:.3g}", interval, str(figure.n))
    output.out.print(table)
