"""``sitrep watch``: cameras as long as they run, one line a verdict."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipeline import settings as settings_module
from pipeline.cli import output
from pipeline.cli.tables import COLOURS


def watch(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="rtsp:// or http:// addresses, webcams (0, /dev/video0), clips, folders; NAME=SOURCE."
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep looking for new clips in the folders named.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="BACKEND[:NAME].")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Prompt pack, ID[@VERSION].")] = None,
    detector: Annotated[str | None, typer.Option("--detector", help="ssd, or FILE.onnx.")] = None,
) -> None:
    """Watch cameras (or clips as if they were) until Ctrl-C; print each verdict as it comes."""
    settings = settings_module.load(model=model, prompt=prompt, detector=detector)

    from models import registry
    from pipeline.reason import build_reasoner
    from pipeline.store.frames import open_frame_store
    from pipeline.watch import Watch

    registry.check(settings.model)
    build_reasoner(settings, open_frame_store(settings)).check()
    watching = Watch(settings, sources, on_row=_print, on_fault=output.fail, on_state=_tell, follow=follow)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watching.stop())
    output.err.print(f"watching {len(sources)} sources; Ctrl-C stops", highlight=False)
    watching.run()
    if watching.faults:
        raise typer.Exit(output.ExitCode.SOME_FAILED)


def _tell(camera: str, state: str, reason: str) -> None:
    said = f"camera {camera}: {state}" + (f", {reason}" if reason else "")
    output.err.print(escape(said), highlight=False, soft_wrap=True)


def _print(row: dict[str, Any]) -> None:
    decision = str(row["decision"] or "shed")
    colour = COLOURS.get(decision, "white")
    score = "-" if row["score"] is None else f"{row['score']:.2f}"
    said = row["narrative"] or row["error"] or ""
    output.out.print(
        f"[{colour}]{decision:8}[/] {escape(Path(row['camera']).name)} {row['event_type']} "
        f"{row['start_s']:.1f}-{row['end_s']:.1f} s P(real) {score}: {escape(said)}",
        highlight=False,
        soft_wrap=True,
    )
