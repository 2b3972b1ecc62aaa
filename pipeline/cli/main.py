"""``sitrep``: one command, errors as one line each, exit codes that scripts can rely on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from pipeline import __version__
from pipeline import settings as settings_module
from pipeline.cli import (
    bench,
    config,
    demo,
    doctor,
    evaluate,
    frigate,
    models,
    output,
    prompts,
    queue,
    scan,
    up,
    watch,
    worker,
)
from pipeline.cli.output import ExitCode
from pipeline.errors import SitrepError

app = typer.Typer(
    name="sitrep",
    help="Turns camera alarms into judged situation reports.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("scan")(scan.scan)
app.command("watch")(watch.watch)
app.command("up")(up.up)
app.command("worker")(worker.worker)
app.command("frigate")(frigate.frigate)
app.command("doctor")(doctor.doctor)
app.add_typer(queue.app, name="queue")
app.add_typer(prompts.app, name="prompts")
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.add_typer(config.app, name="config")
evaluate.register(app)


def _version(asked: bool) -> None:
    if asked:
        output.out.print(f"sitrep {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turns camera alarms into judged situation reports."""


def _quiet_libraries() -> None:
    # None of these may speak to the network or to the user's terminal on its own.
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    os.environ.setdefault("LANGCHAIN_TRACING_V2", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")


def _asked_to_end(_number: int, _frame: FrameType | None) -> None:
    # As an exception, so that the services that were started are stopped on the way out.
    sys.exit(ExitCode.TERMINATED)


def main() -> None:
    """Entry point of the console script."""
    _quiet_libraries()
    signal.signal(signal.SIGTERM, _asked_to_end)
    try:
        output.set_up_logging(settings_module.load().log_level)
        app()
    except SitrepError as error:
        output.fail(error)
        sys.exit(output.exit_code_of(error))
    except KeyboardInterrupt:
        output.err.print("interrupted; what was submitted is kept and goes on with the next start")
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except Exception as error:
        output.unexpected(error)
        sys.exit(ExitCode.UNEXPECTED)


if __name__ == "__main__":
    main()
