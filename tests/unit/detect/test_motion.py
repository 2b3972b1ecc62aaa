from __future__ import annotations

import numpy as np
import pytest

from pipeline.detect.motion import Motion, MotionGate
from tests.media import Painter, moving_square


def run(paint: Painter, frames: int = 12, step_s: float = 0.2) -> list[Motion]:
    gate = MotionGate()
    return [gate.update(gate.small(paint(index)), index * step_s) for index in range(frames)]


def textured(seed: int = 3) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(40, 200, (30, 40, 3), np.uint8)
    return np.kron(coarse, np.ones((6, 6, 1), np.uint8))


def test_sensor_noise_closes_the_gate_after_its_hold() -> None:
    rng = np.random.default_rng(5)
    base = textured()

    def paint(_: int) -> np.ndarray:
        return np.clip(base + rng.normal(0, 3, base.shape), 0, 255).astype(np.uint8)

    seen = run(paint, 25)
    assert seen[0].active, "the first frame is looked at"
    assert not any(motion.active for motion in seen[12:])
    assert max(motion.area for motion in seen) < 0.0008


def test_moving_object_opens_the_gate_and_is_located() -> None:
    seen = run(moving_square(speed=8))
    last = seen[-1]
    assert last.active and 0.005 < last.area < 0.5
    x1, y1, x2, y2 = last.blobs[0]
    left = 11 * 8 / 160
    assert x1 <= left + 0.15 and x2 >= left and y1 < 0.4 < y2
    assert last.flow_peak > 0
    assert last.share_in((x1, y1, x2, y2)) > 0.3 > last.share_in((0.0, 0.8, 0.2, 1.0))


def test_light_switched_is_a_fact_not_motion() -> None:
    base = textured().astype(int)
    seen = run(lambda index: np.clip(base + (40 if index >= 6 else 0), 0, 255).astype(np.uint8))
    assert seen[6].global_change > 0.5
    assert seen[6].area < 0.1


def test_camera_that_moves_is_mostly_taken_out() -> None:
    base = textured()
    raw = run(lambda index: np.roll(base, 2 * (index % 2), axis=1))
    shaken = run(lambda index: np.roll(base, 2 * (index % 2), axis=1)[:, 8:-8])
    assert np.mean([motion.area for motion in shaken[3:]]) < 0.15
    assert raw[-1].mask.shape == (240, 320)


def test_change_of_resolution_is_a_new_start() -> None:
    gate = MotionGate()
    gate.update(gate.small(np.zeros((120, 160, 3), np.uint8)), 0.0)
    motion = gate.update(gate.small(np.full((90, 160, 3), 255, np.uint8)), 0.2)
    assert motion.active and motion.area == 0.0


@pytest.mark.parametrize("shape", [(2, 2), (1, 300), (300, 1), (16, 640), (640, 16)])
def test_odd_shapes_are_survived(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    seen = run(lambda _: rng.integers(0, 255, (*shape, 3), np.uint8), 8)
    assert all(np.isfinite(motion.flow_peak) for motion in seen)


def test_nothing_moves_from_one_scene_to_another() -> None:
    """Given a stream that switches to another picture, then that is a cut, looked at, and no movement."""
    seen = run(lambda index: textured(3 if index < 6 else 4))
    assert [motion.cut for motion in seen] == [False] * 6 + [True] + [False] * 5
    assert seen[6].active and seen[6].area == 0.0 and seen[6].flow is None and seen[6].flow_peak == 0.0
    assert seen[6].global_change == 1.0, "triggers that look for change leave such a frame out"
    assert not any(motion.cut for motion in run(moving_square(speed=8)))
