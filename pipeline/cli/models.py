"""``sitrep models``: which models can be used, and whether one works here."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli import output

app = typer.Typer(no_args_is_help=True, help="List model back ends; check that a model works.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the model back ends and the one that is set."""
    from models.registry import back_ends

    chosen = settings_module.load().model
    rows = [
        {"backend": name, "about": about, "chosen": chosen.partition(":")[0] == name}
        for name, about in back_ends().items()
    ]
    if as_json:
        output.print_json(rows)
        return
    table = Table(title=f"Model back ends (set: {escape(chosen)})", title_justify="left")
    for column in ("backend", "about", "set"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(str(row["backend"]), str(row["about"]), "yes" if row["chosen"] else "")
    output.out.print(table)


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(help="BACKEND[:NAME]; the one that is set.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a model, score a built-in image, read a report; says in one line what is wrong."""
    from pipeline.reason.examine import examine

    result = examine(settings_module.load(model=model))
    if as_json:
        output.print_json(dataclasses.asdict(result))
        return
    output.out.print(f"model    {escape(result.model)}", highlight=False, soft_wrap=True)
    output.out.print(f"load     {result.load_s:.1f} s", highlight=False)
    output.out.print(f"score    {result.score_ms:.0f} ms, log-odds {result.log_odds:+.2f}", highlight=False)
    output.out.print(
        f"report   {result.narrative_ms:.0f} ms, title '{escape(result.title)}'", highlight=False
    )
    output.out.print("[green]the model works[/]")
