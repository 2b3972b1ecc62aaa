"""What a re-score decides otherwise than before, as data, as a page and for the terminal."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Engine, select

from pipeline.errors import FrameStoreError
from pipeline.interfaces import FrameStore
from pipeline.rescore.plan import Selection, Target, pages, selected
from pipeline.settings import Settings
from pipeline.store.engine import read
from pipeline.store.schema import incidents, jobs, verdicts
from pipeline.types import Action, Candidate, Moment, View

MAX_SHOWN = 300
"""Flips on the page; all of them are in the JSON file beside it."""


@dataclass(frozen=True, slots=True)
class Flip:
    """One candidate decided differently; ``answer`` is the operator's, if somebody gave one."""

    candidate: Candidate
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    answer: str | None

    @property
    def gained(self) -> bool | None:
        """``True``: a person sees it only now; ``False``: no longer; ``None``: both times."""
        was, now = (side["action"] != Action.DISMISS for side in (self.before, self.after))
        return None if was == now else now


@dataclass(frozen=True, slots=True)
class Flips:
    """All flips of a run.

    Attributes:
        compared: Candidates with a verdict before and after.
        unchanged: Those decided as before.
        table: Number of candidates by (action before, action after).
        flips: What changed, in order of candidate id.
    """

    compared: int
    unchanged: int
    table: Mapping[tuple[str, str], int]
    flips: tuple[Flip, ...]

    @property
    def gained(self) -> int:
        """Candidates that reach a person only now."""
        return sum(flip.gained is True for flip in self.flips)

    @property
    def lost(self) -> int:
        """Candidates that no longer reach a person."""
        return sum(flip.gained is False for flip in self.flips)


def find_flips(engine: Engine, selection: Selection, target: Target) -> Flips:
    """Compare each candidate's verdict of the target with its live one, else with its newest other one."""
    table: Counter[tuple[str, str]] = Counter()
    flips = []
    for page in pages(selected(engine, selection)):
        of_key = {target.key(candidate): candidate for candidate in page}
        sides = _sides(engine, of_key)
        answers = _answers(engine, [candidate.candidate_id for candidate in page])
        for candidate in page:
            before, after = sides.get(candidate.candidate_id, (None, None))
            if before is None or after is None:
                continue
            table[before["action"], after["action"]] += 1
            if before["action"] != after["action"]:
                flips.append(Flip(candidate, before, after, answers.get(candidate.candidate_id)))
    compared = sum(table.values())
    return Flips(compared, compared - len(flips), dict(table), tuple(flips))


def _sides(
    engine: Engine, of_key: Mapping[str, Candidate]
) -> dict[str, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    ids = [candidate.candidate_id for candidate in of_key.values()]
    query = (
        select(
            verdicts.c.candidate_id,
            verdicts.c.live,
            verdicts.c.action,
            verdicts.c.score,
            verdicts.c.narrative,
            verdicts.c.prompt,
            verdicts.c.model,
            jobs.c.job_key,
        )
        .join(jobs, jobs.c.job_id == verdicts.c.job_id)
        .where(verdicts.c.candidate_id.in_(ids))
        .order_by(verdicts.c.live, verdicts.c.verdict_id)
    )
    sides: dict[str, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]] = {}
    with read(engine) as connection:
        for row in connection.execute(query).mappings():
            before, after = sides.get(row["candidate_id"], (None, None))
            # Sorted with the live one last, so that it wins over every other version.
            if row["job_key"] in of_key:
                after = dict(row)
            else:
                before = dict(row)
            sides[row["candidate_id"]] = (before, after)
    return sides


def _answers(engine: Engine, candidate_ids: list[str]) -> dict[str, str]:
    query = select(incidents.c.candidate_id, incidents.c.state).where(
        incidents.c.candidate_id.in_(candidate_ids), incidents.c.state != "new"
    )
    with read(engine) as connection:
        return {row.candidate_id: row.state for row in connection.execute(query)}


def flips_file(settings: Settings, run_id: str) -> Path:
    """Where the flips of a run are written as data; the page lies beside it."""
    return settings.data_dir / "rescore" / run_id / "flips.json"


def write_flips(flips: Flips, target: Target, file: Path, frames: FrameStore) -> dict[str, Any]:
    """Write ``flips.json`` and ``flips.html`` beside it; gives what the file says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [_row(flip) for flip in flips.flips]
    about = {
        "target": {"model": target.model, "prompt": target.prompt, "prompt_sha256": target.prompt_sha256},
        "compared": flips.compared,
        "unchanged": flips.unchanged,
        "now_reach_a_person": flips.gained,
        "no_longer_reach_a_person": flips.lost,
        "table": [{"before": a, "after": b, "n": n} for (a, b), n in sorted(flips.table.items())],
    }
    made = Environment(
        loader=PackageLoader("pipeline.rescore", "templates"), autoescape=True, undefined=StrictUndefined
    )
    shown = [
        {**row, "image": _picture(flip.candidate, frames)}
        for row, flip in zip(rows[:MAX_SHOWN], flips.flips, strict=False)
    ]
    page = made.get_template("flips.html").render(about=about, flips=shown, hidden=len(rows) - len(shown))
    file.with_suffix(".html").write_text(page, encoding="utf-8")
    # The data last: where they are, the report is whole.
    content = {**about, "flips": rows}
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return content


def _row(flip: Flip) -> dict[str, Any]:
    def side(verdict: Mapping[str, Any]) -> dict[str, Any]:
        said = verdict["narrative"] or {}
        return {
            "decision": verdict["action"],
            "score": verdict["score"],
            "prompt": verdict["prompt"],
            "model": verdict["model"],
            "title": said.get("title", ""),
            "narrative": said.get("narrative", ""),
        }

    candidate = flip.candidate
    return {
        "candidate_id": candidate.candidate_id,
        "camera": candidate.camera,
        "clip": candidate.source,
        "event_type": str(candidate.event_type),
        "start_s": candidate.start_s,
        "answer": flip.answer,
        "gained": flip.gained,
        "before": side(flip.before),
        "after": side(flip.after),
    }


def _picture(candidate: Candidate, frames: FrameStore) -> str:
    ranked = sorted(
        candidate.key_frames, key=lambda frame: (frame.view is not View.FULL, frame.moment is not Moment.PEAK)
    )
    try:
        data = frames.get(ranked[0].sha256) if ranked else b""
    except FrameStoreError:
        data = b""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode() if data else ""
