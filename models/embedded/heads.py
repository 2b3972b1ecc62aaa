"""The decision: given an alarm of a type, how likely is it real, by what eyes and detectors say.

One small additive model a type: pooled attribute logits of the stills network, the motion network and the
optical flow of motion views, and the evidence model. Every term may be missing: it then adds nothing,
so that a single still is judged on what there is. Types without training images stay near neutral.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from models.embedded.heads_evidence import evidence_numbers
from models.embedded.heads_terms import (
    TypeHead,
    attribute_logits,
    either,
    pool_stills,
    read_flow,
    read_line,
    read_type,
)
from models.embedded.views import is_reported
from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR, VisionFeatures
from models.embedded.vision_contrast import CONTRAST_CHANNELS
from models.embedded.vision_scene import OBJECT_CHANNELS
from pipeline.errors import ModelMissing
from pipeline.types import EventType, Evidence, KeyFrame, Moment, View

HEADS_FILE = "heads.json"
FORMAT = "sitrep-heads-2"
_FIGHT = ATTRIBUTES.index("fight")


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a head found: ``log_odds`` in all, ``terms`` by name, ``attributes`` as probabilities."""

    log_odds: float
    terms: Mapping[str, float]
    attributes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MadeFor:
    """``features_id`` of the encoders whose features heads were fitted on: views, scenes and clip views."""

    vision: str
    scene: str
    clip: str


