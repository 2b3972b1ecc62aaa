"""The data that travels through Sitrep, as frozen dataclasses.

Units everywhere: time in seconds of the stream (``*_s``), durations of work in milliseconds (``*_ms``),
pixel boxes as ``x1, y1, x2, y2`` float32, normalised boxes as the same four numbers divided by width and
height (0..1), images as uint8 BGR arrays of shape (height, width, 3), probabilities and scores in 0..1
unless a name says ``log_odds``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Array = NDArray[np.float32]
Box = tuple[float, float, float, float]
JsonScalar = str | int | float | bool | None


class EventType(StrEnum):
    """What a candidate may be; the names of design, database, prompts, policy and reports."""

    FALL = "fall"
    FIRE = "fire"
    SMOKE = "smoke"
    VIOLENCE = "violence"
    INTRUSION = "intrusion"
    LOITERING = "loitering"
    CROWDING = "crowding"
    ABANDONED_OBJECT = "abandoned_object"
    TRAFFIC_ACCIDENT = "traffic_accident"
    OTHER = "other"


class Lane(StrEnum):
    """A queue. Workers empty ``live`` before ``interactive`` before ``archive``."""

    LIVE = "live"
    INTERACTIVE = "interactive"
    ARCHIVE = "archive"


class VerdictState(StrEnum):
    """What the model's testimony amounts to once its score is read against the policy."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


class Action(StrEnum):
    """The decision, taken by code: who gets to see the candidate."""

    ESCALATE = "escalate"
    REVIEW = "review"
    DISMISS = "dismiss"


class Priority(StrEnum):
    """How soon a person should look; set by policy, never by generated text."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class View(StrEnum):
    """What a key frame image shows."""

    FULL = "full"
    """The whole frame."""
    REGION = "region"
    """A crop around what the trigger saw."""
    MOTION = "motion"
    """Three grey frames, before / at / after the moment, as the B, G and R channels: still things look
    grey, moving things coloured."""
    CLIP = "clip"
    """Eight frames 0.2 s apart around the moment on one sheet, four across, in reading order."""


class Moment(StrEnum):
    """Where in the event a key frame lies."""

    BEFORE = "before"
    PEAK = "peak"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame. ``t_s`` comes from the stream, never from the wall clock."""

    image: Image
    t_s: float
    index: int


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one frame as arrays of one length N: ``xyxy`` (N, 4) pixels, ``score`` (N,), N labels."""

    xyxy: Array
    score: Array
    label: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    @staticmethod
    def empty() -> Detections:
        """No detections."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())


@dataclass(frozen=True, slots=True)
class Poses:
    """People of one frame: ``keypoints`` (N, 17, 3) as x px, y px, score in COCO order.

    ``xyxy`` is (N, 4) pixels, ``score`` (N,).
    """

    keypoints: Array
    xyxy: Array
    score: Array

    def __len__(self) -> int:
        return len(self.score)

    @staticmethod
    def empty() -> Poses:
        """Nobody."""
        return Poses(np.zeros((0, 17, 3), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class TriggerScore:
    """Which trigger fired and how strongly (0..1; comparable within one trigger only)."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One object the detector saw, as evidence: ``box`` normalised, ``t_s`` when its score was highest."""

    label: str
    score: float
    box: Box
    t_s: float
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the fast detectors measured. Data for prompt, page and grounding check; never template text.

    Attributes:
        objects: Detected objects, strongest first, at most 20.
        counts: Largest number of each label seen in one frame of the candidate.
        facts: Measurements by name, e.g. ``motion_energy``, ``flow_peak``, ``torso_angle_deg``,
            ``still_s``, ``fire_pixels``. Names end in their unit unless they are a ratio or a count.
        note: One plain sentence saying why the trigger fired, for people.
    """

    objects: tuple[SeenObject, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, JsonScalar] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A stored image of a candidate: where and when it is from, and the hash that finds it.

    Attributes:
        sha256: Hash of the encoded file; its name in the frame store.
        view: What it shows.
        moment: Where in the event it lies.
        t_s: Stream time of the frame (of the middle one for a motion view).
        width: Pixels.
        height: Pixels.
        box: For a region, motion or clip view, the part of the full frame it shows, normalised.
    """

    sha256: str
    view: View
    moment: Moment
    t_s: float
    width: int
    height: int
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A moment that may be an incident.

    Attributes:
        candidate_id: Stable: the same source, trigger and time give the same id again.
        camera: Name of the camera, or of the clip when there is no camera.
        source: The clip's path as given, or the stream's address without credentials.
        event_type: What the trigger suspects.
        start_s: First moment of the event.
        end_s: Last moment of the event, never before ``start_s``.
        trigger: Which rule fired.
        evidence: What the detectors measured.
        key_frames: 1-4 moments, each as a full view and where it helps a region and a motion view; last, for
            what moves, the peak as a clip view.
        zone: Name of the zone it happened in, if zones are set up.
        wall_time: ISO 8601 UTC time of ``start_s`` when known, for policy hours.
    """

    candidate_id: str
    camera: str
    source: str
    event_type: EventType
    start_s: float
    end_s: float
    trigger: TriggerScore
    evidence: Evidence
    key_frames: tuple[KeyFrame, ...]
    zone: str | None = None
    wall_time: str | None = None


@dataclass(frozen=True, slots=True)
class Criterion:
    """One named check of the verdict, with its grounds."""

    name: str
    passed: bool
    evidence: str = ""
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Narrative:
    """What is said to a person about a candidate, in one language."""

    title: str
    summary: str
    narrative: str
    reason: str
    recommended_action: str
    observations: tuple[str, ...] = ()
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that is needed to replay a verdict."""

    model: str
    prompt: str
    prompt_sha256: str
    frames: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = ""
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged candidate.

    Attributes:
        state: What the score amounts to.
        score: Calibrated probability that the incident is real, or ``None`` when ``state`` is ``failed``.
        category: Event type the model finds most likely, or ``None``.
        criteria: Named checks with their grounds.
        narrative: ``None`` when it was not asked for yet (``narrate`` setting) or could not be written.
        grounded: Whether evidence or the model's own observations support the narrative.
        action: Decision by code.
        priority: Decision by code.
        reason: Why the code decided so, in one plain sentence.
        provenance: What to replay it with.
        timings_ms: ``queued``, ``verdict`` and ``narrative`` where they happened.
        log_odds: The raw, uncalibrated log-odds.
        error_source: Stage that failed, when ``state`` is ``failed``.
        error: One line about the failure.
        raw_reply: What the model said when it could not be read.
    """

    state: VerdictState
    score: float | None
    action: Action
    priority: Priority
    reason: str
    provenance: Provenance
    category: str | None = None
    criteria: tuple[Criterion, ...] = ()
    narrative: Narrative | None = None
    grounded: bool | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    log_odds: float | None = None
    error_source: str | None = None
    error: str | None = None
    raw_reply: str | None = None
