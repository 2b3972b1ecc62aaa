"""Tracks: detections joined over time.

Two-stage association as in ByteTrack (Zhang et al., 2022): confident detections first, then the weak ones,
which may prolong a track but never begin one. Prediction is a constant-velocity Kalman filter on box centre
and size whose noise scales with the box, as in SORT (Bewley et al., 2016).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.detect.boxes import iou_matrix
from pipeline.types import Array, Box, Detections

VEHICLES = frozenset({"car", "truck", "bus", "motorcycle", "bicycle", "train"})
"""Labels tracked as one group: detectors confuse them from frame to frame."""
BAGS = frozenset({"backpack", "handbag", "suitcase"})
"""Labels of things people leave behind."""
ANIMALS = frozenset({"bird", "cat", "dog", "horse", "sheep", "cow", "bear", "teddy bear"})
"""Labels a lying person is often given."""


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How detections become tracks.

    Attributes:
        high_score: Detections from this score on are matched first and may begin a track.
        low_score: Weaker ones are dropped.
        min_iou: Least buffered overlap of prediction and detection, 0..1.
        buffer: Widening of boxes before matching, share of their size.
        lost_s: A track that is not seen this long ends.
        min_hits: Detections before a track counts as real.
        history_s: How far back a track remembers.
    """

    high_score: float = 0.4
    low_score: float = 0.15
    min_iou: float = 0.1
    buffer: float = 0.3
    lost_s: float = 2.0
    min_hits: int = 2
    history_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Sight:
    """One sighting of a track: ``box`` in pixels."""

    t_s: float
    box: Box
    score: float


@dataclass(slots=True)
class Track:
    """One object over time. ``group`` is person, vehicle, bag, animal or the label itself."""

    track_id: int
    group: str
    mean: Array
    covariance: Array
    first_s: float
    last_s: float
    hits: int = 1
    labels: Counter[str] = field(default_factory=Counter)
    history: deque[Sight] = field(default_factory=deque)

    @property
    def label(self) -> str:
        """The label it was given most."""
        return self.labels.most_common(1)[0][0]

    @property
    def box(self) -> Box:
        """Where it was last seen, px."""
        return self.history[-1].box

    @property
    def predicted(self) -> Box:
        """Where it should be by the tracker's last update, px: beyond ``box`` when it was not seen then."""
        return _box(self.mean)

    def since(self, t_s: float) -> list[Sight]:
        """Sightings from a time on."""
        return [sight for sight in self.history if sight.t_s >= t_s]


def group_of(label: str) -> str:
    """What a label is tracked as."""
    if label in VEHICLES:
        return "vehicle"
    if label in BAGS:
        return "bag"
    return "animal" if label in ANIMALS else label


