"""What a re-score would do: which candidates, which of them are done already, how many are left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Engine, select

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.store import candidates
from pipeline.store.engine import read
from pipeline.store.jobs import job_key
from pipeline.store.schema import FINISHED, JobState, candidate_frames, frames, jobs
from pipeline.types import Candidate, EventType

PAGE = 500
AGAIN = (JobState.SHED, JobState.CANCELLED)
"""Finished without a judgement: asked for again."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which stored candidates.

    Attributes:
        since: Occurred at or after this moment.
        until: Occurred before this moment.
        camera: Of this camera.
        event_types: Of these types; all when empty.
        run_id: First seen by this run.
        source_ids: Only these candidates (those found in a tree of clips); ``None``: no such limit.
    """

    since: datetime | None = None
    until: datetime | None = None
    camera: str | None = None
    event_types: tuple[EventType, ...] = ()
    run_id: str | None = None
    source_ids: frozenset[str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data for the run's record."""
        return {
            "from": self.since.isoformat() if self.since else None,
            "to": self.until.isoformat() if self.until else None,
            "camera": self.camera,
            "event_types": [str(one) for one in self.event_types],
            "run": self.run_id,
            "candidates": _digest(sorted(self.source_ids)) if self.source_ids is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """What to judge with: a model reference, a pinned prompt version and the hash of its text.

    Attributes:
        params: What the site adds to the prompt (site context, overrides), by hash; empty when nothing. With
            another site context the same prompt asks another question, and the archive is judged again.
    """

    model: str
    prompt: str
    prompt_sha256: str
    params: Mapping[str, str] = field(default_factory=dict)

    def key(self, candidate: Candidate) -> str:
        """Key of the job that judges a candidate with this."""
        return job_key(candidate, self.model, self.prompt, self.prompt_sha256, self.params)


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of a re-score, before or after any part of it ran.

    Attributes:
        run_id: Name of the run; the same selection and target always give the same one.
        total: Candidates selected.
        judged: Those that have their verdict of the target already.
        waiting: Those whose job waits or runs.
        missing: Those whose frames were removed by retention: they cannot be judged any more.
        left: Those still to be submitted.
    """

    run_id: str
    total: int
    judged: int
    waiting: int
    missing: int
    left: int


def resolve_target(settings: Settings) -> Target:
    """Pin the prompt's version and text of some settings.

    Raises:
        ConfigError: The pack is unknown, or its active versions share the traffic.
    """
    from prompts.loader import PromptLibrary
    from prompts.pack import SHIPPED

    library = PromptLibrary(settings.data_dir / "prompts", SHIPPED)
    name, _, version = settings.prompt.partition("@")
    if not version:
        split = library.active(name)
        if len(split) > 1:
            arms = ", ".join(f"{name}@{arm}" for arm in split)
            raise ConfigError(f"'{name}' is split between versions", hint=f"name one with --prompt: {arms}")
        version = next(iter(split))
    pack = library.load(name, version)
    return Target(settings.model, pack.ref, pack.sha256, _of_the_site(settings))


def _of_the_site(settings: Settings) -> dict[str, str]:
    from prompts.overrides import OVERRIDES_FILE, load_overrides

    found = {"site_context": _digest(settings.site_context)} if settings.site_context else {}
    overrides = load_overrides(settings.data_dir / "prompts" / OVERRIDES_FILE)
    if changes := overrides.model_dump(mode="json", exclude_defaults=True):
        found["overrides"] = _digest(changes)
    return found


def run_id_of(selection: Selection, target: Target) -> str:
    """The run of a selection and target: asking for the same again goes on with the same run."""
    identity: list[Any] = [selection.as_json(), target.model, target.prompt, target.prompt_sha256]
    # Only where there is something: runs from before this was told apart keep their names.
    identity += [dict(target.params)] if target.params else []
    return "rescore-" + _digest(identity)[:16]


def make_plan(engine: Engine, selection: Selection, target: Target) -> Plan:
    """Count what a re-score has done and what is left."""
    total = judged = waiting = missing = left = 0
    gone = _without_frames(engine)
    for page in pages(selected(engine, selection)):
        states = known_states(engine, [target.key(candidate) for candidate in page])
        for candidate in page:
            total += 1
            state = states.get(target.key(candidate))
            if state in FINISHED and state not in AGAIN:
                judged += 1
            elif state in (JobState.PENDING, JobState.RUNNING):
                waiting += 1
            elif candidate.candidate_id in gone:
                missing += 1
            else:
                left += 1
    return Plan(run_id_of(selection, target), total, judged, waiting, missing, left)


def to_submit(engine: Engine, selection: Selection, target: Target) -> Iterator[Candidate]:
    """Candidates that have no job of the target yet, or one that ended without a judgement."""
    gone = _without_frames(engine)
    for page in pages(selected(engine, selection)):
        states = known_states(engine, [target.key(candidate) for candidate in page])
        for candidate in page:
            state = states.get(target.key(candidate))
            if (state is None or state in AGAIN) and candidate.candidate_id not in gone:
                yield candidate


def selected(engine: Engine, selection: Selection) -> Iterator[Candidate]:
    """The stored candidates of a selection, in order of their id."""
    found = candidates.find(
        engine,
        since=selection.since,
        until=selection.until,
        camera=selection.camera,
        event_types=selection.event_types,
        run_id=selection.run_id,
    )
    wanted = selection.source_ids
    return (one for one in found if wanted is None or one.candidate_id in wanted)


def pages(found: Iterator[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    """Candidates in tuples of at most :data:`PAGE`."""
    while page := tuple(islice(found, PAGE)):
        yield page


def known_states(engine: Engine, keys: Sequence[str]) -> dict[str, JobState]:
    """State of the jobs of some keys, at most :data:`PAGE` of them."""
    query = select(jobs.c.job_key, jobs.c.state).where(jobs.c.job_key.in_(keys))
    with read(engine) as connection:
        return {row.job_key: JobState(row.state) for row in connection.execute(query)}


def _without_frames(engine: Engine) -> frozenset[str]:
    query = (
        select(candidate_frames.c.candidate_id)
        .join(frames, frames.c.sha256 == candidate_frames.c.sha256)
        .where(frames.c.removed_at.is_not(None))
        .distinct()
    )
    with read(engine) as connection:
        return frozenset(connection.execute(query).scalars())


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
