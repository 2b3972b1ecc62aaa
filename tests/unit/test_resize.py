from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.resize import fitted, reduce


@pytest.mark.parametrize(
    ("size", "to"), [((720, 1280), (320, 180)), ((720, 1280), (300, 300)), ((241, 321), (80, 60))]
)
def test_reducing_is_averaging_over_areas(size: tuple[int, int], to: tuple[int, int]) -> None:
    coarse = np.random.default_rng(2).integers(0, 255, (18, 32, 3), np.uint8)
    image = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    expected = cv2.resize(image, to, interpolation=cv2.INTER_AREA).astype(int)
    got = reduce(image, to)
    assert got.shape == expected.shape and got.dtype == np.uint8
    assert np.abs(got - expected).max() <= 2 and np.abs(got - expected).mean() < 0.5


def test_fitting_enlarges_where_a_side_is_too_short() -> None:
    assert fitted(np.zeros((100, 700, 3), np.uint8), (300, 300)).shape == (300, 300, 3)
    assert fitted(np.zeros((300, 300, 3), np.uint8), (300, 300)).shape == (300, 300, 3)
