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
    table.add_column("alarm", overflow="fold", ratio=2)
    table.add_column("situation report", overflow="fold", ratio=5)
    for row in rows:
        table.add_row(_decision(row), _alarm(row), _report(row))
    output.out.print(table)


def _decision(row: Mapping[str, Any]) -> str:
    decision = str(row["decision"] or "-")
    colour = COLOURS.get(decision, "white")
    score = "" if row["score"] is None else f"\nP(real) {row['score']:.2f}"
    return f"[{colour}]{decision}[/]\n{row['priority'] or ''}{score}"


def _alarm(row: Mapping[str, Any]) -> str:
    times = row["timings_ms"]
    spent = sum(times[name] or 0.0 for name in ("verdict", "narrative"))
    judged = f"\n[dim]judged in {spent / 1e3:.1f} s[/]" if row["decision"] else ""
    when = f"{row['start_s']:.1f}-{row['end_s']:.1f} s"
    return f"[bold]{row['event_type']}[/] {when}\n{escape(Path(row['clip']).name)}{judged}"


def _report(row: Mapping[str, Any]) -> str:
    said = row["narrative"] or row["error"] or row["evidence"]["note"]
    parts = [f"[bold]{escape(row['title'])}[/]" if row["title"] else "", escape(said)]
    parts.append(f"[dim]{escape(row['reason'])}[/]" if row["reason"] else "")
    return "\n".join(part for part in parts if part)
