"""``sitrep queue``: what waits, what is dead, and how to try again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Look into the queue of record; mend dead letters.")
dead_app = typer.Typer(no_args_is_help=True, help="Jobs that failed too often.")
app.add_typer(dead_app, name="dead")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
