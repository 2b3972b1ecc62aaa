"""The encoder on the committed weights: shapes, batching, caching, healing, refusal of damaged files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from models.embedded.assets import is_whole
from models.embedded.vision import (
    ATTRIBUTES,
    MANIFEST,
    WEIGHTS_DIR,
    VisionEncoder,
    VisionFeatures,
    prepare,
)
from models.embedded.vision_motion import MOTION_STATISTICS, motion_statistics
from pipeline.errors import ModelMissing
from pipeline.types import View


def picture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("vision-cache")


@pytest.fixture(scope="module")
def encoder(cache):
    return VisionEncoder(cache, 1)


def test_shapes_and_names(encoder):
    found = encoder.encode([picture(1), picture(2, 100, 500)], [View.FULL, View.MOTION])
    assert found.tokens.shape == (2, 9, 1280)
    assert found.pooled.shape == (2, 1280)
    assert found.logits.shape == (2, len(ATTRIBUTES))
    assert found.motion.shape == (2, len(MOTION_STATISTICS))
    assert np.isnan(found.motion[0]).all() and np.isfinite(found.motion[1]).all()
    assert all(np.isfinite(part).all() for part in (found.tokens, found.pooled, found.logits))


def test_tokens_are_the_pooled_map_in_parts(encoder):
    found = encoder.encode([picture(3)], [View.FULL])
    assert np.allclose(found.tokens.mean(1), found.pooled, atol=1e-4)


def test_the_graph_computes_what_torch_computes(tmp_path):
    torch = pytest.importorskip("torch")
    from models.train.vision_export import stock_network, write
    from models.train.vision_manifest import write_manifest

    network = stock_network()
    empty = (np.zeros((len(ATTRIBUTES), 1280)), np.zeros(len(ATTRIBUTES)))
    write(tmp_path / "vision.safetensors", network, empty, ATTRIBUTES, {"training": "none"})
    write_manifest(tmp_path)
    found = VisionEncoder(tmp_path / "cache", 1, weights_dir=tmp_path).encode(
        [picture(4), picture(5)], [View.FULL, View.REGION]
    )
    pixels = np.stack([prepare(picture(seed))[:, :, ::-1].transpose(2, 0, 1) for seed in (4, 5)])
    with torch.no_grad():
        feature_map = network.extract_features((torch.tensor(pixels.copy()).float() - 127) / 128)
    grid = torch.nn.functional.avg_pool2d(feature_map, 3)
    # fp16 weights are the only difference; reading order would show as a difference of several units.
    assert np.abs(found.tokens - grid.flatten(2).transpose(1, 2).numpy()).max() < 0.15
    assert np.abs(found.pooled - feature_map.mean((2, 3)).numpy()).max() < 0.05


def test_a_batch_gives_what_single_calls_give(encoder):
    images = [picture(seed) for seed in range(10)]
    views = [View.MOTION if index % 3 == 0 else View.REGION for index in range(10)]
    together = encoder.encode(images, views)
    for index in (0, 1, 9):
        alone = encoder.encode([images[index]], [views[index]])
        assert np.allclose(together.pooled[index], alone.pooled[0], atol=1e-3)
        assert np.allclose(together.logits[index], alone.logits[0], atol=1e-2)


def test_nothing_in_nothing_out(encoder):
    found = encoder.encode([], [])
    assert len(found) == 0 and found.tokens.shape == (0, 9, 1280)


def test_select_keeps_order(encoder):
    found = encoder.encode([picture(1), picture(2)], [View.FULL, View.FULL])
    assert np.array_equal(found.select([1]).pooled[0], found.pooled[1])
    assert isinstance(found.select([]), VisionFeatures)


@pytest.mark.parametrize(
    "bad", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)]
)
def test_a_picture_of_another_kind_is_refused(bad):
    with pytest.raises(ValueError, match="image must be"):
        prepare(bad)


def test_as_many_views_as_images(encoder):
    with pytest.raises(ValueError, match="2 images but 1 views"):
        encoder.encode([picture(1), picture(1)], [View.FULL])


def test_a_damaged_cache_heals(encoder, cache):
    before = encoder.encode([picture(7)], [View.FULL]).logits
    broken = 0
    for binary in cache.glob("vision-*/*.bin"):
        half = binary.read_bytes()[: binary.stat().st_size // 2]
        binary.unlink()  # the other encoder still reads what was there
        binary.write_bytes(half)
        broken += 1
    assert broken
    again = VisionEncoder(cache, 1)
    assert np.allclose(again.encode([picture(7)], [View.FULL]).logits, before, atol=1e-4)
    assert all(is_whole(binary.parent) for binary in cache.glob("vision-*/*.bin"))


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, encoder):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    found = VisionEncoder(blocked / "cache", 1).encode([picture(7)], [View.FULL])
    assert np.allclose(found.logits, encoder.encode([picture(7)], [View.FULL]).logits, atol=1e-4)


def test_damaged_weights_are_refused(tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(WEIGHTS_DIR, weights)
    file = weights / json.loads((weights / MANIFEST).read_text())["files"]["stills"]["file"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelMissing, match=r"damaged"):
        VisionEncoder(tmp_path / "cache", weights_dir=weights)
    file.unlink()
    with pytest.raises(ModelMissing, match=r"not there"):
        VisionEncoder(tmp_path / "cache", weights_dir=weights)


def test_weights_id_names_exactly_these_weights(tmp_path, encoder, cache):
    assert encoder.weights_id == VisionEncoder(cache, 1).weights_id
    assert encoder.weights_id.startswith("vision-") and len(encoder.weights_id) == len("vision-") + 12


def test_no_torch_at_run_time(cache):
    code = (
        "import sys, numpy as np; from pathlib import Path; from models.embedded.vision import VisionEncoder;"
        "from models.embedded.heads import DecisionHead; from pipeline.types import View;"
        f"VisionEncoder(Path({str(cache)!r}), 1).encode([np.zeros((9, 9, 3), np.uint8)], [View.FULL]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def motion_picture(shift: int) -> np.ndarray:
    base = cv2.cvtColor(picture(11, 240, 420), cv2.COLOR_BGR2GRAY)
    block = cv2.resize(base[:40, :40], (80, 80))
    frames = []
    for step in (-1, 0, 1):
        frame = base[:, :320].copy()
        x = 120 + step * shift
        frame[80:160, x : x + 80] = block
        frames.append(frame)
    return cv2.merge(frames)


def test_motion_statistics_grow_with_motion():
    still, slow, fast = (
        dict(zip(MOTION_STATISTICS, motion_statistics(motion_picture(shift)), strict=True))
        for shift in (0, 4, 12)
    )
    assert still["moving_share"] < 0.01 and still["still_share"] > 0.99
    assert still["flow_p99"] < slow["flow_p99"] < fast["flow_p99"]
    assert slow["change_mean"] < fast["change_mean"]


def test_a_moving_camera_is_told_from_moving_things():
    base = cv2.cvtColor(picture(12, 240, 420), cv2.COLOR_BGR2GRAY)
    panned = cv2.merge([np.ascontiguousarray(base[:, x : x + 320]) for x in (20, 28, 36)])
    values = dict(zip(MOTION_STATISTICS, motion_statistics(panned), strict=True))
    assert values["camera_motion"] > 1.0
    assert values["flow_mean"] < values["camera_motion"]
