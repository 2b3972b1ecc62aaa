"""What stage 1 knows about one sampled frame, and what a trigger answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pipeline.detect.boxes import apart
from pipeline.detect.motion import Motion
from pipeline.detect.tracker import Track
from pipeline.types import Box, Detections, EventType, Frame, Image, JsonScalar, Poses


@dataclass(frozen=True, slots=True)
class Scene:
    """One sampled frame with everything measured in it.

    Attributes:
        frame: The frame.
        dt_s: Time since the previous sampled frame; 0 for the first.
        small: The frame at analysis resolution, BGR.
        motion: What moved.
        looked: Whether the detector ran on this frame; if not, ``detections`` and ``poses`` are empty.
        detections: Objects, boxes in frame pixels; people whom only the pose estimator saw are included.
        poses: People.
        seen: Tracks seen in this frame.
        tracks: All tracks alive, also those not seen just now.
        ended: Tracks that ended with this frame.
        is_still: The source is a single picture.
        attributes: What an appearance scorer saw in this frame or shortly before, by name; empty without
            one.
        only_animals: Animals, and nobody, were seen of late: what only people do need not be suspected.
    """

    frame: Frame
    dt_s: float
    small: Image
    motion: Motion
    looked: bool
    detections: Detections
    poses: Poses
    seen: tuple[Track, ...] = ()
    tracks: tuple[Track, ...] = ()
    ended: tuple[Track, ...] = ()
    is_still: bool = False
    attributes: Mapping[str, float] = field(default_factory=dict)
    only_animals: bool = False

    @property
    def t_s(self) -> float:
        """Stream time of the frame."""
        return self.frame.t_s

    @property
    def width(self) -> int:
        """Frame width, px."""
        return int(self.frame.image.shape[1])

    @property
    def height(self) -> int:
        """Frame height, px."""
        return int(self.frame.image.shape[0])

    def norm(self, box: Box) -> Box:
        """A pixel box as shares of the frame."""
        width, height = self.width, self.height
        return (box[0] / width, box[1] / height, box[2] / width, box[3] / height)

    def count_apart(self, labels: frozenset[str], min_score: float) -> int:
        """At least how many things of some labels there are: doubtful second boxes of one are not counted."""
        scores = [
            float(score)
            for label, score in zip(self.detections.label, self.detections.score, strict=True)
            if label in labels and score >= min_score
        ]
        return len(apart(self.boxes(labels, min_score), scores))

    def boxes(self, labels: frozenset[str], min_score: float) -> list[Box]:
        """Pixel boxes of detections with one of some labels."""
        return [
            (float(x1), float(y1), float(x2), float(y2))
            for (x1, y1, x2, y2), label, score in zip(
                self.detections.xyxy, self.detections.label, self.detections.score, strict=True
            )
            if label in labels and score >= min_score
        ]


@dataclass(frozen=True, slots=True)
class Firing:
    """A trigger's answer to one frame.

    Attributes:
        score: How strongly, 0..1; comparable within one trigger.
        note: One plain sentence saying why.
        facts: Measurements by the names of ``pipeline.detect.facts``.
        box: Where, normalised; ``None`` for the whole frame.
        onset_s: When the event began if that was before this frame.
        zone: Name of the zone, if one mattered.
    """

    score: float
    note: str
    facts: Mapping[str, JsonScalar]
    box: Box | None = None
    onset_s: float | None = None
    zone: str | None = None


@runtime_checkable
class Trigger(Protocol):
    """Suspects one type of event. Keeps its own memory of one stream; made anew for each."""

    name: str
    event_type: EventType

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame of a video or, alone, a still picture."""
        ...


@runtime_checkable
class AppearanceScorer(Protocol):
    """Reads attributes off a picture (``fire``, ``smoke``, ``fight``, ``person_down``, ``crash``, ...)."""

    def score(self, image: Image) -> Mapping[str, float]:
        """Probability by attribute."""
        ...
