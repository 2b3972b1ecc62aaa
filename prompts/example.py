"""Candidates to try a prompt on without a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import PromptError
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Moment, SeenObject, TriggerScore, View

_FACTS: dict[str, dict[str, float]] = {
    "fall": {"torso_angle_deg": 78.0, "still_s": 3.2, "descent": 1.4, "box_aspect": 1.3},
    "fire": {"fire_pixels": 0.06, "fire_flicker": 0.4, "fire_growth": 1.8},
    "smoke": {"smoke_area": 0.2, "smoke_spread": 0.03, "texture_loss": 0.5},
    "violence": {"flow_peak": 0.62, "limb_speed": 3.1, "people_distance": 0.0},
    "traffic_accident": {"vehicle_stop": 2.4, "vehicle_overlap": 0.3, "flow_peak": 0.4},
}


def example_candidate(event_type: str) -> Candidate:
    """A plausible candidate of this type. Raises PromptError for an unknown type."""
    try:
        event = EventType(event_type)
    except ValueError as error:
        hint = f"one of {', '.join(kind.value for kind in EventType)}"
        raise PromptError(f"there is no event type '{event_type}'", hint=hint) from error
    seen = SeenObject(
        "car" if event is EventType.TRAFFIC_ACCIDENT else "person", 0.91, (0.4, 0.3, 0.6, 0.8), 4.0
    )
    facts = _FACTS.get(event.value, {"dwell_s": 42.0, "person_count": 2})
    evidence = Evidence((seen,), {seen.label: 2}, facts, "example")
    trigger = TriggerScore(f"{event.value}_example", 0.7)
    return Candidate("example", "example", "example.mp4", event, 2.0, 8.1, trigger, evidence, ())


def candidate_from_row(row: Mapping[str, Any]) -> Candidate:
    """The candidate a scan row tells of. Raises KeyError, ValueError or TypeError for other rows."""
    held = row.get("evidence") or {}
    objects = tuple(
        SeenObject(item["label"], float(item["score"]), tuple(item["box"]), float(item["t_s"]))
        for item in held.get("objects", ())
    )
    frames = tuple(
        KeyFrame(
            frame["sha256"],
            View(frame["view"]),
            Moment(frame["moment"]),
            float(frame["t_s"]),
            int(frame["width"]),
            int(frame["height"]),
            tuple(frame["box"]) if frame.get("box") else None,
        )
        for frame in row["frames"]
    )
    evidence = Evidence(objects, held.get("counts") or {}, held.get("facts") or {}, held.get("note", ""))
    return Candidate(
        row["candidate_id"],
        row["camera"],
        row["clip"],
        EventType(row["event_type"]),
        float(row["start_s"]),
        float(row["end_s"]),
        TriggerScore(row["trigger"]["name"], float(row["trigger"]["score"])),
        evidence,
        frames,
        row.get("zone"),
    )
