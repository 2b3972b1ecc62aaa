"""From frames to scenes: motion gate, detector and pose where they are worth their time, tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.detect.boxes import iou_matrix
from pipeline.detect.company import Company
from pipeline.detect.motion import Motion, MotionGate
from pipeline.detect.scene import AppearanceScorer, Scene
from pipeline.detect.tracker import Tracker
from pipeline.interfaces import Detector, PoseEstimator
from pipeline.types import Detections, Frame, Image, Poses


@dataclass(frozen=True, slots=True)
class LookParams:
    """When the detectors look.

    Attributes:
        idle_every_s: Without motion the triggers are still told this often what is there.
        refresh_s: That is what the last look found, as nothing has moved since, until it is this old.
        held_every_s: While the gate is held open and nothing moves just now, it looks this often.
        empty_every_s: With motion, but nothing found in the last looks, it looks this often.
        empty_looks: How many looks that takes.
        pose_hold_s: Pose is estimated this long after a person was last seen.
        pose_probe: With motion but no person, pose is tried on every so many looks: it finds some that
            the detector misses.
        pose_adds: A person whom only the pose estimator sees counts from this score on.
        appearance_every_s: With motion, the whole frame's appearance is scored this often.
        appearance_still_s: Without, this often.
    """

    idle_every_s: float = 2.0
    refresh_s: float = 8.0
    held_every_s: float = 0.6
    empty_every_s: float = 0.4
    empty_looks: int = 4
    pose_hold_s: float = 1.5
    pose_probe: int = 3
    pose_adds: float = 0.3
    appearance_every_s: float = 1.0
    appearance_still_s: float = 12.0


class SceneReader:
    """Reads one stream's frames into scenes.

    Args:
        detector: Finds objects.
        pose: Finds people's key points.
        appearance: Reads attributes off whole frames; optional.
        params: When the detectors look.

    Attributes:
        looks: How often the detector looked.
        repeats: How often its last finding was taken again, as nothing had moved.
        poses: How often the pose estimator did.
        least_pause_s: The detectors look no more often than this, whatever moves: for times of overload.
        skipped: How often they would have looked otherwise.
    """

    def __init__(
        self,
        detector: Detector,
        pose: PoseEstimator,
        appearance: AppearanceScorer | None = None,
        params: LookParams | None = None,
    ) -> None:
        self.params = params or LookParams()
        self.looks = 0
        self.repeats = 0
        self.poses = 0
        self.skipped = 0
        self.least_pause_s = 0.0
        self.detector, self.pose = detector, pose
        self.appearance = appearance
        self._gate, self._tracker, self._company = MotionGate(), Tracker(), Company()
        self._last_s: float | None = None
        self._looked_s = self._person_s = -1e9
        self._probe = 0
        self._empty = 0
        self._known: _Known | None = None
        self._scored_s = -1e9
        self._attributes: Mapping[str, float] = {}

    def read(self, frame: Frame, *, is_still: bool = False) -> Scene:
        """Measure one frame.

        Args:
            frame: The frame; times must rise from call to call.
            is_still: It is a single picture: everything looks at it.
        """
        return read_together([(self, frame)], is_still=is_still)[0]

    def _begin(self, frame: Frame, is_still: bool) -> _Look:
        small = self._gate.small(frame.image)
        motion = self._gate.update(small, frame.t_s)
        dt_s = 0.0 if self._last_s is None else frame.t_s - self._last_s
        self._last_s = frame.t_s
        since = frame.t_s - self._looked_s + 0.01
        due = is_still or since >= self._pause(motion)
        looked = due and (is_still or since >= self.least_pause_s)
        self.skipped += due and not looked
        known = self._still_true(frame, motion) if looked and not is_still else None
        if looked:
            self._looked_s = frame.t_s
            self.looks += known is None
            self.repeats += known is not None
        return _Look(frame, dt_s, small, motion, looked, known)

    def _pause(self, motion: Motion) -> float:
        if not motion.active:
            return self.params.idle_every_s
        empty = self.params.empty_every_s if self._empty >= self.params.empty_looks else 0.0
        held = self.params.held_every_s if motion.area < self._gate.params.min_area else 0.0
        return max(empty, held)

    def _appearance_pause(self, motion: Motion) -> float:
        moves = motion.area >= self._gate.params.min_area
        return self.params.appearance_every_s if moves else self.params.appearance_still_s

    def _still_true(self, frame: Frame, motion: Motion) -> _Known | None:
        """What the detectors found last, if nothing has moved since and it is not too old.

        Any motion would have opened the gate, and an open gate has them look.
        """
        known = self._known
        if known is None or motion.active or known.shape != frame.image.shape:
            return None
        return known if frame.t_s - known.t_s < self.params.refresh_s - 0.01 else None

    def _wants_pose(self, frame: Frame, detections: Detections, is_still: bool) -> bool:
        if any(
            label == "person" and score >= 0.2
            for label, score in zip(detections.label, detections.score, strict=True)
        ):
            self._person_s = frame.t_s
        found = len(detections) and float(detections.score.max()) >= 0.3
        self._empty = 0 if found else self._empty + 1
        self._probe += 1
        return (
            is_still
            or frame.t_s - self._person_s <= self.params.pose_hold_s
            or self._probe % self.params.pose_probe == 0
        )

    def _same_people(self, frame: Frame, motion: Motion, detections: Detections) -> _Known | None:
        """Who was known before, if nothing moves just now and a look finds as many people."""
        known = self._known
        if known is None or known.shape != frame.image.shape or motion.area >= self._gate.params.min_area:
            return None
        before, now = (found.label.count("person") for found in (known.detected, detections))
        return known if before == now else None

    def _merge(self, frame: Frame, detections: Detections, poses: Poses) -> Detections:
        self.poses += 1
        merged = with_posed(detections, poses, self.params.pose_adds)
        if len(merged) > len(detections):
            self._person_s, self._empty = frame.t_s, 0
        return merged

    def _end(
        self, look: _Look, detected: Detections, detections: Detections, poses: Poses, is_still: bool
    ) -> Scene:
        scene = self._scene(look, detected, detections, poses, is_still)
        return scene if is_still else replace(scene, only_animals=self._company.only_animals(scene))

    def _scene(
        self, look: _Look, detected: Detections, detections: Detections, poses: Poses, is_still: bool
    ) -> Scene:
        frame = look.frame
        if not look.looked:
            return Scene(
                frame,
                look.dt_s,
                look.small,
                look.motion,
                False,
                detections,
                poses,
                tracks=tuple(self._tracker.tracks),
                attributes=self._attributes,
            )
        seen = self._tracker.update(detections, frame.t_s)
        if look.known is None:
            self._known = _Known(frame.t_s, frame.image.shape, detected, detections, poses)
        if (
            self.appearance is not None
            and look.known is None
            and frame.t_s - self._scored_s >= self._appearance_pause(look.motion) - 0.01
        ):
            self._attributes, self._scored_s = self.appearance.score(frame.image), frame.t_s
        return Scene(
            frame,
            look.dt_s,
            look.small,
            look.motion,
            True,
            detections,
            poses,
            tuple(seen),
            tuple(self._tracker.tracks),
            tuple(self._tracker.ended),
            is_still,
            self._attributes,
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """What the motion gate made of a frame, and whether the detectors are to look at it."""

    frame: Frame
    dt_s: float
    small: Image
    motion: Motion
    looked: bool
    known: _Known | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found when last looked: by the detector alone, with whom pose added, and the poses."""

    t_s: float
    shape: tuple[int, ...]
    detected: Detections
    detections: Detections
    poses: Poses


