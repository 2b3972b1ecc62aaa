"""The flips of a comparison as a page and as a terminal table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from evaluation.compare import Comparison, Flip
from evaluation.report import data_url, environment
from evaluation.runs import Row, Run


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write ``compare.html``, self-contained."""
    flips = [_flip(comparison, flip) for flip in comparison.flips]
    page = (
        environment()
        .get_template("compare.html.j2")
        .render(
            a=_side(comparison.a),
            b=_side(comparison.b),
            verdict=comparison.verdict,
            differences=comparison.differences,
            tests=comparison.tests,
            flips=flips,
            better=sum(flip.better is True for flip in comparison.flips),
            worse=sum(flip.better is False for flip in comparison.flips),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def flips_table(comparison: Comparison, *, most: int = 30) -> Table:
    """The first flips as a table for the terminal, those away from the truth first."""
    from rich.markup import escape

    table = Table(title=f"{len(comparison.flips)} candidates decided differently", title_justify="left")
    for heading in ("clip", "type", "truth", f"A: {comparison.a.name}", f"B: {comparison.b.name}", ""):
        table.add_column(heading, overflow="fold")
    marks = {True: "[green]better[/]", False: "[red]worse[/]", None: ""}
    for flip in comparison.flips[:most]:
        row = flip.row
        table.add_row(
            escape(row["truth"]["clip"]),
            f"{row['event_type']} {row['start_s']:.1f} s",
            row["truth"]["label"],
            _said(flip.before),
            _said(flip.after),
            marks[flip.better],
        )
    return table


def _said(row: Row | None) -> str:
    if row is None:
        return "-"
    score = "" if row.get("score") is None else f" {row['score']:.2f}"
    return f"{row.get('decision') or 'no decision'}{score}"


def _side(run: Run) -> dict[str, Any]:
    prompts = ", ".join(one["id"] for one in run.manifest["prompts"]) or run.manifest["prompt"]
    models = ", ".join(run.manifest["model_ids"]) or run.manifest["model"]
    return {"name": run.name, "about": f"prompt {prompts}, model {models}"}


def _flip(comparison: Comparison, flip: Flip) -> dict[str, Any]:
    row = flip.row
    picture = (comparison.b if flip.after else comparison.a).thumb(row)

    def side(one: Row | None) -> dict[str, Any] | None:
        return one and {key: one.get(key) for key in ("decision", "score", "title", "narrative")}

    return {
        "image": data_url(picture),
        "clip": row["truth"]["clip"],
        "label": row["truth"]["label"],
        "event_type": row["event_type"],
        "start_s": row["start_s"],
        "better": flip.better,
        "a": side(flip.before),
        "b": side(flip.after),
    }


def differences_table(comparison: Comparison) -> Table:
    """The figures of both runs with their paired intervals."""
    table = Table()
    for heading in ("metric", "A", "B", "B - A", "95 % interval", "reading"):
        words = heading in ("metric", "reading")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "reading")
    for one in comparison.differences:
        interval = "-" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
        cells = ["-" if value is None else f"{value:.3f}" for value in (one.before, one.after, one.delta)]
        table.add_row(
            one.metric, *cells, interval, "differs" if one.evidence else "no evidence of a difference"
        )
    return table
