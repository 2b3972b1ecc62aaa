"""``sitrep rescore``: judge the archive again with another prompt or model; nobody is alerted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import settings as settings_module
from pipeline.cli import bench, output
from pipeline.errors import ConfigError, JobError

if TYPE_CHECKING:
    from pipeline.rescore import Outcome, Plan, Selection, Target
    from pipeline.settings import Settings

app = typer.Typer(help="Judge stored candidates again, see what flips.", invoke_without_command=True)

RunId = Annotated[str, typer.Argument(help="Name of the run; see: sitrep rescore list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(main: typer.Typer) -> None:
    """Add this module's commands to the main application."""
    main.add_typer(app, name="rescore")
    bench.app.command("rescore")(bench_rescore)
    bench.app.command("scale")(bench_scale)
    bench.app.command("sizing")(bench_sizing)


@app.callback()
def rescore(
    context: typer.Context,
    *,
    since: Annotated[str | None, typer.Option("--from", help="Day or time, e.g. 2026-10-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to, not with, this day or time.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Only this camera.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only this event type; repeatable.")
    ] = None,
    clips: Annotated[
        list[Path] | None, typer.Option("--clips", help="Clips or folders; candidates are found first.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="ID@VERSION to judge with.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME]; else the setting.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a paused or cancelled run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge stored candidates, or a tree of clips, with another prompt or model."""
    if context.invoked_subcommand is not None:
        return
    if prompt is None and model is None:
        raise ConfigError("nothing would change", hint="name --prompt ID@VERSION or --model")
    from pipeline.rescore import Selection, make_plan, resolve_target
    from pipeline.store.engine import open_store

    settings = settings_module.load(prompt=prompt, model=model)
    target = resolve_target(settings)
    engine = open_store(settings)
    selection = Selection(
        since=output.moment("--from", since),
        until=output.moment("--to", until),
        camera=camera,
        event_types=_types(types or []),
        source_ids=_from_clips(settings, clips) if clips else None,
    )
    plan = make_plan(engine, selection, target)
    if not as_json or not dry_run:
        _print_plan(plan, target)
    if dry_run:
        if as_json:
            output.print_json({slot: getattr(plan, slot) for slot in plan.__slots__})
        return
    if plan.total == 0:
        raise JobError("no stored candidate matches", hint="widen --from, --to and --camera; see: --dry-run")
    outcome = None
    if plan.waiting or plan.left:
        outcome = _run(settings, selection, target, plan, resume=resume)
    _report(settings, selection, target, outcome, plan, as_json=as_json)


@app.command("list")
def list_runs(as_json: AsJson = False) -> None:
    """Re-score runs, newest first."""
    from rich.table import Table

    from pipeline.rescore import status
    from pipeline.store.engine import open_store

    found = status(open_store(settings_module.load()))
    if as_json:
        output.print_json([{slot: getattr(one, slot) for slot in one.__slots__} for one in found])
        return
    table = Table()
    for heading in ("run", "state", "prompt", "jobs"):
        table.add_column(heading, overflow="fold")
    for one in found:
        state = "paused" if one.paused else one.state
        counts = ", ".join(f"{name} {number}" for name, number in sorted(one.jobs.items()))
        table.add_row(one.run_id, state, one.label, counts)
    output.out.print(table)


@app.command("pause")
def pause_run(run_id: RunId) -> None:
    """Stop a run after the jobs being judged now; rescore --resume goes on with it."""
    from pipeline.queue.api import Queue
    from pipeline.rescore import pause

    with Queue(settings_module.load()) as queue:
        taken = pause(queue, run_id)
    output.out.print(f"{run_id} is paused; {taken} waiting jobs were taken back", highlight=False)


@app.command("resume")
def resume_run(run_id: RunId) -> None:
    """Take a pause back; the same rescore command then goes on."""
    from pipeline.rescore import resume_allowed
    from pipeline.store.engine import open_store

    resume_allowed(open_store(settings_module.load()), run_id)
    output.out.print(f"{run_id} may go on: give the same rescore command again", highlight=False)


@app.command("cancel")
def cancel_run(run_id: RunId) -> None:
    """End a run; the verdicts it made stay."""
    from pipeline.queue.api import Queue
    from pipeline.rescore import cancel

    with Queue(settings_module.load()) as queue:
        taken = cancel(queue, run_id)
    output.out.print(f"{run_id} is cancelled; {taken} waiting jobs were taken back", highlight=False)


def bench_rescore(as_json: AsJson = False) -> None:
    """Judging the bundled clips' candidates again, against the first pass."""
    _measured("rescore", as_json)


def bench_scale(
    seconds: Annotated[float, typer.Option("--seconds", min=0.05, help="How long the model waits.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Verdicts a second with 1, 2 and 4 workers whose model only waits."""
    _measured("scale", as_json, seconds=seconds)


def bench_sizing(
    seconds: Annotated[
        list[float] | None, typer.Option("--seconds", help="Seconds a candidate; repeatable.")
    ] = None,
    price: Annotated[float, typer.Option("--price", help="Price of a core-hour.")] = 0.04,
    as_json: AsJson = False,
) -> None:
    """Simulate a day of 57,000 cameras at Seoul's published alert rates."""
    from rich.table import Table

    from pipeline.bench import sizing

    found = sizing.run(tuple(seconds or (0.4, 1.0, 1.8)), price_a_core_hour=price)
    if as_json:
        output.print_json(found)
        return
    table = Table()
    for heading in found["rows"][0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for row in found["rows"]:
        table.add_row(*map(str, row.values()))
    output.out.print(table)


def _measured(name: str, as_json: bool, **options: Any) -> None:
    from importlib import import_module

    with output.err.status(f"measuring {name}"):
        figures = import_module(f"pipeline.bench.{name}").run(settings_module.load(), **options)
    figures["machine"] = bench.machine()
    if as_json:
        output.print_json(figures)
        return
    for key, value in figures.items():
        output.out.print(f"{key:28} {value}", highlight=False, soft_wrap=True)


def _run(settings: Settings, selection: Selection, target: Target, plan: Plan, *, resume: bool) -> Outcome:
    from pipeline.queue.broker import expect_answer
    from pipeline.rescore import rescore as run_rescore
    from pipeline.rescore import resume_allowed, status
    from pipeline.services import Supervisor

    expect_answer(settings)
    with Supervisor(settings) as services:
        queue = services.queue
        known = {one.run_id: one for one in status(queue.engine)}.get(plan.run_id)
        if known and (known.paused or known.state == "cancelled"):
            if not resume:
                word = "paused" if known.paused else "cancelled"
                raise JobError(f"{plan.run_id} is {word}", hint="add --resume to go on with it")
            resume_allowed(queue.engine, plan.run_id)
        with output.progress() as bar:
            task = bar.add_task(f"re-scoring with {target.prompt}", total=plan.total - plan.missing)
            return run_rescore(
                queue,
                settings,
                selection,
                target,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
                check=services.check,
            )


def _report(
    settings: Settings,
    selection: Selection,
    target: Target,
    outcome: Outcome | None,
    plan: Plan,
    *,
    as_json: bool,
) -> None:
    from pipeline.rescore import find_flips, flips_file, write_flips
    from pipeline.store.engine import open_store
    from pipeline.store.frames import open_frame_store

    last = outcome.plan if outcome else plan
    file = flips_file(settings, plan.run_id)
    if outcome is None and file.is_file():
        told = json.loads(file.read_text(encoding="utf-8"))
    else:
        flips = find_flips(open_store(settings), selection, target)
        told = write_flips(flips, target, file, open_frame_store(settings))
    ending = str(outcome.ending) if outcome else "nothing to do"
    page = file.with_suffix(".html")
    if as_json:
        output.print_json(
            {
                "run_id": plan.run_id,
                "ending": ending,
                "total": last.total,
                "judged": last.judged,
                "left": last.left + last.waiting,
                "missing": last.missing,
                "failed": outcome.failed if outcome else 0,
                "compared": told["compared"],
                "flips": len(told["flips"]),
                "now_reach_a_person": told["now_reach_a_person"],
                "no_longer_reach_a_person": told["no_longer_reach_a_person"],
                "page": str(page),
            }
        )
    else:
        _print_flips(told)
        output.out.print(f"{ending}: {last.judged} of {last.total} candidates judged", highlight=False)
        output.out.print(f"page: {page}", highlight=False, soft_wrap=True)
    if outcome and outcome.other_text:
        output.warn(f"{outcome.other_text} verdicts were made with another text of {target.prompt}")
    if outcome and outcome.failed:
        output.warn(f"{outcome.failed} judgements failed; see: sitrep queue dead list")
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def _print_plan(plan: Plan, target: Target) -> None:
    parts = [f"{plan.total} candidates", f"{plan.judged} judged with {target.prompt} already"]
    parts += [f"{plan.waiting} in the queue"] if plan.waiting else []
    parts += [f"{plan.missing} without frames (retention)"] if plan.missing else []
    output.err.print(f"{plan.run_id}: {', '.join(parts)}, {plan.left} to judge", soft_wrap=True)


def _print_flips(told: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{told['compared']} candidates have a verdict from before", title_justify="left")
    for heading in ("before", "now", "candidates"):
        table.add_column(heading)
    for row in told["table"]:
        style = "" if row["before"] == row["after"] else "bold"
        table.add_row(row["before"], row["after"], str(row["n"]), style=style)
    output.out.print(table)
    output.out.print(
        f"{told['now_reach_a_person']} reach a person only now, "
        f"{told['no_longer_reach_a_person']} no longer do, {told['unchanged']} are unchanged",
        highlight=False,
    )


def _from_clips(settings: Settings, clips: list[Path]) -> frozenset[str]:
    from pipeline.rescore.clips import find_in_clips

    with output.progress() as bar:
        task = bar.add_task("looking through clips", total=None)

        def told(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"looking through {name[:36]}", completed=done, total=total)

        found = find_in_clips(settings, clips, on_clip=told)
    for fault in found.faults:
        output.warn(fault)
    return found.candidate_ids


def _types(names: list[str]) -> tuple[Any, ...]:
    from pipeline.types import EventType

    for name in names:
        if name not in set(EventType):
            raise ConfigError(f"--type '{name}' is unknown", hint=f"one of {', '.join(EventType)}")
    return tuple(EventType(name) for name in names)
