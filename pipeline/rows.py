"""The row that scripts rely on: one candidate with its verdict, as flat JSON.

``sitrep scan``, ``sitrep eval`` and ``sitrep rescore`` all write this row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.types import Candidate, Verdict


def frame_entry(candidate: Candidate) -> list[dict[str, Any]]:
    """The key frames of a candidate as plain data; ``sha256`` finds the file in the frame store."""
    return [
        {**dataclasses.asdict(key_frame), "view": str(key_frame.view), "moment": str(key_frame.moment)}
        for key_frame in candidate.key_frames
    ]


def scan_row(
    candidate: Candidate, verdict: Verdict | None, *, timings_ms: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """One scan row.

    Args:
        candidate: What stage 1 found.
        verdict: What was judged, or ``None`` when only detections were asked for.
        timings_ms: ``queued``, ``verdict`` and ``narrative`` as the queue measured them; they win over
            the verdict's own.
    """
    said = verdict.narrative if verdict else None
    times = {**(verdict.timings_ms if verdict else {}), **(timings_ms or {})}
    return {
        "clip": candidate.source,
        "camera": candidate.camera,
        "candidate_id": candidate.candidate_id,
        "event_type": str(candidate.event_type),
        "start_s": round(candidate.start_s, 3),
        "end_s": round(candidate.end_s, 3),
        "zone": candidate.zone,
        "wall_time": candidate.wall_time,
        "trigger": {"name": candidate.trigger.name, "score": round(candidate.trigger.score, 4)},
        "decision": str(verdict.action) if verdict else None,
        "priority": str(verdict.priority) if verdict else None,
        "verdict": str(verdict.state) if verdict else None,
        "score": verdict.score if verdict else None,
        "log_odds": verdict.log_odds if verdict else None,
        "thresholds": _thresholds(verdict),
        "category": verdict.category if verdict else None,
        "title": said.title if said else None,
        "summary": said.summary if said else None,
        "narrative": said.narrative if said else None,
        "observations": list(said.observations) if said else [],
        "recommended_action": said.recommended_action if said else None,
        "reason": verdict.reason if verdict else None,
        "grounds": said.reason if said else None,
        "criteria": [dataclasses.asdict(criterion) for criterion in verdict.criteria] if verdict else [],
        "grounded": verdict.grounded if verdict else None,
        "language": said.language if said else None,
        "model": verdict.provenance.model if verdict else None,
        "prompt": verdict.provenance.prompt if verdict else None,
        "prompt_sha256": verdict.provenance.prompt_sha256 if verdict else None,
        "timings_ms": {name: round(times[name], 1) if name in times else None for name in _TIMINGS},
        "frames": frame_entry(candidate),
        "evidence": {
            "note": candidate.evidence.note,
            "counts": dict(candidate.evidence.counts),
            "facts": dict(candidate.evidence.facts),
            "objects": [dataclasses.asdict(seen) for seen in candidate.evidence.objects],
        },
        "error_source": verdict.error_source if verdict else None,
        "error": verdict.error if verdict else None,
    }


def _thresholds(verdict: Verdict | None) -> dict[str, float] | None:
    """The operating point the decision was taken with, as its provenance keeps it."""
    params = verdict.provenance.params if verdict else {}
    low, high = params.get("dismiss_below"), params.get("escalate_at")
    return None if low is None or high is None else {"dismiss_below": low, "escalate_at": high}


_TIMINGS = ("queued", "verdict", "narrative")
