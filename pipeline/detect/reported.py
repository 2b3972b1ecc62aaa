"""An event that a detector outside Sitrep reports, seen through stage 1.

The outside detector says that something happened and where; stage 1's own detectors, tracks, key frames and
measurements describe it, so that a model judges it on the same evidence as any candidate of Sitrep's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pipeline.detect import facts
from pipeline.detect.boxes import area, gap, iou_matrix, overlap, union
from pipeline.detect.catalog import KINDS
from pipeline.detect.events import EventParams
from pipeline.detect.posture import pose_of, posture
from pipeline.detect.scene import Firing, Scene, Trigger
from pipeline.detect.tracker import ANIMALS, VEHICLES, group_of
from pipeline.types import Box, Candidate, EventType, Evidence, JsonScalar, SeenObject, TriggerScore

WINDOW_S = 30.0
"""At most so much of a clip is looked at."""
LEAD_S, TAIL_S = 2.0, 2.0
"""So much of a clip before and after the event is looked at too, for the key frames before and after."""
BOX_HOLDS_S = 1.0
"""A reported box counts for frames so close to its time."""
PERSON = frozenset({"person"})
_SEEN_SCORE = 0.3
_AGREE = 0.5
_MAX_OBJECTS = 20

WHOLE_EVENT = EventParams(gap_s=1e6, max_s=1e6, lead_s=1.0, tail_s=TAIL_S)
"""The report says how long the event is, so its firings are never split."""


@dataclass(frozen=True, slots=True)
class ReportedBox:
    """A box of the outside detector, normalised; without ``t_s`` it holds all through the event."""

    label: str
    score: float
    box: Box
    t_s: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the outside detector says.

    Attributes:
        detector: Its name.
        event_type: What it suspects.
        score: Its own score, 0..1.
        start_s: First moment of the event in stream time.
        end_s: Last moment.
        peak_s: The moment that shows it best, if it knows.
        boxes: What it saw.
        zone: Where, if it has zones.
    """

    detector: str
    event_type: EventType
    score: float
    start_s: float
    end_s: float
    peak_s: float | None = None
    boxes: tuple[ReportedBox, ...] = ()
    zone: str | None = None

    def box_at(self, t_s: float) -> Box | None:
        """What the detector pointed at around a time: all boxes of the nearest moment in one."""
        timed = [(abs(box.t_s - t_s), box) for box in self.boxes if box.t_s is not None]
        nearest = min((away for away, _ in timed), default=BOX_HOLDS_S + 1)
        if nearest <= BOX_HOLDS_S:
            return union(box.box for away, box in timed if away <= nearest + 1e-3)
        lasting = [box.box for box in self.boxes if box.t_s is None]
        return union(lasting) if lasting else None


class ReportedTrigger:
    """Fires all through the reported event, with what stage 1 measures in it.

    The shipped trigger of the same type looks on: where it agrees its facts and its box count too, and,
    unless the report names its peak, its score tells which moment shows the event best.

    Args:
        report: What was reported, in the stream's time.
    """

    def __init__(self, report: Report) -> None:
        self.name = report.detector
        self.event_type = report.event_type
        self._report = report
        self._own = next((kind for kind in KINDS if kind.event_type is report.event_type), None)
        self._watcher: Trigger | None = self._own.trigger(self._own.params()) if self._own else None

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        report = self._report
        seen = self._watcher.update(scene) if self._watcher is not None else None
        if not scene.is_still and not report.start_s - 0.05 <= scene.t_s <= report.end_s + 0.05:
            return None
        box = _where(report.box_at(scene.t_s), seen.box if seen is not None else None)
        measured = {**measure(scene, report.event_type), **(seen.facts if seen is not None else {})}
        measured[facts.REPORTED] = True
        what = report.event_type.value.replace("_", " ")
        note = f"{report.detector} reports {what}, score {report.score:.2f}."
        if seen is not None:
            note = f"{note} {seen.note}"
        return Firing(self._worth(scene, seen), note, measured, box, report.start_s, report.zone)

    def _worth(self, scene: Scene, seen: Firing | None) -> float:
        """How well this frame shows the event, 0..1: only to choose the peak among the frames."""
        report = self._report
        if report.peak_s is not None:
            return 1.0 / (1.0 + abs(scene.t_s - report.peak_s))
        pointed = any(box.t_s is not None and abs(box.t_s - scene.t_s) < 0.15 for box in report.boxes)
        return 0.2 * pointed + 0.2 * min(1.0, 20 * scene.motion.area) + 0.6 * (seen.score if seen else 0.0)


def _where(told: Box | None, own: Box | None) -> Box | None:
    """Where to look: where both agree, the shipped trigger's box, which models have learnt to read."""
    if told is None or own is None:
        return told or own
    return own if overlap(told, own) >= _AGREE else told


