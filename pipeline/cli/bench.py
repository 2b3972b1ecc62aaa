"""``sitrep bench``: each benchmark reports ratios against something measured in the same run."""

from __future__ import annotations

import importlib
import os
import platform
from typing import Annotated, Any

import typer

from pipeline import settings as settings_module
from pipeline.cli import output

app = typer.Typer(
    no_args_is_help=True, help="Measure speed here, as ratios against a baseline of the same run."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import psutil

    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _run(name: str, as_json: bool, **options: Any) -> None:
    from pipeline.queue.logs import configure

    module = importlib.import_module(f"pipeline.bench.{name}")
    settings = settings_module.load()
    # Log lines go to stderr: standard output is the figures'.
    configure(settings.log_level)
    with output.err.status(f"measuring {name}"):
        figures = module.run(settings, **options)
    figures["machine"] = machine()
    if as_json:
        output.print_json(figures)
        return
    for key, value in figures.items():
        output.out.print(f"{key:28} {value}", highlight=False, soft_wrap=True)


@app.command()
def queue(
    jobs: Annotated[int, typer.Option("-n", min=10, help="Jobs to send each way.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Commit to claimed and to done with a model that does nothing, against a bare Celery task."""
    _run("queue", as_json, jobs=jobs)


@app.command()
def model(
    rounds: Annotated[int, typer.Option("-n", min=1, help="Candidates to judge.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Verdict and narrative of the embedded model, against the same weights in plain torch."""
    _run("model", as_json, rounds=rounds)


@app.command()
def detect(
    rounds: Annotated[int, typer.Option("-n", min=1, help="How often each video is read each way.")] = 3,
    cameras: Annotated[int, typer.Option(min=0, help="Cameras to simulate; 0: none.")] = 8,
    dvr_scan: Annotated[str, typer.Option("--dvr-scan", help="The dvr-scan command to compare with.")] = "",
    as_json: AsJson = False,
) -> None:
    """Stage 1 against decoding alone and dvr-scan, on made 720p video and the bundled clips; many cameras."""
    _run("detect", as_json, rounds=rounds, camera_count=cameras, dvr_scan=dvr_scan)


@app.command("rtsp-soak")
def rtsp_soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 30.0,
    every: Annotated[float, typer.Option(min=10, help="Seconds from one fault to the next.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """An RTSP camera with a fault every half minute: gaps on record, recovery times, memory."""
    _run("rtsp_soak", as_json, minutes=minutes, every_s=every)
