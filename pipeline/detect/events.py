"""From firings to events: one event a type, as long as its trigger keeps firing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.detect import facts
from pipeline.detect.keyframes import FrameRing, Shot
from pipeline.detect.scene import Firing, Scene, Trigger
from pipeline.types import Box, Frame, JsonScalar, Moment, SeenObject

_MINIMA = frozenset({facts.PEOPLE_DISTANCE})
LEAST_SCORE = 0.3
"""Weaker detections are neither counted nor shown."""


@dataclass(frozen=True, slots=True)
class EventParams:
    """How firings become events.

    Attributes:
        gap_s: Firings closer than this are one event.
        max_s: An event is closed after this long, whatever goes on.
        rearm_s: After an event was closed for its length, firings that go on without a gap begin
            another only after this long.
        lead_s: How far before the event the first key frame lies.
        tail_s: How far after the last firing the last key frame may lie.
    """

    gap_s: float = 3.0
    max_s: float = 30.0
    rearm_s: float = 60.0
    lead_s: float = 1.0
    tail_s: float = 2.0


@dataclass(slots=True)
class Event:
    """An event being put together."""

    trigger: Trigger
    start_s: float
    last_s: float
    best: Firing
    facts: dict[str, JsonScalar]
    last_box: Box | None = None
    zone: str | None = None
    before: Shot | None = None
    peak: Shot | None = None
    second: Shot | None = None
    second_score: float = 0.0
    after: Shot | None = None
    objects: dict[tuple[str, int], SeenObject] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def shots(self) -> list[Shot]:
        """The moments in order of time, none twice."""
        chosen: list[Shot] = []
        for shot in (self.before, self.peak, self.second, self.after):
            if shot is not None and all(shot.now.index != other.now.index for other in chosen):
                chosen.append(shot)
        return sorted(chosen, key=lambda shot: shot.now.t_s)


class EventBuilder:
    """Joins one trigger's firings of one stream.

    Args:
        trigger: The trigger.
        ring: Recent frames, shared by all builders of the stream.
        params: How firings become events.
    """

    def __init__(self, trigger: Trigger, ring: FrameRing, params: EventParams | None = None) -> None:
        self.params = params or EventParams()
        self._trigger = trigger
        self._ring = ring
        self._open: Event | None = None
        self._muted_until_s = -1.0
        self._last_fired_s = -1e9

    def update(self, scene: Scene, kept: Frame) -> list[Event]:
        """Run the trigger on one frame.

        Args:
            scene: The frame and what was measured in it.
            kept: The frame as the ring holds it.

        Returns:
            Events that ended.
        """
        done: list[Event] = []
        self._neighbours(kept)
        firing = self._trigger.update(scene)
        event = self._open
        if event is not None and scene.t_s - event.last_s > self.params.gap_s:
            done.append(event)
            self._open = event = None
        if firing is not None:
            if scene.t_s - self._last_fired_s > self.params.gap_s:
                self._muted_until_s = -1.0
            self._last_fired_s = scene.t_s
        if firing is not None and event is None and scene.t_s >= self._muted_until_s:
            self._open = event = self._begin(firing, scene)
        elif firing is not None and event is not None:
            self._extend(event, firing, scene)
        if event is not None:
            self._watch_tail(event, scene)
            if scene.t_s - event.start_s >= self.params.max_s:
                done.append(event)
                self._open = None
                self._muted_until_s = scene.t_s + self.params.rearm_s
        return done

    def cut(self) -> None:
        """The stream shows another scene from the next frame on: views made so far get no more frames."""
        for shot in self._shots():
            shot.end()

    def finish(self) -> list[Event]:
        """The event still open when the stream ends."""
        rest = [self._open] if self._open is not None else []
        self._open = None
        return rest

    def _begin(self, firing: Firing, scene: Scene) -> Event:
        start = scene.t_s if firing.onset_s is None else max(0.0, min(firing.onset_s, scene.t_s))
        event = Event(self._trigger, start, scene.t_s, firing, dict(firing.facts), firing.box, firing.zone)
        event.peak = self._ring.shot(Moment.PEAK, scene.t_s, firing.box)
        if not scene.is_still:
            event.before = self._ring.shot(Moment.BEFORE, start - self.params.lead_s, firing.box)
        note_objects(event, scene)
        return event

    def _extend(self, event: Event, firing: Firing, scene: Scene) -> None:
        event.last_s = scene.t_s
        event.last_box = firing.box
        event.zone = event.zone or firing.zone
        merge_facts(event.facts, firing.facts)
        note_objects(event, scene)
        peak_s = event.peak.now.t_s if event.peak else -1e9
        if firing.score > event.best.score:
            if event.peak is not None and scene.t_s - peak_s >= 1.0:
                event.second, event.second_score = event.peak, event.best.score
            event.best = firing
            event.peak = self._ring.shot(Moment.PEAK, scene.t_s, firing.box)
        elif firing.score > event.second_score and scene.t_s - peak_s >= 1.0:
            event.second, event.second_score = (
                self._ring.shot(Moment.PEAK, scene.t_s, firing.box),
                firing.score,
            )

    def _watch_tail(self, event: Event, scene: Scene) -> None:
        if scene.is_still or scene.t_s - event.last_s > self.params.tail_s:
            return
        event.after = self._ring.shot(Moment.AFTER, scene.t_s, event.last_box)

    def _neighbours(self, kept: Frame) -> None:
        for shot in self._shots():
            shot.take(kept)

    def _shots(self) -> list[Shot]:
        event = self._open
        found = () if event is None else (event.before, event.peak, event.second, event.after)
        return [shot for shot in found if shot is not None]


def merge_facts(kept: dict[str, JsonScalar], new: Mapping[str, JsonScalar]) -> None:
    """Keep the extreme of each measurement: the largest, or the smallest where less is more."""
    for name, value in new.items():
        old = kept.get(name)
        if isinstance(value, (int, float)) and isinstance(old, (int, float)):
            kept[name] = min(old, value) if name in _MINIMA else max(old, value)
        else:
            kept[name] = value


def note_objects(event: Event, scene: Scene) -> None:
    """Remember what the detector saw: each object at its strongest, and the largest counts."""
    by_box = {track.box: track.track_id for track in scene.seen}
    labels = {
        label
        for label, score in zip(scene.detections.label, scene.detections.score, strict=True)
        if score >= LEAST_SCORE
    }
    counts = {label: scene.count_apart(frozenset({label}), LEAST_SCORE) for label in sorted(labels)}
    for row, (label, score) in enumerate(zip(scene.detections.label, scene.detections.score, strict=True)):
        if score < LEAST_SCORE:
            continue
        x1, y1, x2, y2 = (float(value) for value in scene.detections.xyxy[row])
        box: Box = (x1, y1, x2, y2)
        track = by_box.get(box)
        key = (label, track if track is not None else -1 - row)
        old = event.objects.get(key)
        if old is None or old.score < score:
            nx1, ny1, nx2, ny2 = (round(value, 4) for value in scene.norm(box))
            event.objects[key] = SeenObject(
                label, round(float(score), 3), (nx1, ny1, nx2, ny2), round(scene.t_s, 3), track
            )
    for label, count in counts.items():
        event.counts[label] = max(event.counts.get(label, 0), count)
