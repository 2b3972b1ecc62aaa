"""Tables of judged candidates on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.cli import output

COLOURS = {"escalate": "bold red", "review": "yellow", "dismiss": "dim"}


def print_reports(rows: Sequence[Mapping[str, Any]], *, title: str = "Situation reports") -> None:
    """One row a candidate: decision, what, where, when, how sure, and the narrative."""
    if not rows:
        output.out.print("no candidates: nothing in these clips raised an alarm")
        return
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("decision", no_wrap=True)
    table.add_column("clip", overflow="fold", ratio=2)
    table.add_column("alarm", no_wrap=True)
    table.add_column("P(real)", justify="right", no_wrap=True)
    table.add_column("situation report", overflow="fold", ratio=6)
    table.add_column("ms", justify="right", no_wrap=True)
    for row in rows:
        decision = str(row["decision"] or "-")
        colour = COLOURS.get(decision, "white")
        when = f"{row['start_s']:.1f}-{row['end_s']:.1f} s"
        said = row["narrative"] or row["error"] or ""
        text = f"[bold]{escape(row['title'] or '')}[/]\n{escape(said)}\n[dim]{escape(row['reason'] or '')}[/]"
        score = "-" if row["score"] is None else f"{row['score']:.2f}"
        times = row["timings_ms"]
        spent = sum(times[name] or 0.0 for name in ("verdict", "narrative"))
        table.add_row(
            f"[{colour}]{decision}[/]\n{row['priority'] or ''}",
            escape(Path(row["clip"]).name),
            f"{row['event_type']}\n{when}",
            score,
            text.strip(),
            f"{spent:.0f}",
        )
    output.out.print(table)