def measure(scene: Scene, event_type: EventType) -> dict[str, JsonScalar]:
    """What a single frame tells about an event type, by the names of ``pipeline.detect.facts``."""
    if not scene.looked:
        return {}
    people = [scene.norm(box) for box in scene.boxes(PERSON, _SEEN_SCORE)]
    vehicles = [scene.norm(box) for box in scene.boxes(VEHICLES, _SEEN_SCORE)]
    posed = int((scene.poses.score >= 0.2).sum()) if len(scene.poses) else 0
    found: dict[str, JsonScalar] = {
        facts.PERSON_COUNT: max(len(people), posed),
        facts.VEHICLE_COUNT: len(vehicles),
    }
    if event_type is EventType.FALL:
        found |= _lying(scene)
        found[facts.ANIMAL_LABEL_NEAR] = bool(scene.boxes(ANIMALS, _SEEN_SCORE))
    if event_type is EventType.CROWDING:
        found[facts.CROWD_DENSITY] = round(min(1.0, sum(area(box) for box in people)), 3)
    if event_type is EventType.VIOLENCE and len(people) > 1:
        boxes = scene.boxes(PERSON, _SEEN_SCORE)
        pairs = list(combinations(boxes, 2))
        found[facts.PEOPLE_OVERLAP] = round(max(overlap(a, b) for a, b in pairs), 2)
        heights = [max(a[3] - a[1], b[3] - b[1], 1.0) for a, b in pairs]
        gaps = [gap(a, b) / height for (a, b), height in zip(pairs, heights, strict=True)]
        found[facts.PEOPLE_DISTANCE] = round(min(gaps), 2)
    if event_type is EventType.TRAFFIC_ACCIDENT and len(vehicles) > 1:
        found[facts.VEHICLE_OVERLAP] = round(max(overlap(a, b) for a, b in combinations(vehicles, 2)), 2)
    return found


def _lying(scene: Scene) -> dict[str, JsonScalar]:
    """Shape and posture of the person who lies most."""
    best: dict[str, JsonScalar] = {}
    most = -1.0
    for box in scene.boxes(PERSON, 0.2):
        index = pose_of(box, scene.poses)
        stance = None if index is None else posture(scene.poses.keypoints[index])
        aspect = (box[2] - box[0]) / max(box[3] - box[1], 1.0)
        lying = min(2.0, aspect) + (min(stance.torso_angle_deg, 90.0) / 90 if stance is not None else 0.0)
        if lying <= most:
            continue
        most = lying
        best = {facts.BOX_ASPECT: round(aspect, 2), facts.LOW_IN_FRAME: round(box[3] / scene.height, 2)}
        if stance is not None:
            best |= {
                facts.TORSO_ANGLE_DEG: round(stance.torso_angle_deg),
                facts.HEAD_BELOW_HIP: stance.head_below_hip,
                facts.POSE_SCORE: round(stance.score, 2),
            }
    return best


def as_reported(
    candidate: Candidate, report: Report, *, candidate_id: str, source: str, wall_time: str
) -> Candidate:
    """The candidate under the report's name: its id, source, clock and score, its boxes in the evidence."""
    evidence = candidate.evidence
    counts = dict(evidence.counts)
    for label, count in _counted(report.boxes).items():
        counts[label] = max(counts.get(label, 0), count)
    return replace(
        candidate,
        candidate_id=candidate_id,
        source=source,
        wall_time=wall_time,
        trigger=TriggerScore(report.detector, round(report.score, 4)),
        evidence=Evidence(_objects(report, evidence.objects), counts, evidence.facts, evidence.note),
    )


def _objects(report: Report, own: Sequence[SeenObject]) -> tuple[SeenObject, ...]:
    """The reported boxes first, then what stage 1 saw beside them, strongest first."""
    start = report.start_s if report.peak_s is None else report.peak_s
    told = [
        SeenObject(box.label, round(box.score, 3), box.box, round(start if box.t_s is None else box.t_s, 3))
        for box in sorted(report.boxes, key=lambda box: -box.score)
    ][: _MAX_OBJECTS // 2]
    rest = [seen for seen in own if not any(_same(seen, other) for other in told)]
    return tuple([*told, *rest][:_MAX_OBJECTS])


def _same(one: SeenObject, other: SeenObject) -> bool:
    if group_of(one.label) != group_of(other.label) or abs(one.t_s - other.t_s) > BOX_HOLDS_S:
        return False
    boxes = np.array([one.box, other.box], np.float32)
    return bool(iou_matrix(boxes[:1], boxes[1:])[0, 0] >= 0.5)


def _counted(boxes: Sequence[ReportedBox]) -> Mapping[str, int]:
    """Most boxes of a label at one time."""
    at: dict[tuple[str, float | None], int] = {}
    for box in boxes:
        at[box.label, box.t_s] = at.get((box.label, box.t_s), 0) + 1
    most: dict[str, int] = {}
    for (label, _), count in at.items():
        most[label] = max(most.get(label, 0), count)
    return most
