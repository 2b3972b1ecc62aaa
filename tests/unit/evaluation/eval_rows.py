"""Row files made by hand, small enough to compute every figure on paper."""

from __future__ import annotations

from typing import Any

STATES = {"escalate": "confirmed", "review": "uncertain", "dismiss": "rejected"}


def truth(clip: str, label: str = "benign", *, group: str | None = None, **extra: Any) -> dict[str, Any]:
    return {
        "clip": clip,
        "label": label,
        "escalate": label != "benign",
        "events": [],
        "group": group or clip,
        "source": "made by hand",
        "licence": "CC0-1.0",
        **extra,
    }


def row(about: dict[str, Any], event_type: str, decision: str | None, **extra: Any) -> dict[str, Any]:
    start_s = extra.pop("start_s", 0.0)
    return {
        "clip": about["clip"],
        "camera": about["clip"],
        "candidate_id": f"{about['clip']}-{event_type}-{start_s}",
        "event_type": event_type,
        "start_s": start_s,
        "end_s": start_s + 1.0,
        "decision": decision,
        "verdict": STATES.get(decision or ""),
        "score": None,
        "timings_ms": {"queued": 100.0, "verdict": 400.0, "narrative": None},
        "frames": [],
        "clip_error": None,
        "truth": about,
        **extra,
    }


def quiet(about: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """The row of a clip without candidates."""
    return {
        "clip": about["clip"],
        "camera": about["clip"],
        "candidate_id": None,
        "clip_error": None,
        "truth": about,
        **extra,
    }
