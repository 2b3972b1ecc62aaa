"""``sitrep prompts``: look at prompt packs, try them, release them, send traffic to them."""

from __future__ import annotations

import difflib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.errors import PromptError

app = typer.Typer(no_args_is_help=True, help="Look at prompt packs, try, release and promote them.")

Ref = Annotated[str, typer.Argument(help="ID or ID@VERSION.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="Folder of packs; the installation's own when left out.")
]


class Bump(StrEnum):
    """Part of the version number that grows."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


def _library(root: Path | None = None) -> Any:
    from prompts.loader import PromptLibrary
    from prompts.pack import SHIPPED

    roots = [root] if root else []
    return PromptLibrary(*roots, _own_root(), SHIPPED)


def _own_root() -> Path:
    return settings_module.load().data_dir / "prompts"


def _load(ref: str) -> Any:
    name, _, version = ref.partition("@")
    library = _library()
    if not version:
        split = library.active(name)
        version = max(split, key=lambda arm: split[arm])
    return library.load(name, version)


@app.command("list")
def list_packs(as_json: AsJson = False) -> None:
    """List packs, versions, what is released and what gets traffic."""
    from prompts.release import is_released

    library = _library()
    rows = []
    for name, versions in library.versions().items():
        active = library.active(name)
        for version in versions:
            pack = library.load(name, version)
            rows.append(
                {
                    "prompt": pack.ref,
                    "state": "released" if is_released(pack) else "draft",
                    "share": active.get(version, 0.0),
                    "sha256": pack.sha256,
                    "description": pack.file.description,
                    "path": str(pack.path),
                }
            )
    if as_json:
        output.print_json(rows)
        return
    table = Table(title="Prompt packs", title_justify="left")
    for column in ("prompt", "state", "traffic", "sha256", "description"):
        table.add_column(column, overflow="fold")
    for row in rows:
        share = f"{row['share']:.0%}" if row["share"] else ""
        table.add_row(row["prompt"], row["state"], share, row["sha256"][:12], row["description"])
    output.out.print(table)


@app.command()
def show(ref: Ref) -> None:
    """Print the file of a version."""
    pack = _load(ref)
    output.out.print(Syntax(pack.path.read_text(encoding="utf-8"), "yaml", background_color="default"))


@app.command()
def diff(old: Ref, new: Ref) -> None:
    """Print what differs between two versions."""
    first, second = _load(old), _load(new)
    lines = difflib.unified_diff(
        first.path.read_text(encoding="utf-8").splitlines(),
        second.path.read_text(encoding="utf-8").splitlines(),
        first.ref,
        second.ref,
        lineterm="",
    )
    for line in lines:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        output.out.print(f"[{colour}]{escape(line)}[/]" if colour else escape(line), highlight=False)


@app.command()
def render(  # typer makes options of them
    ref: Ref = "incident",
    event_type: Annotated[str, typer.Option("--type", help="Event type of the example.")] = "fall",
    candidate: Annotated[
        Path | None, typer.Option(help="A scan row (JSON) to render instead of the example.")
    ] = None,
    language: Annotated[str, typer.Option(help="en or ko.")] = "en",
    site_context: Annotated[str, typer.Option(help="Site context to render.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print both prompts as a model would get them, images left out."""
    from prompts.example import candidate_from_row, example_candidate
    from prompts.pack import question_text

    pack = _load(ref)
    if candidate is None:
        subject = example_candidate(event_type)
    else:
        try:
            subject = candidate_from_row(json.loads(candidate.read_text(encoding="utf-8").splitlines()[0]))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise PromptError(f"{candidate} is not a scan row: {error}", hint="see: sitrep scan") from error
    rendered = pack.render(subject, language=language, site_context=site_context)
    system, question = question_text(rendered.messages)
    _, report = question_text(rendered.narrative_messages)
    if as_json:
        shown = {"prompt": pack.ref, "sha256": rendered.sha256, "system": system}
        output.print_json({**shown, "question": question, "report": report})
        return
    for title, text in (("system", system), ("question", question), ("report", report)):
        output.out.print(f"[bold]{title}[/]")
        output.out.print(escape(text), highlight=False, soft_wrap=True)


@app.command()
def check(root: Root = None) -> None:
    """Check every pack and that no released version was changed; fails with the way to mend it."""
    from prompts.pack import SHIPPED
    from prompts.release import check as check_root

    roots = [root] if root else [path for path in (_own_root(), SHIPPED) if path.is_dir()]
    findings = [finding for path in roots for finding in check_root(path)]
    for finding in findings:
        output.err.print(f"[bold red]error:[/] {escape(f'{finding.ref} {finding.problem} ({finding.hint})')}")
    if findings:
        raise typer.Exit(output.ExitCode.SOME_FAILED)
    output.out.print("all prompt packs are sound")


@app.command()
def lock(root: Root = None) -> None:
    """Release every draft: from now on it must not change."""
    from prompts.release import lock as lock_root

    released = lock_root(root or _own_root())
    output.out.print("released " + ", ".join(released) if released else "nothing to release")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Pack id.")],
    source: Annotated[str | None, typer.Option("--from", help="Version to copy; the newest.")] = None,
    bump: Annotated[Bump, typer.Option(help="Which part of the number grows.")] = Bump.MINOR,
    root: Root = None,
) -> None:
    """Copy a version into a new draft and print its path."""
    from prompts.release import new_version

    path = new_version(_library(root), root or _own_root(), name, source, bump.value)
    output.out.print(str(path), soft_wrap=True, highlight=False)


