"""Suppression of overlapping boxes, class by class, as the detector's own graph did it."""

from __future__ import annotations

import numpy as np

from models.detect.ssd import KEPT, suppress


def test_overlaps_go_within_a_class_and_stay_between_classes() -> None:
    """Given boxes of two classes in one place, when suppressed, then the strongest of each class stays."""
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.52], [0.6, 0.6, 0.9, 0.9]], np.float32)
    scores = np.zeros((3, len(KEPT)), np.float32)
    person, car, bear = (KEPT.index(number) for number in (1, 3, 88))
    scores[0, person], scores[1, person], scores[1, car] = 0.9, 0.8, 0.5
    scores[2, person], scores[2, bear] = 0.4, 0.1

    kept, classes, strengths = suppress(boxes, scores, 0.3)

    assert classes.tolist() == [1, 3, 1]
    assert np.allclose(strengths, [0.9, 0.5, 0.4])
    assert np.allclose(kept[2], boxes[2])


def test_nothing_strong_enough_is_nothing() -> None:
    """Given weak scores only, when suppressed, then no box is left."""
    kept, classes, strengths = suppress(
        np.zeros((4, 4), np.float32), np.full((4, len(KEPT)), 0.1, np.float32), 0.3
    )
    assert kept.shape == (0, 4) and not len(classes) and not len(strengths)
