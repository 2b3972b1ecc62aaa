from __future__ import annotations

import numpy as np
import pytest

from pipeline.detect.boxes import gap, iou_matrix, overlap
from pipeline.detect.tracker import Tracker
from pipeline.types import Detections
from tests.unit.detect.scenes_for_tests import detections


def test_boxes() -> None:
    one, other = (0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0)
    assert overlap(one, other) == 0.25
    assert gap(one, (5.0, 6.0, 7.0, 8.0)) == 5.0
    ious = iou_matrix(np.array([one], np.float32), np.array([other, one], np.float32))
    assert ious[0].tolist() == pytest.approx([1 / 7, 1.0])


def walk(x: float, score: float = 0.8) -> tuple[str, float, tuple[float, float, float, float]]:
    return ("person", score, (x, 50.0, x + 30, 130.0))


def test_two_people_keep_their_ids_when_they_pass() -> None:
    tracker = Tracker()
    for index in range(14):
        left, right = 10 + 12 * index, 200 - 12 * index
        seen = tracker.update(
            detections([walk(left), ("person", 0.7, (right, 58.0, right + 30, 142.0))]), index * 0.2
        )
        if index == 0:
            begun = {track.track_id: track.box[0] for track in seen}
    first = min(begun, key=lambda key: begun[key])
    last = {track.track_id: track.box[0] for track in tracker.tracks}
    assert set(last) == set(begun)
    assert last[first] > 150, "the one who began on the left is on the right"


def test_weak_detections_prolong_but_never_begin() -> None:
    tracker = Tracker()
    assert tracker.update(detections([walk(10, 0.2)]), 0.0) == []
    (track,) = tracker.update(detections([walk(10)]), 0.2)
    (again,) = tracker.update(detections([walk(16, 0.2)]), 0.4)
    assert again is track and track.hits == 2


def test_labels_of_one_group_are_one_track() -> None:
    tracker = Tracker()
    box = (10.0, 10.0, 90.0, 60.0)
    ids = {
        tracker.update(detections([(label, 0.8, box)]), index * 0.2)[0].track_id
        for index, label in enumerate(("car", "truck", "car"))
    }
    assert len(ids) == 1 and tracker.tracks[0].label == "car" and tracker.tracks[0].group == "vehicle"


def test_lost_track_ends_once() -> None:
    tracker = Tracker()
    tracker.update(detections([walk(10)]), 0.0)
    ended = []
    for index in range(1, 20):
        tracker.update(Detections.empty(), index * 0.2)
        ended += tracker.ended
    assert len(ended) == 1 and tracker.tracks == []


def test_history_is_bounded() -> None:
    tracker = Tracker()
    for index in range(200):
        tracker.update(detections([walk(10)]), index * 0.2)
    assert len(tracker.tracks[0].history) <= 32
