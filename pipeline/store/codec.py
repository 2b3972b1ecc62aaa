"""Between dataclasses and rows: what a candidate or verdict looks like in JSON columns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, overload

from sqlalchemy import RowMapping

from pipeline.store.schema import utcnow
from pipeline.types import (
    Action,
    Candidate,
    Criterion,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    Narrative,
    Priority,
    Provenance,
    SeenObject,
    TriggerScore,
    Verdict,
    VerdictState,
    View,
)

Row = Mapping[str, Any] | RowMapping


def plain(value: Any) -> Any:
    """Dataclasses, enums and NumPy scalars as JSON-ready values; NaN and infinity become ``None``."""
    return _tidy(json.loads(json.dumps(value, default=_default), parse_constant=lambda _: None))


def _tidy(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _tidy(item) for key, item in value.items()}
    return value


def _default(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def moment(iso: str | None) -> datetime | None:
    """An ISO 8601 time as aware UTC; a time without zone counts as UTC; ``None`` when unreadable."""
    if not iso:
        return None
    try:
        parsed = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """Columns of ``candidates`` but ``run_id`` and ``incident_id``."""
    now = utcnow()
    return {
        "candidate_id": candidate.candidate_id,
        "camera": clean(candidate.camera),
        "source": clean(candidate.source),
        "event_type": str(candidate.event_type),
        "start_s": float(candidate.start_s),
        "end_s": float(candidate.end_s),
        "trigger_name": candidate.trigger.name,
        "trigger_score": float(candidate.trigger.score),
        "zone": clean(candidate.zone),
        "wall_time": candidate.wall_time,
        "occurred_at": moment(candidate.wall_time) or now,
        "evidence": plain(candidate.evidence),
        "key_frames": plain(candidate.key_frames),
        "created_at": now,
    }


def candidate_from(row: Row) -> Candidate:
    """The candidate of a row of ``candidates``."""
    return Candidate(
        candidate_id=row["candidate_id"],
        camera=row["camera"],
        source=row["source"],
        event_type=EventType(row["event_type"]),
        start_s=row["start_s"],
        end_s=row["end_s"],
        trigger=TriggerScore(row["trigger_name"], row["trigger_score"]),
        evidence=evidence_from(row["evidence"]),
        key_frames=tuple(key_frame_from(item) for item in row["key_frames"]),
        zone=row["zone"],
        wall_time=row["wall_time"],
    )


def evidence_from(item: Row) -> Evidence:
    """Evidence as stored by :func:`plain`."""
    seen = tuple(SeenObject(**{**one, "box": tuple(one["box"])}) for one in item["objects"])
    return Evidence(objects=seen, counts=item["counts"], facts=item["facts"], note=item["note"])


def key_frame_from(item: Row) -> KeyFrame:
    """A key frame as stored by :func:`plain`."""
    box = tuple(item["box"]) if item["box"] is not None else None
    return KeyFrame(**{**item, "view": View(item["view"]), "moment": Moment(item["moment"]), "box": box})


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """Columns of ``verdicts`` that come from the verdict itself."""
    return {
        "state": str(verdict.state),
        "score": verdict.score,
        "log_odds": verdict.log_odds,
        "category": verdict.category,
        "action": str(verdict.action),
        "priority": str(verdict.priority),
        "reason": clean(verdict.reason),
        "criteria": plain(verdict.criteria),
        "narrative": plain(verdict.narrative) if verdict.narrative else None,
        "grounded": verdict.grounded,
        "model": verdict.provenance.model,
        "prompt": verdict.provenance.prompt,
        "prompt_sha256": verdict.provenance.prompt_sha256,
        "provenance": plain(verdict.provenance),
        "timings_ms": plain(verdict.timings_ms),
        "error_source": verdict.error_source,
        "error": clean(verdict.error),
        "raw_reply": clean(verdict.raw_reply),
    }


def verdict_from(row: Row) -> Verdict:
    """The verdict of a row of ``verdicts``."""
    made = row["provenance"]
    return Verdict(
        state=VerdictState(row["state"]),
        score=row["score"],
        action=Action(row["action"]),
        priority=Priority(row["priority"]),
        reason=row["reason"],
        provenance=Provenance(**{**made, "frames": tuple(made["frames"])}),
        category=row["category"],
        criteria=tuple(Criterion(**item) for item in row["criteria"]),
        narrative=narrative_from(row["narrative"]),
        grounded=row["grounded"],
        timings_ms=row["timings_ms"],
        log_odds=row["log_odds"],
        error_source=row["error_source"],
        error=row["error"],
        raw_reply=row["raw_reply"],
    )


def narrative_from(item: Row | None) -> Narrative | None:
    """A narrative as stored by :func:`plain`."""
    return Narrative(**{**item, "observations": tuple(item["observations"])}) if item else None


@overload
def clean(text: str) -> str: ...
@overload
def clean(text: None) -> None: ...
def clean(text: str | None) -> str | None:
    """Text that every database takes: a model can write anything, PostgreSQL refuses NUL and half pairs."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
