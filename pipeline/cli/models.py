"""``sitrep models``: which models can be used, and whether one works here."""

from __future__ import annotations

import time
from typing import Annotated, Any

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
    result = examine(model)
    if as_json:
        output.print_json(result)
        return
    output.out.print(f"model    {escape(str(result['model']))}", highlight=False, soft_wrap=True)
    output.out.print(f"load     {result['load_s']:.1f} s", highlight=False)
    log_odds, score_ms = result["log_odds"], result["score_ms"]
    output.out.print(f"score    {score_ms:.0f} ms, log-odds {log_odds:+.2f}", highlight=False)
    title = escape(str(result["title"]))
    output.out.print(f"report   {result['narrative_ms']:.0f} ms, title '{title}'", highlight=False)
    output.out.print("[green]the model works[/]")


def examine(model_ref: str | None = None) -> dict[str, Any]:
    """Load a model and put one built-in picture before it.

    Raises:
        SitrepError: What is wrong, with how to mend it.
    """
    import math

    from models import registry
    from pipeline.errors import ModelError, ReplyError
    from pipeline.reason.builtin import builtin_inquiry
    from pipeline.reason.parse import parse_report

    settings = settings_module.load(model=model_ref)
    started = time.perf_counter()
    model = registry.create(settings.model, settings)
    try:
        inquiry = builtin_inquiry(settings)
        first = model.score([inquiry])[0]
        loaded = time.perf_counter()
        if not math.isfinite(first.log_odds):
            raise ReplyError(
                f"model {model.model_id} scores {first.log_odds}", hint="its weights are damaged"
            )
        score = model.score([inquiry])[0]
        scored = time.perf_counter()
        report = parse_report(model.narrate(inquiry, score), inquiry.language)
        told = time.perf_counter()
    except NotImplementedError as error:
        raise ModelError(f"model back end {settings.model} cannot score", hint="use another one") from error
    finally:
        model.close()
    return {
        "model": model.model_id,
        "load_s": loaded - started,
        "log_odds": score.log_odds,
        "score_ms": (scored - loaded) * 1e3,
        "narrative_ms": (told - scored) * 1e3,
        "title": report.title,
        "summary": report.summary,
    }