@app.command()
def promote(
    ref: Ref,
    share: Annotated[float, typer.Option(help="Share of candidates, above 0 and at most 1.")] = 1.0,
    root: Root = None,
) -> None:
    """Send traffic to a released version; workers follow without a restart."""
    from prompts.release import promote as promote_version

    name, _, version = ref.partition("@")
    if not version:
        raise PromptError(f"'{ref}' names no version", hint=f"write {name}@VERSION")
    _print_shares(name, promote_version(_library(root), root or _own_root(), name, version, share))


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="Pack id.")], root: Root = None) -> None:
    """Undo the last promotion."""
    from prompts.release import rollback as roll_back

    _print_shares(name, roll_back(root or _own_root(), name))


@app.command()
def arms(
    name: Annotated[str, typer.Argument(help="Pack id.")] = "incident",
    since: Annotated[str | None, typer.Option("--from", help="Day or time, e.g. 2026-10-01.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the versions that share the traffic: decisions and operators' answers."""
    from evaluation.arms import FIGURES, read_arms
    from pipeline.store.engine import open_store

    trial = read_arms(open_store(settings_module.load()), name, since=output.moment("--from", since))
    if as_json:
        output.print_json(trial.as_json())
        return
    table = Table()
    for column in ("prompt", "share", "judged", *FIGURES, "answered", "seconds"):
        table.add_column(column.replace("_", " "), justify="left" if column == "prompt" else "right")
    for arm in trial.arms:
        cells = []
        for figure in (arm.figures[key] for key in FIGURES):
            interval = "" if figure.low is None else f" ({figure.low:.2f} - {figure.high:.2f})"
            cells.append("-" if figure.value is None else f"{figure.value:.2f}{interval}")
        table.add_row(
            arm.prompt,
            ", ".join(f"{share:.0%}" for share in arm.shares),
            str(arm.judged),
            *cells,
            str(arm.figures["false_alarms"].n),
            "-" if arm.seconds_p50 is None else f"{arm.seconds_p50:.2f}",
        )
    output.out.print(table)
    output.out.print(f"[bold]{escape(trial.verdict)}[/]", highlight=False)


def _print_shares(name: str, shares: dict[str, float]) -> None:
    text = ", ".join(f"{name}@{version} {share:.0%}" for version, share in shares.items())
    output.out.print(text, highlight=False)
