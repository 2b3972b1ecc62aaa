"""What goes into a report, and the figures on top of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

REACHED = ("escalate", "review")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One candidate of a report.

    Attributes:
        row: Its scan row, as ``pipeline.rows.scan_row`` makes it.
        images: Encoded key frames by sha256; those that are missing are left out of the report.
        answer: What an operator said about it, if anybody did.
    """

    row: Mapping[str, Any]
    images: Mapping[str, bytes] = field(default_factory=dict)
    answer: str = ""


@dataclass(frozen=True, slots=True)
class ClipNote:
    """What is known about a clip beside its candidates.

    Attributes:
        clip: Path or name; the file name joins it to the rows.
        licence: Licence and who to name.
        source: Where it is from.
        note: What it shows.
        label: What really happened (an event type, or ``benign``), empty when unknown.
        incident: Whether a person should be called; ``None`` when unknown.
        length_s: Seconds of video.
        detect_ms: How long stage 1 took for the whole clip.
        error: Why it could not be read, if so.
    """

    clip: str
    licence: str = ""
    source: str = ""
    note: str = ""
    label: str = ""
    incident: bool | None = None
    length_s: float | None = None
    detect_ms: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures on top of a report; counted in clips where truth is involved, as the evaluation does.

    Attributes:
        clips: Clips looked at.
        candidates: Candidates found.
        escalated: Candidates that call a person at once.
        review: Candidates a person should check.
        dismissed: Candidates stopped.
        false_alarms: Clips known to be harmless that raised an alarm.
        stopped: Those of them of which nothing reached a person.
        flagged: Clips known to show an incident that raised an alarm.
        kept: Those of them that reached a person.
        missed: Clips known to show an incident that raised no alarm at all.
        unknown: Clips with no known truth.
    """

    clips: int
    candidates: int
    escalated: int
    review: int
    dismissed: int
    false_alarms: int
    stopped: int
    flagged: int
    kept: int
    missed: int
    unknown: int


def clip_name(path: str) -> str:
    """The file name of a clip's path, whatever the separator."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def summarise(rows: Sequence[ReportRow], clips: Sequence[ClipNote]) -> Summary:
    """Count what happened."""
    decisions = [str(one.row.get("decision") or "") for one in rows]
    alarmed: dict[str, bool] = {}
    for one, decision in zip(rows, decisions, strict=True):
        name = clip_name(one.row["clip"])
        alarmed[name] = alarmed.get(name, False) or decision in REACHED
    known = {clip_name(clip.clip): clip.incident for clip in clips}
    names = set(known) | set(alarmed)
    benign = [name for name in names if known.get(name) is False and name in alarmed]
    real = [name for name in names if known.get(name) is True]
    return Summary(
        clips=len(names),
        candidates=len(rows),
        escalated=decisions.count("escalate"),
        review=decisions.count("review"),
        dismissed=decisions.count("dismiss"),
        false_alarms=len(benign),
        stopped=sum(not alarmed[name] for name in benign),
        flagged=sum(name in alarmed for name in real),
        kept=sum(alarmed.get(name, False) for name in real),
        missed=sum(name not in alarmed for name in real),
        unknown=sum(known.get(name) is None for name in names),
    )
