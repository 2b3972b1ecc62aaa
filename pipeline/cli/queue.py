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


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Depth and age of each lane, dead letters, alerts, workers seen, broker."""
    from pipeline.queue.api import Queue

    # The table says how the broker is; a log line beside it would say it twice.
    output.set_up_logging("ERROR")
    with Queue(settings_module.load()) as queue:
        found = queue.stats()
    if as_json:
        output.print_json(found.as_dict())
        return
    table = Table(title="Queue of record", title_justify="left")
    # A lane a column: the states side by side would not fit into 80 characters.
    table.add_column("", no_wrap=True)
    for name in found.lanes:
        table.add_column(name, justify="right", no_wrap=True)
    lanes = list(found.lanes.values())
    for state in next(iter(lanes)).by_state:
        table.add_row(state, *(str(lane.by_state[state]) for lane in lanes))
    table.add_row("oldest waits", *(f"{lane.oldest_s:.0f} s" for lane in lanes))
    table.add_row(
        "messages on broker", *("-" if lane.on_broker is None else str(lane.on_broker) for lane in lanes)
    )
    output.out.print(table)
    broker = "up" if found.broker_up else "not running (jobs are kept and wait)"
    alerts = ", ".join(f"{count} {state}" for state, count in found.alerts.items()) or "none"
    output.out.print(f"broker {broker}; workers seen lately: {found.workers}; alerts: {alerts}")


@dead_app.command("list")
def dead_list(as_json: AsJson = False) -> None:
    """Dead letters, newest first, with their last error."""
    from pipeline.queue.api import Queue

    with Queue(settings_module.load()) as queue:
        jobs = queue.dead_list()
    if as_json:
        output.print_json(
            [
                {
                    "job_id": job.job_id,
                    "candidate_id": job.candidate_id,
                    "camera": job.camera,
                    "attempts": job.attempts,
                    "error": job.error,
                    "error_source": job.error_source,
                    "finished_at": job.finished_at,
                }
                for job in jobs
            ]
        )
        return
    if not jobs:
        output.out.print("no dead letters")
        return
    table = Table(title=f"{len(jobs)} dead letters", title_justify="left")
    for column in ("job", "camera", "attempts", "last error"):
        table.add_column(column, overflow="fold")
    for job in jobs:
        table.add_row(job.job_id, job.camera, str(job.attempts), job.error or "")
    output.out.print(table)


@dead_app.command("requeue")
def dead_requeue(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Job ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
) -> None:
    """Give dead letters another round of attempts."""
    requeue(job_ids, everything)


@app.command()
def requeue(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Job ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
) -> None:
    """Give dead letters another round of attempts (same as 'dead requeue')."""
    if bool(job_ids) == everything:
        raise ConfigError("name job ids, or --all", hint="see: sitrep queue dead list")
    from pipeline.queue.api import Queue

    with Queue(settings_module.load()) as queue:
        count = queue.requeue(job_ids or None, who="command line")
    output.out.print(f"{count} requeued")


@app.command()
def cancel(run_id: Annotated[str, typer.Argument(help="Run whose waiting jobs are cancelled.")]) -> None:
    """Cancel the waiting jobs of a run; a running one ends by itself."""
    from pipeline.queue.api import Queue

    with Queue(settings_module.load()) as queue:
        output.out.print(f"{queue.cancel(run_id, who='command line')} cancelled")
