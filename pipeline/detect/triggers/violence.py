"""Violence: fast, disorderly movement of people close together.

Person boxes fail in blurred brawls, so the movement itself must be able to fire: statistics of dense optical
flow over a sliding window (in the spirit of Hassner et al., "Violent Flows", 2012, who read how flow
magnitudes change over time), together with people's distance and limb speed where they are seen. The
weights are a logistic regression on two-second CCTV clips, in ``violence_weights.py``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.detect import facts
from pipeline.detect.boxes import gap, overlap, union
from pipeline.detect.posture import limb_speed, pose_of
from pipeline.detect.scene import Firing, Scene
from pipeline.detect.triggers.violence_weights import FEATURES, INTERCEPT, MEAN, SCALE, WEIGHT
from pipeline.types import Array, Box, EventType, JsonScalar

PEOPLE = frozenset({"person"})


@dataclass(frozen=True, slots=True)
class ViolenceParams:
    """Thresholds.

    Attributes:
        window_s: Length of the sliding window.
        frames: Frames the window must hold before it is judged.
        score: Least probability of the logistic regression.
        min_energy: Least motion (share of the frame, mean of the window); below it nothing is judged.
        still_gap: On a single picture two people must be at most this close, heights.
        attribute: Least ``fight`` probability of an appearance scorer on a single picture.
        veto: In a video, movement counts only if the ``fight`` probability reached this within the window,
            or the movement alone is beyond doubt.
        beyond_doubt: Probability from which the movement alone counts while two people are seen.
        alone: The ``veto`` while fewer than two people are seen: detectors lose people in a brawl.
        look: From this ``fight`` probability on, ``look_score`` takes the place of ``score``.
        look_score: Least probability of the logistic regression then.
    """

    window_s: float = 2.0
    frames: int = 5
    score: float = 0.2
    min_energy: float = 0.004
    still_gap: float = 0.1
    attribute: float = 0.04
    veto: float = 0.03
    beyond_doubt: float = 0.75
    alone: float = 0.08
    look: float = 0.5
    look_score: float = 0.08


@dataclass(frozen=True, slots=True)
class Sample:
    """What one frame adds to the window; names as in ``facts``, flows in frame widths per second.

    ``look`` is the ``fight`` probability of an appearance scorer, if there is one.
    """

    t_s: float
    area: float
    energy: float
    flow_peak: float
    flow_mean: float
    disorder: float
    change: float
    spread: float
    people: int
    distance: float
    overlap: float
    limbs: float
    box: Box | None
    look: float | None = None


class ViolenceTrigger:
    """Suspects a fight or an attack.

    Args:
        params: Thresholds.
    """

    name = "violence-flow-people"
    event_type = EventType.VIOLENCE

    def __init__(self, params: ViolenceParams | None = None) -> None:
        self.params = params or ViolenceParams()
        self._sampler = WindowSampler()
        self._window: deque[Sample] = deque()

    def update(self, scene: Scene) -> Firing | None:
        """Take in one sampled frame."""
        if scene.is_still:
            return self._still(scene)
        self._window.append(self._sampler.sample(scene))
        while scene.t_s - self._window[0].t_s > self.params.window_s:
            self._window.popleft()
        window = list(self._window)
        if scene.only_animals:
            return None
        if len(window) < self.params.frames or mean_of(window, "area") < self.params.min_energy:
            return None
        score = probability(features(window))
        people = max(sample.people for sample in window)
        if not self._counts(score, people, [sample.look for sample in window if sample.look is not None]):
            return None
        peak = max(window, key=lambda sample: sample.flow_peak)
        limbs = max(sample.limbs for sample in window)
        measured: dict[str, JsonScalar] = {
            facts.MOTION_AREA: round(max(sample.area for sample in window), 4),
            facts.MOTION_ENERGY: round(max(sample.energy for sample in window), 4),
            facts.FLOW_PEAK: round(peak.flow_peak, 3),
            facts.FLOW_MEAN: round(peak.flow_mean, 3),
            facts.PERSON_COUNT: people,
            facts.GLOBAL_CHANGE: round(scene.motion.global_change, 3),
        }
        if people >= 2:
            measured[facts.PEOPLE_DISTANCE] = round(min(sample.distance for sample in window), 2)
            measured[facts.PEOPLE_OVERLAP] = round(max(sample.overlap for sample in window), 2)
        if limbs:
            measured[facts.LIMB_SPEED] = round(limbs, 2)
        seen = "1 person" if people == 1 else f"{people} people"
        note = f"Fast, disorderly movement for {window[-1].t_s - window[0].t_s:.1f} s, {seen} seen."
        return Firing(score, note, measured, peak.box, window[0].t_s)

    def _counts(self, score: float, people: int, looks: list[float]) -> bool:
        params = self.params
        if not looks:
            return score >= params.score
        look = max(looks)
        if score < (params.look_score if look >= params.look else params.score):
            return False
        if people < 2:
            return look >= params.alone
        return look >= params.veto or score >= params.beyond_doubt

    def _still(self, scene: Scene) -> Firing | None:
        people = scene.boxes(PEOPLE, 0.25)
        near, common = closeness(people)
        seen = scene.attributes.get("fight", 0.0)
        if (len(people) < 2 or near > self.params.still_gap) and seen < self.params.attribute:
            return None
        measured: dict[str, JsonScalar] = {facts.PERSON_COUNT: len(people), facts.STILL_IMAGE: True}
        if len(people) >= 2:
            measured |= {facts.PEOPLE_DISTANCE: round(near, 2), facts.PEOPLE_OVERLAP: round(common, 2)}
        box = scene.norm(union(people)) if people else None
        note = f"{len(people)} people are very close together."
        return Firing(max(0.25 + 0.3 * common, 0.2 + 0.7 * seen), note, measured, box)


class WindowSampler:
    """Reduces scenes to samples; remembers the last flow and poses."""

    def __init__(self) -> None:
        self._flow: Array | None = None
        self._points: list[tuple[Box, Array]] = []
        self._points_s = 0.0

    def sample(self, scene: Scene) -> Sample:
        """The sample of one frame."""
        motion, flow = scene.motion, scene.motion.flow
        disorder = change = spread = 0.0
        if flow is not None:
            disorder, spread = flow_disorder(flow)
            if self._flow is not None and self._flow.shape == flow.shape:
                change = float(np.percentile(np.hypot(*np.moveaxis(flow - self._flow, 2, 0)), 98))
        self._flow = flow
        people = scene.boxes(PEOPLE, 0.25)
        near, common = closeness(people)
        return Sample(
            scene.t_s,
            motion.area,
            motion.energy,
            motion.flow_peak,
            motion.flow_mean,
            disorder,
            change,
            spread,
            len(people),
            near,
            common,
            self._limbs(scene, people),
            _moving_people(scene, people) or (motion.blobs[0] if motion.blobs else None),
            scene.attributes.get("fight"),
        )

    def _limbs(self, scene: Scene, people: list[Box]) -> float:
        if not scene.looked:
            return 0.0
        now = []
        for box in people:
            index = pose_of(box, scene.poses)
            if index is not None and scene.poses.score[index] >= 0.2:
                now.append((box, scene.poses.keypoints[index]))
        dt = scene.t_s - self._points_s
        fastest = 0.0
        if dt <= 0.5:
            for box, points in now:
                for earlier_box, earlier in self._points:
                    if overlap(box, earlier_box) > 0.6:
                        height = max(box[3] - box[1], earlier_box[3] - earlier_box[1])
                        fastest = max(fastest, limb_speed(points, earlier, height, dt))
        self._points, self._points_s = now, scene.t_s
        return min(fastest, 20.0)


def flow_disorder(flow: Array) -> tuple[float, float]:
    """How evenly directions are spread (0 one way, 1 all ways), and the spread of speeds over the mean."""
    length = np.hypot(flow[..., 0], flow[..., 1])
    moving = length > max(0.03, float(np.percentile(length, 90)) * 0.5)
    if np.count_nonzero(moving) < 8:
        return 0.0, 0.0
    angle = np.arctan2(flow[..., 1][moving], flow[..., 0][moving])
    weights = length[moving]
    histogram, _ = np.histogram(angle, bins=12, range=(-np.pi, np.pi), weights=weights)
    shares = histogram / max(float(histogram.sum()), 1e-9)
    entropy = -float(np.sum(shares * np.log(shares + 1e-9))) / np.log(12)
    return entropy, float(weights.std() / max(float(weights.mean()), 1e-9))


def closeness(people: list[Box]) -> tuple[float, float]:
    """Smallest gap of any two people in heights (9 when fewer than two), and their largest overlap."""
    near, common = 9.0, 0.0
    for i, one in enumerate(people):
        for other in people[i + 1 :]:
            height = max(one[3] - one[1], other[3] - other[1], 1.0)
            near = min(near, gap(one, other) / height)
            common = max(common, overlap(one, other))
    return near, common


def features(window: list[Sample]) -> Array:
    """Statistics of a window, in the order of ``FEATURES``."""
    values: list[float] = []
    for name in ("area", "energy", "flow_peak", "flow_mean", "disorder", "change", "spread", "limbs"):
        series = np.array([getattr(sample, name) for sample in window], np.float32)
        if name in ("area", "energy", "flow_peak", "flow_mean", "change", "limbs"):
            series = np.log1p(series * 20)
        values += [float(series.mean()), float(series.max()), float(series.std())]
    people = np.array([sample.people for sample in window], np.float32)
    values += [float(np.minimum(people, 6).mean()), float(np.minimum(people, 6).max())]
    values.append(float(np.exp(-np.array([sample.distance for sample in window]) * 2).max()))
    values.append(float(np.array([sample.overlap for sample in window]).max()))
    result = np.array(values, np.float32)
    assert len(result) == len(FEATURES)
    return result


def probability(values: Array) -> float:
    """Logistic regression of a window's statistics."""
    score = float(((values - np.array(MEAN)) / np.array(SCALE)) @ np.array(WEIGHT)) + INTERCEPT
    return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))


def mean_of(window: list[Sample], name: str) -> float:
    """Mean of one measurement over a window."""
    return float(np.mean([getattr(sample, name) for sample in window]))


def _moving_people(scene: Scene, people: list[Box]) -> Box | None:
    moving = [scene.norm(box) for box in people if scene.motion.share_in(scene.norm(box)) > 0.1]
    return union(moving) if moving else None
