"""The clip network: the published weights, the same in torch, read safely, and what heads make of it."""

from __future__ import annotations

import io
import itertools
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.embedded.heads import DecisionHead
from models.embedded.vision import ATTRIBUTES, VisionFeatures
from models.embedded.vision_clip import (
    CLIP_CHANNELS,
    ClipEncoder,
    as_clip,
    without_scene,
)
from models.embedded.vision_clip_net import CHANNELS, read_weights
from models.embedded.vision_motion import MOTION_STATISTICS
from pipeline.clipview import CLIP_FRAMES, clip_sheet
from pipeline.types import EventType, Evidence, Image, KeyFrame, Moment, View
from tests.media import moving_square


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def encoder(cache_dir: Path) -> ClipEncoder:
    return ClipEncoder(cache_dir, threads=1)


def sheet(first: int = 0) -> Image:
    return clip_sheet([moving_square()(first + step) for step in range(CLIP_FRAMES)])


def test_the_frames_of_a_sheet_in_their_order() -> None:
    clip = as_clip(sheet())
    assert clip.shape == (8, 160, 160, 3) and clip.dtype == np.uint8
    assert all((one != other).any() for one, other in itertools.pairwise(clip))


@pytest.mark.slow
def test_the_graph_is_the_network_that_torch_computes(cache_dir: Path) -> None:
    """Two implementations from the same published parameters: padding, order and batch norm must agree.

    Torch is shown every frame twice; ours is given each once, with a first kernel made for pairs.
    """
    encoder = ClipEncoder(cache_dir, 1, exact=True)
    from models.embedded.baseline import TorchBaseline

    one = sheet()
    # The clip network alone: the language tower would take half a minute.
    torch_alone = TorchBaseline.__new__(TorchBaseline)
    torch_alone.prepare_clip()
    ours, theirs = encoder.encode([one])[0], torch_alone.watch(one)
    assert ours.shape == (CLIP_CHANNELS,)
    # The cached graph holds its weights in half precision. Peaks and changes are of different size.
    parts = (part.reshape(4, CHANNELS) for part in (ours, theirs))
    for part, other in zip(*parts, strict=True):
        assert np.abs(part - other).max() < 0.01 * np.abs(other).max()


@pytest.mark.slow
def test_time_matters(encoder: ClipEncoder) -> None:
    """The same frames backwards are another clip; the same clip is the same to the last bit."""
    frames = [moving_square()(step) for step in range(CLIP_FRAMES)]
    forward, again, back = encoder.encode([clip_sheet(frames), clip_sheet(frames), clip_sheet(frames[::-1])])
    assert np.array_equal(forward, again) and np.abs(forward - back).max() > 0.01
    assert encoder.encode([]).shape == (0, CLIP_CHANNELS)


def test_without_the_scene_only_what_moves_is_left() -> None:
    """Given the same movement before two scenes, what is left of either is the same, and grey elsewhere."""
    rng = np.random.default_rng(4)
    left = []
    for scene in rng.integers(60, 120, (2, 160, 160, 3)):
        frames = np.repeat(scene[None], CLIP_FRAMES, axis=0)
        for step in range(CLIP_FRAMES):
            frames[step, 40:60, 10 * step : 10 * step + 10] += 50
        left.append(without_scene(frames.astype(np.uint8)))
    assert np.array_equal(left[0], left[1])
    assert (left[0][3, 40:60, 30:40] == 228).all() and (left[0][3, 80:] == 128).all()


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/sitrep-should-not-exist"),)  # type: ignore[return-value]


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"params": {}}), pickle.dumps(_Evil())])
def test_anything_but_arrays_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a checkpoint of arrays"):
        read_weights(content)


def test_arrays_are_read() -> None:
    stream = io.BytesIO()
    pickle.dump({"params": {"w": np.arange(3.0)}, "batch_stats": {}}, stream)
    assert read_weights(stream.getvalue())["params"]["w"].tolist() == [0.0, 1.0, 2.0]


def test_the_head_of_violence_reads_clip_views_in_place_of_motion_views() -> None:
    """Given a candidate with both, when the clip says fight, then it is one whatever the flow says."""
    head = DecisionHead()
    full = KeyFrame("0" * 64, View.FULL, Moment.PEAK, 0.0, 640, 360)
    frames = [full, replace(full, view=View.MOTION), replace(full, view=View.CLIP)]
    assert head.wants_clip(EventType.VIOLENCE, frames) == [False, False, True]
    assert head.unread(EventType.VIOLENCE, frames) == [False, True, False]
    assert head.unread(EventType.VIOLENCE, frames[:2]) == [False, False]
    assert not any(head.wants_clip(EventType.FIRE, frames)) and not any(head.unread(EventType.FIRE, frames))
    # Weapons are looked for in motion too.
    shown = [frames[0], frames[2]]
    assert head.wants_scene(EventType.VIOLENCE, shown, Evidence()) == [True, False]
    assert head.wants_scene(EventType.VIOLENCE, frames[:1], Evidence()) == [True]
    line = head._types[EventType.VIOLENCE].clip
    assert line is not None
    weights, bias = np.zeros(CLIP_CHANNELS), line.bias
    weights[line.columns] = line.weights

    def testimony(log_odds: float):
        clip = np.full((3, CLIP_CHANNELS), np.nan, np.float32)
        clip[2] = weights * (log_odds - bias) / (weights @ weights)
        seen = VisionFeatures(
            np.zeros((3, 9, 1280), np.float32),
            np.zeros((3, 1280), np.float32),
            np.full((3, len(ATTRIBUTES)), -3.0, np.float32),
            np.full((3, len(MOTION_STATISTICS)), np.nan, np.float32),
            clip=clip,
        )
        return head.testify(EventType.VIOLENCE, seen, frames, Evidence())

    sure, quiet = testimony(4.0), testimony(-4.0)
    assert sure.log_odds > 1 > -1 > quiet.log_odds
    assert sure.terms.keys() == {"clip"}
    assert sure.attributes["fight"] > 0.9 > 0.1 > quiet.attributes["fight"]


def test_a_thread_limit_does_not_tie_the_process_to_one_core(encoder: ClipEncoder) -> None:
    """Given one thread, when it has run, then the process may still use every core."""
    before = os.sched_getaffinity(0)
    encoder.encode([sheet()])
    assert os.sched_getaffinity(0) == before