class Tracker:
    """Tracks of one stream.

    Args:
        params: How detections become tracks.
    """

    def __init__(self, params: TrackerParams | None = None) -> None:
        self.params = params or TrackerParams()
        self.tracks: list[Track] = []
        self.ended: list[Track] = []
        """Tracks that ended with the last update."""
        self._next_id = 1
        self._last_s = 0.0

    def update(self, detections: Detections, t_s: float) -> list[Track]:
        """Associate the detections of one frame.

        Args:
            detections: Boxes in pixels.
            t_s: Stream time.

        Returns:
            Tracks seen in this frame.
        """
        dt = max(t_s - self._last_s, 0.0)
        self._last_s = t_s
        for track in self.tracks:
            _predict(track, dt)
        groups = [group_of(label) for label in detections.label]
        seen: list[Track] = []
        for group in sorted(set(groups)):
            rows = [i for i, name in enumerate(groups) if name == group]
            tracks = [track for track in self.tracks if track.group == group]
            high = [i for i in rows if detections.score[i] >= self.params.high_score]
            low = [i for i in rows if self.params.low_score <= detections.score[i] < self.params.high_score]
            first, tracks, high = self._match(tracks, high, detections)
            second, _, _ = self._match(tracks, low, detections)
            for track, row in first + second:
                _correct(track, detections, row, t_s, self.params.history_s)
                seen.append(track)
            seen += [self._begin(detections, row, group, t_s) for row in high]
        self.ended = [track for track in self.tracks if t_s - track.last_s > self.params.lost_s]
        self.tracks = [track for track in self.tracks if t_s - track.last_s <= self.params.lost_s]
        return seen

    def _match(
        self, tracks: list[Track], rows: list[int], detections: Detections
    ) -> tuple[list[tuple[Track, int]], list[Track], list[int]]:
        if not tracks or not rows:
            return [], tracks, rows
        predicted = np.array([_box(track.mean) for track in tracks], np.float32)
        ious = iou_matrix(predicted, detections.xyxy[rows], self.params.buffer)
        pairs = [
            (int(i), int(j))
            for i, j in zip(*linear_sum_assignment(-ious), strict=True)
            if ious[i, j] >= self.params.min_iou
        ]
        taken_tracks, taken_rows = {i for i, _ in pairs}, {j for _, j in pairs}
        return (
            [(tracks[i], rows[j]) for i, j in pairs],
            [track for i, track in enumerate(tracks) if i not in taken_tracks],
            [row for j, row in enumerate(rows) if j not in taken_rows],
        )

    def _begin(self, detections: Detections, row: int, group: str, t_s: float) -> Track:
        measured = _measure(detections.xyxy[row])
        size = measured[3]
        spread = np.array([0.1, 0.1, 0.1, 0.1, 1.0, 1.0, 0.3, 0.3], np.float32) * size
        track = Track(
            self._next_id,
            group,
            np.concatenate([measured, np.zeros(4, np.float32)]),
            np.diag(spread**2).astype(np.float32),
            t_s,
            t_s,
        )
        self._next_id += 1
        self.tracks.append(track)
        _remember(track, detections, row, t_s, self.params.history_s)
        return track


def _measure(xyxy: Array) -> Array:
    x1, y1, x2, y2 = (float(value) for value in xyxy)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, 1.0), max(y2 - y1, 1.0)], np.float32)


def _box(mean: Array) -> Box:
    x, y, w, h = (float(value) for value in mean[:4])
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def _predict(track: Track, dt: float) -> None:
    step = np.eye(8, dtype=np.float32)
    step[:4, 4:] = np.eye(4, dtype=np.float32) * dt
    size = float(track.mean[3])
    noise = (np.array([0.05, 0.05, 0.05, 0.05, 0.5, 0.5, 0.2, 0.2], np.float32) * size) ** 2 * max(dt, 1e-3)
    track.mean = step @ track.mean
    track.mean[2:4] = np.maximum(track.mean[2:4], 1.0)
    track.covariance = (step @ track.covariance @ step.T + np.diag(noise)).astype(np.float32)


def _correct(track: Track, detections: Detections, row: int, t_s: float, history_s: float) -> None:
    measured = _measure(detections.xyxy[row])
    noise = np.diag((np.full(4, 0.05, np.float32) * measured[3]) ** 2)
    gain = track.covariance[:, :4] @ np.linalg.inv(track.covariance[:4, :4] + noise)
    track.mean = (track.mean + gain @ (measured - track.mean[:4])).astype(np.float32)
    track.covariance = (track.covariance - gain @ track.covariance[:4]).astype(np.float32)
    track.hits += 1
    _remember(track, detections, row, t_s, history_s)


def _remember(track: Track, detections: Detections, row: int, t_s: float, history_s: float) -> None:
    x1, y1, x2, y2 = (float(value) for value in detections.xyxy[row])
    track.last_s = t_s
    track.labels[detections.label[row]] += 1
    track.history.append(Sight(t_s, (x1, y1, x2, y2), float(detections.score[row])))
    while t_s - track.history[0].t_s > history_s:
        track.history.popleft()
