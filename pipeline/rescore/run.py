"""The loop of a re-score: keep the archive lane fed, never full, and watch for wishes and edits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select

from pipeline.errors import PromptError
from pipeline.queue.api import Queue
from pipeline.rescore import control
from pipeline.rescore.plan import Plan, Selection, Target, make_plan, resolve_target, to_submit
from pipeline.settings import Settings
from pipeline.store.engine import read
from pipeline.store.schema import JobState, RunKind, RunState, verdicts
from pipeline.store.schema import jobs as jobs_table
from pipeline.types import Lane
from prompts.overrides import OVERRIDES_FILE

WINDOW = 400
"""Jobs of a run that wait at one time: few enough to be taken back in a moment and never to be shed."""
POLL_S = 0.25
LOOK_S = 1.0
"""How often wishes and the prompt's text are looked at."""


class Ending(StrEnum):
    """How a call of :func:`rescore` ended."""

    DONE = "done"
    PAUSED = "paused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, where the run stands, and what went wrong.

    Attributes:
        failed: Candidates of the run whose judgement failed (they are ``review``).
        other_text: Verdicts that were made with another text of the prompt than the run's; not looked at
            where overrides change the text from place to place.
    """

    ending: Ending
    plan: Plan
    failed: int
    other_text: int
    seconds: float


def rescore(
    queue: Queue,
    settings: Settings,
    selection: Selection,
    target: Target,
    *,
    label: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> Outcome:
    """Judge all candidates of a selection that have no verdict of the target yet.

    Killed at any moment, the same call goes on where it was: what was judged is in the database, and
    jobs that wait or run are found by their key.

    Args:
        queue: The queue; workers are somebody else's business.
        settings: Settings the target was resolved from.
        selection: Which candidates.
        target: What to judge with.
        label: What people read in the list of runs.
        on_progress: Told how many of how many candidates have their verdict.
        check: Called often; may raise to stop (a service died).

    Raises:
        PromptError: The text of the prompt version or the overrides were edited while the run went on.
    """
    started = time.monotonic()
    plan = make_plan(queue.engine, selection, target)
    params = {"selection": selection.as_json(), "target": [target.model, target.prompt, target.prompt_sha256]}
    queue.start_run(plan.run_id, RunKind.ARCHIVE, label=label or target.prompt, params=params)
    feed = to_submit(queue.engine, selection, target)
    window = max(1, min(WINDOW, settings.max_pending // 2, settings.max_pending_per_camera // 2))
    exhausted, next_look = plan.left == 0, 0.0
    base, before = plan.judged, _finished(queue, plan.run_id)
    reachable = plan.total - plan.missing
    while True:
        check()
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + LOOK_S
            paused, cancelled = control.wish(queue.engine, plan.run_id)
            if paused or cancelled:
                ending = Ending.CANCELLED if cancelled else Ending.PAUSED
                # The wish took back what waited then; this takes back what was submitted since.
                state = RunState.CANCELLED if cancelled else RunState.RUNNING
                control.take_back(queue, plan.run_id, state)
                return _outcome(queue, selection, target, ending, started)
            _same_text(settings, target)
        counts = queue.progress(plan.run_id)
        waiting = counts.get(JobState.PENDING, 0) + counts.get(JobState.RUNNING, 0)
        done = base + sum(counts.get(state, 0) for state in (JobState.DONE, JobState.DEAD)) - before
        on_progress(min(done, reachable), reachable)
        room = 0 if exhausted else window - counts.get(JobState.PENDING, 0)
        if room > 0:
            exhausted = not _submit(queue, feed, target, plan.run_id, room)
            continue
        if exhausted and waiting == 0:
            rest = make_plan(queue.engine, selection, target)
            if rest.waiting == 0 and rest.left == 0:
                break
            # Jobs of other runs under the same key, and what was shed or taken back meanwhile.
            feed, exhausted = to_submit(queue.engine, selection, target), rest.left == 0
        time.sleep(POLL_S)
    queue.finish_run(plan.run_id, RunState.DONE)
    outcome = _outcome(queue, selection, target, Ending.DONE, started)
    on_progress(outcome.plan.judged, reachable)
    return outcome


def _submit(queue: Queue, feed: object, target: Target, run_id: str, room: int) -> bool:
    """Submit up to ``room`` candidates; whether there may be more."""
    for _ in range(room):
        candidate = next(feed, None)  # type: ignore[call-overload]
        if candidate is None:
            return False
        queue.submit(
            candidate,
            lane=Lane.ARCHIVE,
            model=target.model,
            prompt=target.prompt,
            prompt_sha256=target.prompt_sha256,
            params=target.params,
            run_id=run_id,
            live=False,
        )
    return True


def _same_text(settings: Settings, target: Target) -> None:
    now = resolve_target(settings.model_copy(update={"prompt": target.prompt}))
    if now.prompt_sha256 != target.prompt_sha256:
        raise PromptError(
            f"{target.prompt} was edited while the archive was being judged with it",
            hint="restore its text to go on, or start again with a new version",
        )
    if now.params != target.params:
        raise PromptError(
            "the prompt overrides were edited while the archive was being judged with them",
            hint="restore them to go on, or give the command again to judge all with the new ones",
        )


def _finished(queue: Queue, run_id: str) -> int:
    counts = queue.progress(run_id)
    return counts.get(JobState.DONE, 0) + counts.get(JobState.DEAD, 0)


def _outcome(queue: Queue, selection: Selection, target: Target, ending: Ending, started: float) -> Outcome:
    plan = make_plan(queue.engine, selection, target)
    of_run = (
        select(func.count())
        .select_from(verdicts)
        .join(jobs_table, jobs_table.c.job_id == verdicts.c.job_id)
        .where(jobs_table.c.run_id == plan.run_id)
    )
    with read(queue.engine) as connection:
        failed = connection.execute(of_run.where(verdicts.c.state == "failed")).scalar_one()
        other = connection.execute(
            of_run.where(
                verdicts.c.state != "failed",
                verdicts.c.prompt_sha256 != "",
                verdicts.c.prompt_sha256 != target.prompt_sha256,
            )
        ).scalar_one()
    overridden = (queue.settings.data_dir / "prompts" / OVERRIDES_FILE).exists()
    return Outcome(ending, plan, int(failed), 0 if overridden else int(other), time.monotonic() - started)