class DecisionHead:
    """Log-odds that an alarm is real. Pure numpy; weights are a small JSON file.

    Args:
        weights_dir: Folder of ``heads.json``; the committed one by default.

    Raises:
        ModelMissing: The file is absent, damaged or for other attributes.
    """

    def __init__(self, weights_dir: Path = WEIGHTS_DIR) -> None:
        path = weights_dir / HEADS_FILE
        try:
            content = path.read_bytes()
            stored = json.loads(content)
            if stored["format"] != FORMAT or tuple(stored["attributes"]) != ATTRIBUTES:
                raise ValueError("made for another version of the encoder")
            self.made_for = _made_for(stored["made_for"])
            self._weights_id = f"heads-{hashlib.sha256(content).hexdigest()[:8]}"
            self._types = {EventType(name): read_type(entry) for name, entry in stored["types"].items()}
            self._flow = read_flow(stored.get("flow"))
            self._seen = {
                name: read_line(line, CONTRAST_CHANNELS, OBJECT_CHANNELS)
                for name, line in stored.get("seen", {}).items()
            }
            if not set(self._seen) <= set(ATTRIBUTES):
                raise ValueError("it sees what is no attribute")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelMissing(f"decision heads: {path} cannot be used: {error}") from error

    @property
    def weights_id(self) -> str:
        """Name of exactly these heads; stored with verdicts and calibration."""
        return self._weights_id

    def wants_scene(
        self, event_type: EventType, key_frames: Sequence[KeyFrame], evidence: Evidence
    ) -> list[bool]:
        """Of which views the head of this type reads scene features; which of them, :meth:`scene_parts` says.

        Full views of the event's peak; of an alarm that another detector raised, those of all moments.
        """
        head = self._types.get(event_type)
        ways = () if head is None else (head, head.also)
        reads = any(way is not None and _reads_scene(way, key_frames) for way in ways)
        anywhen = is_reported(evidence)
        return [
            reads and frame.view is View.FULL and (anywhen or frame.moment is Moment.PEAK)
            for frame in key_frames
        ]

    def scene_parts(self, event_type: EventType) -> tuple[bool, bool]:
        """Whether the head of this type reads object features of scenes, and whether contrast features."""
        head = self._types.get(event_type)
        ways = () if head is None else (head, head.also, head.needs)
        lines = [way.scene for way in ways if way is not None and way.scene is not None]
        objects = [line.columns < OBJECT_CHANNELS for line in lines]
        return any(part.any() for part in objects), any((~part).any() for part in objects)

    def wants_clip(self, event_type: EventType, key_frames: Sequence[KeyFrame]) -> list[bool]:
        """Of which views the head of this type reads clip features."""
        head = self._types.get(event_type)
        reads = head is not None and head.clip is not None
        return [reads and frame.view is View.CLIP for frame in key_frames]

    def unread(self, event_type: EventType, key_frames: Sequence[KeyFrame]) -> list[bool]:
        """Which views no term of this type reads: motion views where a clip view says more."""
        clipped = any(self.wants_clip(event_type, key_frames))
        return [clipped and frame.view is View.MOTION for frame in key_frames]

    def log_odds(
        self,
        event_type: EventType,
        features: VisionFeatures,
        key_frames: Sequence[KeyFrame],
        evidence: Evidence,
    ) -> tuple[float, dict[str, float]]:
        """Log-odds of "this alarm is real" and the attribute probabilities over all views.

        Args:
            event_type: What the trigger suspects.
            features: Of the candidate's views, in the order of ``key_frames``; none at all is allowed.
            key_frames: What each view shows.
            evidence: What the detectors measured.

        Raises:
            ValueError: Features and key frames differ in number.
        """
        testimony = self.testify(event_type, features, key_frames, evidence)
        return testimony.log_odds, dict(testimony.attributes)

    def testify(
        self,
        event_type: EventType,
        features: VisionFeatures,
        key_frames: Sequence[KeyFrame],
        evidence: Evidence,
        *,
        scene_odds: float | None = None,
        clip_odds: float | None = None,
        evidence_odds: float | None = None,
        also_odds: float | None = None,
    ) -> Testimony:
        """The same, with each term told apart. See :meth:`log_odds`.

        Args:
            event_type: What the trigger suspects.
            features: Of the candidate's views.
            key_frames: What each view shows.
            evidence: What the detectors measured.
            scene_odds: Value of the ``scene`` term where it is known already, for calibration on pictures
                that the probe has not seen.
            clip_odds: The same of the ``clip`` term.
            evidence_odds: The same of the ``evidence`` term.
            also_odds: The same of the ``scene`` term of the other way to be real.
        """
        if len(features) != len(key_frames):
            raise ValueError(f"features of {len(features)} views for {len(key_frames)} key frames")
        head = self._types.get(event_type)
        clip = None
        if head is not None and head.clip is not None:
            clip = head.clip.log_odds(features.clip) if clip_odds is None else clip_odds
        attributes = self._attributes(features, key_frames, clip, told=is_reported(evidence))
        if head is None:
            return Testimony(0.0, {}, attributes)
        known = {"scene": scene_odds, "clip": clip_odds, "evidence": evidence_odds}
        total, terms = self._total(head, features, key_frames, evidence, known)
        if head.also is not None:
            told = {"scene": also_odds}
            other, other_terms = self._total(head.also, features, key_frames, evidence, told)
            # A way that nothing was read for is no even chance.
            total = either(total, other) if other_terms else total
            terms = {**other_terms, **terms}
        if head.needs is not None:
            other, other_terms = self._total(head.needs, features, key_frames, evidence)
            # Without what it is read from, nothing is known against it.
            total = -either(-total, -other) if other_terms else total
        return Testimony(total, terms, attributes)

    def _total(
        self,
        head: TypeHead,
        features: VisionFeatures,
        key_frames: Sequence[KeyFrame],
        evidence: Evidence,
        known: Mapping[str, float | None] | None = None,
    ) -> tuple[float, dict[str, float]]:
        terms = {}
        moves = _moves(key_frames)
        clipped = any(frame.view is View.CLIP for frame in key_frames)
        for name, setting in head.terms.items():
            if (moves and setting.get("still_only")) or (clipped and setting.get("clipless_only")):
                continue
            value = self._term(name, setting, head, features, key_frames, evidence)
            told = (known or {}).get(name)
            value = value if told is None else told
            if value is not None and math.isfinite(value):
                terms[name] = setting["coefficient"] * (value - setting["centre"])
        return max(-head.bound, min(head.bound, head.bias + sum(terms.values()))), terms

    def _term(
        self,
        name: str,
        setting: Mapping[str, float],
        head: TypeHead,
        features: VisionFeatures,
        key_frames: Sequence[KeyFrame],
        evidence: Evidence,
    ) -> float | None:
        if name.startswith("attribute:"):
            logits = attribute_logits(features.logits, name.removeprefix("attribute:"))
            return pool_stills(logits, key_frames, setting.get("region", 0.5), told=is_reported(evidence))
        if name == "scene":
            return None if head.scene is None else head.scene.log_odds(features.scene)
        if name == "clip":
            return None if head.clip is None else head.clip.log_odds(features.clip)
        moving = [index for index, frame in enumerate(key_frames) if frame.view is View.MOTION]
        if name == "motion":
            return float(features.logits[moving, _FIGHT].mean()) if moving else None
        if name == "flow":
            known = [index for index in moving if np.isfinite(features.motion[index]).all()]
            return self._flow.log_odds(features.motion[known]) if known and self._flow else None
        if head.evidence is None:
            return None
        return head.evidence.log_odds(evidence_numbers(evidence))

    def _attributes(
        self, features: VisionFeatures, key_frames: Sequence[KeyFrame], clip: float | None, *, told: bool
    ) -> dict[str, float]:
        found = {}
        moving = [index for index, frame in enumerate(key_frames) if frame.view is View.MOTION]
        for column, name in enumerate(ATTRIBUTES):
            logit = pool_stills(features.logits[:, column], key_frames, 0.5, told=told)
            line = self._seen.get(name)
            second = None if line is None else line.log_odds(features.scene)
            if column == _FIGHT and clip is not None:
                logit = clip
            elif column == _FIGHT and moving:
                motion = float(features.logits[moving, _FIGHT].mean())
                logit = motion if logit is None else (logit + motion) / 2
            elif second is not None:
                logit = second if logit is None else (logit + second) / 2
            if logit is not None:
                found[name] = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))
        return found


def _made_for(stored: Mapping[str, str]) -> MadeFor:
    missing = [field.name for field in fields(MadeFor) if field.name not in stored]
    if missing:
        raise ValueError(f"fitted only in part (models/train/README.md): it lacks {', '.join(missing)}")
    return MadeFor(**stored)


def _reads_scene(head: TypeHead, key_frames: Sequence[KeyFrame]) -> bool:
    """Whether this way of being real reads scene features of these views."""
    setting = head.terms.get("scene", {})
    return head.scene is not None and not (setting.get("still_only") and _moves(key_frames))


def _moves(key_frames: Sequence[KeyFrame]) -> bool:
    """Whether time is seen in any view; the motion views may have been left out for a clip view."""
    return any(frame.view in (View.MOTION, View.CLIP) for frame in key_frames)
