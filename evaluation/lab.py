"""The prompt lab in a few calls, for notebooks: open a run, look, try a prompt, compare.

from evaluation import lab
run = lab.open_run("out/eval")
lab.show(run, lab.false_alarms(run)[:6])
trial = lab.try_prompt(run, "incident@1.1.0", limit=20)
lab.compare(trial)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.compare import Comparison, compare_runs
from evaluation.dataset import DatasetError, DatasetRow, rows_hash
from evaluation.outcomes import Clip
from evaluation.report import card, environment
from evaluation.runs import Row, Run
from pipeline import settings as settings_module
from pipeline.types import (
    Candidate,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    SeenObject,
    TriggerScore,
    View,
)

RUN_VARIABLE = "LAB_RUN"
DEFAULT_RUN = Path("out") / "eval"


@dataclass(frozen=True, slots=True)
class Trial:
    """Some candidates of a run as they were judged, and as another prompt or model judges them."""

    before: Run
    after: Run


def open_run(path: Path | str | None = None) -> Run:
    """Open a run: the one given, else the one ``LAB_RUN`` names, else ``out/eval``."""
    return Run.load(path or os.environ.get(RUN_VARIABLE) or DEFAULT_RUN)


def misses(run: Run) -> list[Row]:
    """Candidates of incident clips that nobody would have seen, and the rows of incidents never flagged."""
    lost = [clip for clip in run.clips if clip.truth.escalate and not clip.reached]
    flagged = [dict(one.row) for clip in lost for one in clip.candidates]
    quiet = {clip.truth.clip for clip in lost if not clip.flagged}
    return flagged + [row for row in run.rows if row["truth"]["clip"] in quiet]


def false_alarms(run: Run) -> list[Row]:
    """Candidates of benign clips that reach a person, the surest first."""
    found = [
        dict(one.row)
        for clip in run.clips
        if not clip.truth.escalate
        for one in clip.candidates
        if one.reached
    ]
    return sorted(found, key=lambda row: -(row["score"] or 0.0))


def count_alarms(run: Run, by: str) -> dict[str, tuple[int, int]]:
    """False alarms before and after judgement: candidates of benign clips by ``camera`` or ``event_type``.

    Most before first.
    """
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for clip in _benign(run.clips):
        for one in clip.candidates:
            name = clip.camera if by == "camera" else str(one.row[by])
            before[name] += 1
            after[name] += one.reached
    return {name: (number, after[name]) for name, number in before.most_common()}


def alarms_by_hour(run: Run) -> dict[int, tuple[int, int]]:
    """The same by hour of day (UTC) of the alarm, for candidates whose source told the time."""
    from datetime import UTC, datetime

    before: Counter[int] = Counter()
    after: Counter[int] = Counter()
    for clip in _benign(run.clips):
        for one in clip.candidates:
            if told := one.row.get("wall_time"):
                hour = datetime.fromisoformat(told).astimezone(UTC).hour
                before[hour] += 1
                after[hour] += one.reached
    return {hour: (before[hour], after[hour]) for hour in sorted(before)}


def _benign(clips: Iterable[Clip]) -> list[Clip]:
    return [clip for clip in clips if not clip.truth.escalate]


def show(run: Run, rows: Sequence[Row]) -> Any:
    """Cards with frame, decision and narrative, for the end of a notebook cell."""
    from IPython import display

    page: Any = display.HTML
    made = environment()
    template = made.from_string(
        '{% from "parts.html.j2" import card with context %}<style>{{ style }}</style>'
        '<div class="cards">{% for one in cards %}{{ card(one) }}{% endfor %}</div>'
    )
    return page(template.render(cards=[card(run, row) for row in rows]))


def try_prompt(
    run: Run,
    prompt: str,
    *,
    model: str | None = None,
    rows: Sequence[Row] | None = None,
    limit: int = 20,
    data_dir: Path | None = None,
) -> Trial:
    """Judge some candidates of a run again, here and now, without queue or store.

    Args:
        run: Where the candidates come from.
        prompt: ``ID`` or ``ID@VERSION``.
        model: ``BACKEND[:NAME]``; the run's when omitted.
        rows: Which candidates; the first ``limit``, real and false in turn, when omitted.
        limit: At most so many.
        data_dir: Where the run's key frames are; the run's own when omitted.

    Raises:
        DatasetError: There is no candidate to judge.
        FrameStoreError: Their frames are gone.
    """
    from pipeline.reason import build_reasoner
    from pipeline.rows import scan_row
    from pipeline.store.frames import open_frame_store

    chosen = [row for row in (_mixed(run) if rows is None else rows) if row["candidate_id"]][:limit]
    if not chosen:
        raise DatasetError(f"{run.path} has no candidate to judge", hint="choose another run")
    settings = settings_module.load(
        prompt=prompt, model=model or run.manifest["model"], data_dir=data_dir or _data_dir(run)
    )
    reasoner = build_reasoner(settings, open_frame_store(settings))
    try:
        verdicts = reasoner.judge([candidate_of(row) for row in chosen])
    finally:
        reasoner.close()
    kept = ("clip", "clip_error", "clip_candidates", "brightness", "truth", "thumb")
    judged = [
        {**scan_row(candidate_of(row), verdict), **{key: row.get(key) for key in kept}}
        for row, verdict in zip(chosen, verdicts, strict=True)
    ]
    return Trial(_part(run, chosen, "before"), _part(run, judged, "after"))


def compare(trial: Trial) -> Comparison:
    """What flips, and whether it is more than noise."""
    return compare_runs(trial.before, trial.after)


def candidate_of(row: Row) -> Candidate:
    """The candidate that a row was written for."""
    evidence = row["evidence"]
    return Candidate(
        candidate_id=row["candidate_id"],
        camera=row["camera"],
        source=row["clip"],
        event_type=EventType(row["event_type"]),
        start_s=row["start_s"],
        end_s=row["end_s"],
        trigger=TriggerScore(**row["trigger"]),
        evidence=Evidence(
            objects=tuple(SeenObject(**{**seen, "box": tuple(seen["box"])}) for seen in evidence["objects"]),
            counts=evidence["counts"],
            facts=evidence["facts"],
            note=evidence["note"],
        ),
        key_frames=tuple(
            KeyFrame(
                **{
                    **frame,
                    "view": View(frame["view"]),
                    "moment": Moment(frame["moment"]),
                    "box": tuple(frame["box"]) if frame.get("box") else None,
                }
            )
            for frame in row["frames"]
        ),
        zone=row.get("zone"),
        wall_time=row.get("wall_time"),
    )


def plain(comparison: Comparison) -> str:
    """A comparison as a few lines of text."""
    lines = [comparison.verdict]
    for flip in comparison.flips:
        sides = [side["decision"] if side else "-" for side in (flip.before, flip.after)]
        mark = {True: "better", False: "worse", None: ""}[flip.better]
        lines.append(
            f"{flip.row['truth']['clip']:48} {flip.row['event_type']:18} {sides[0]} -> {sides[1]} {mark}"
        )
    return "\n".join(lines)


def _mixed(run: Run) -> list[Row]:
    real: list[Row] = []
    false: list[Row] = []
    for clip in run.clips:
        (real if clip.truth.escalate else false).extend(dict(one.row) for one in clip.candidates)
    shorter = min(len(real), len(false))
    in_turn = [row for pair in zip(real, false, strict=False) for row in pair]
    return in_turn + real[shorter:] + false[shorter:]


def _part(run: Run, rows: Sequence[Row], name: str) -> Run:
    counts = Counter(row["truth"]["clip"] for row in rows)
    own = [{**row, "clip_candidates": counts[row["truth"]["clip"]]} for row in rows]
    truths = {row["truth"]["clip"]: DatasetRow.model_validate(row["truth"]) for row in rows}
    manifest = {
        **run.manifest,
        "state": "done",
        "dataset": {**run.manifest["dataset"], "sha256": rows_hash(truths.values()), "rows": len(truths)},
        "prompts": [
            {"id": prompt, "sha256": sha256}
            for prompt, sha256 in sorted({(row["prompt"], row["prompt_sha256"]) for row in rows}, key=str)
        ],
        "model_ids": sorted({row["model"] for row in rows if row["model"]}),
    }
    return Run(run.path / name, manifest, tuple(own))


def _data_dir(run: Run) -> Path:
    return Path(run.manifest["settings"]["data_dir"])


__all__ = [
    "Trial",
    "alarms_by_hour",
    "candidate_of",
    "compare",
    "count_alarms",
    "false_alarms",
    "misses",
    "open_run",
    "plain",
    "show",
    "try_prompt",
]