def read_together(pairs: Sequence[tuple[SceneReader, Frame]], *, is_still: bool = False) -> list[Scene]:
    """Measure one frame of each of several streams: those the detectors look at go to them as one batch.

    Args:
        pairs: A reader and its next frame, each reader once. All must share detector and pose estimator.
        is_still: They are single pictures.

    Returns:
        One scene a pair, in order.
    """
    if not pairs:
        return []
    detector, pose = pairs[0][0].detector, pairs[0][0].pose
    looks = [reader._begin(frame, is_still) for reader, frame in pairs]
    chosen = [i for i, look in enumerate(looks) if look.looked and look.known is None]
    detections = [look.known.detections if look.known else Detections.empty() for look in looks]
    poses = [look.known.poses if look.known else Poses.empty() for look in looks]
    if chosen:
        for i, found in zip(chosen, detector.detect([pairs[i][1].image for i in chosen]), strict=True):
            detections[i] = found
    detected, posed = list(detections), []
    for i in chosen:
        reader, frame = pairs[i]
        wants = reader._wants_pose(frame, detections[i], is_still)
        same = None if is_still else reader._same_people(frame, looks[i].motion, detections[i])
        if same is not None:
            poses[i] = same.poses
            detections[i] = with_posed(detections[i], same.poses, reader.params.pose_adds)
        elif wants:
            posed.append(i)
    if posed:
        for i, people in zip(posed, pose.estimate([pairs[i][1].image for i in posed]), strict=True):
            poses[i] = people
            detections[i] = pairs[i][0]._merge(pairs[i][1], detections[i], people)
    return [
        reader._end(look, detected[i], detections[i], poses[i], is_still)
        for i, ((reader, _), look) in enumerate(zip(pairs, looks, strict=True))
    ]


def with_posed(detections: Detections, poses: Poses, min_score: float) -> Detections:
    """Add people whom only the pose estimator saw."""
    rows = [i for i in range(len(poses)) if poses.score[i] >= min_score]
    people = [i for i, label in enumerate(detections.label) if label == "person"]
    if people and rows:
        known = iou_matrix(poses.xyxy[rows], detections.xyxy[people]).max(axis=1)
        rows = [row for row, iou in zip(rows, known, strict=True) if iou < 0.2]
    if not rows:
        return detections
    return Detections(
        np.concatenate([detections.xyxy, poses.xyxy[rows]]),
        np.concatenate([detections.score, poses.score[rows]]),
        detections.label + ("person",) * len(rows),
    )
