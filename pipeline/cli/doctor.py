"""``sitrep doctor``: what works here, what does not, and how to mend it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.markup import escape

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.doctor import Check, Health, examine

MARKS = {Health.OK: "[green]ok  [/]", Health.WARN: "[yellow]warn[/]", Health.BAD: "[bold red]bad [/]"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check machine, data directory, database, broker, prompt, policy, detectors and model."""
    found: list[Check] = []
    with output.err.status("checking") as status:
        for check in examine(settings_module.load()):
            found.append(check)
            status.update(f"checked {check.name}")
            if not as_json:
                output.out.print(
                    f"{MARKS[check.health]} {check.name:15} {escape(check.said)}", soft_wrap=True
                )
                if check.hint and check.health is not Health.OK:
                    output.out.print(f"                     -> {escape(check.hint)}", soft_wrap=True)
    bad = [check.name for check in found if check.health is Health.BAD]
    if as_json:
        output.print_json([dataclasses.asdict(check) for check in found])
    elif bad:
        output.out.print(f"\n{len(bad)} of {len(found)} checks failed: {', '.join(bad)}")
    if bad:
        raise typer.Exit(output.ExitCode.UNAVAILABLE)
