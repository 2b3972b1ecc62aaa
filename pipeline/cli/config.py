"""``sitrep config``: show what is in force and where it came from."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli import output

app = typer.Typer(no_args_is_help=True, help="Show the settings in force.")


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every setting, secrets masked."""
    current = settings_module.load()
    values = settings_module.masked(current)
    if as_json:
        output.print_json(values)
        return
    path = settings_module.config_file()
    table = Table(title=f"Settings (file: {path if path.is_file() else 'none'})", title_justify="left")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("changed")
    table.add_column("what it is", overflow="fold")
    for name, field in settings_module.Settings.model_fields.items():
        changed = "yes" if name in current.model_fields_set else ""
        shown = "" if values[name] is None else str(values[name])
        table.add_row(name, shown, changed, field.description or "")
    output.out.print(table)
