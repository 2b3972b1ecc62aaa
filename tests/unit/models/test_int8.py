"""Rounding to 8 bits: the committed recipes fit the committed networks, and nothing else is accepted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.embedded.heads import DecisionHead
from models.embedded.int8 import MANIFEST, RECIPES_DIR, named, read_recipe, recipe_for, rounded
from models.embedded.vision import WEIGHTS_DIR, VisionEncoder
from models.embedded.vision_clip import I3D, ClipEncoder
from models.embedded.vision_net import build, read_net
from models.embedded.vision_scene import SceneEncoder
from models.registry import create
from models.train.vision_int8 import SCENE_EXACT
from models.wheelfiles import file_sha256
from pipeline.clipview import CLIP_FRAMES, clip_sheet
from pipeline.errors import ModelMissing
from pipeline.reason.calibration import belongs
from pipeline.settings import load
from pipeline.types import Image, View

CLIPS = sorted((Path(__file__).parents[3] / "evaluation" / "clips").glob("*.mp4"))
_NETS = ("vision.safetensors", "vision_motion.safetensors")
_SCENE = "scene/vision.safetensors"


def frames(path: Path, count: int) -> list[Image]:
    """Frames of a real clip, 0.2 s apart."""
    capture = cv2.VideoCapture(str(path))
    found: list[Image] = []
    while len(found) < count:
        for _ in range(max(1, round(capture.get(cv2.CAP_PROP_FPS) / 5))):
            ok, frame = capture.read()
            assert ok, path
        found.append(np.asarray(frame, np.uint8))
    capture.release()
    return found


def agreement(exact: np.ndarray, found: np.ndarray) -> float:
    """Median over features of the share of their variance between pictures that is kept."""
    alive = exact.std(axis=0) > 1e-3
    error = (exact - found)[:, alive].var(axis=0) / exact[:, alive].var(axis=0)
    return float(np.median(1 - error))


@pytest.mark.slow
def test_rounded_networks_see_what_exact_ones_see(tmp_path: Path) -> None:
    """Given real frames of many scenes, then features of both differ between scenes in the same way."""
    pictures = [frame for path in CLIPS for frame in frames(path, 3)]
    views = [View.FULL] * len(pictures)
    rough, fine = (VisionEncoder(tmp_path, exact=exact).encode(pictures, views) for exact in (False, True))
    assert not np.array_equal(rough.pooled, fine.pooled)
    assert agreement(fine.pooled, rough.pooled) > 0.95 and agreement(fine.logits, rough.logits) > 0.97
    rough, fine = (
        VisionEncoder(tmp_path, weights_dir=WEIGHTS_DIR / "scene", exact=exact).encode(pictures, views)
        for exact in (False, True)
    )
    assert agreement(fine.pooled, rough.pooled) > 0.95
    sheets = [clip_sheet(frames(path, CLIP_FRAMES)) for path in CLIPS]
    rough_clips, fine_clips = (ClipEncoder(tmp_path, exact=exact).encode(sheets) for exact in (False, True))
    assert agreement(fine_clips, rough_clips) > 0.9


def test_networks_have_recipes_and_its_name_is_in_the_features_id(tmp_path: Path) -> None:
    recipes = [recipe_for(file_sha256(WEIGHTS_DIR / file)) for file in (*_NETS, _SCENE)]
    recipes.append(recipe_for(I3D.sha256, "clip"))
    names = [recipe.recipe_id for recipe in recipes if recipe is not None]
    assert len(set(names)) == 4
    rough, fine = VisionEncoder(tmp_path, 1), VisionEncoder(tmp_path, 1, exact=True)
    assert rough.features_id == f"{rough.weights_id}-{names[0]}-{names[1]}" != fine.features_id
    assert rough.weights_id == fine.weights_id == fine.features_id


def test_weights_keep_to_seven_bits() -> None:
    """Two products of 8 bits by 8 may not fit where a processor without VNNI adds them up."""
    for file in (*_NETS, _SCENE):
        net = read_net(WEIGHTS_DIR / file)
        recipe = recipe_for(file_sha256(WEIGHTS_DIR / file))
        assert recipe is not None
        by_name = {node.get_friendly_name(): node for node in named(build(net)).get_ordered_ops()}
        seen = 0
        for rounding in recipe.roundings:
            (name, port), *_ = rounding.targets
            source = by_name[name].input(port).get_source_output().get_node()
            # Channels that keep to themselves are never added up in pairs.
            if source.get_type_name() != "Constant" or not name.startswith("Convolution"):
                continue
            step = (rounding.high - rounding.low) / (rounding.levels - 1)
            assert np.abs(source.get_data() / step).max() < 65, name
            seen += 1
        assert seen > 30, file


def test_heads_and_calibration_are_of_these_networks(tmp_path: Path) -> None:
    """Given the committed files, then none was fitted on features of another arithmetic.

    A calibration for another model is passed over without a word, so that scores are twice as sure.
    """
    settings = load(data_dir=tmp_path)
    model = create("embedded", settings)
    made_for = DecisionHead().made_for
    assert made_for.vision == VisionEncoder(tmp_path, 1).features_id
    assert made_for.scene == SceneEncoder(tmp_path, 1).features_id
    assert made_for.clip == ClipEncoder(tmp_path, 1).features_id
    calibration = json.loads((WEIGHTS_DIR / "calibration.json").read_text())
    assert calibration["model"] == DecisionHead().weights_id
    assert belongs(calibration["model"], model.model_id)


def test_weights_without_a_recipe_stay_exact() -> None:
    assert recipe_for("0" * 64) is None and recipe_for(I3D.sha256, "another") is None


def test_what_rounding_hurts_most_stays_exact() -> None:
    """Given the encoder as ImageNet left it, then the convolutions that would lose most are not rounded."""
    recipe = recipe_for(file_sha256(WEIGHTS_DIR / _SCENE))
    assert recipe is not None
    touched = {name for rounding in recipe.roundings for name, _ in rounding.targets}
    by_name = {node.get_friendly_name() for node in named(build(read_net(WEIGHTS_DIR / _SCENE))).get_ops()}
    assert set(SCENE_EXACT) <= by_name and not touched & set(SCENE_EXACT) and len(touched) > 50


def copied(folder: Path) -> Path:
    shutil.copytree(RECIPES_DIR, folder)
    return folder


def test_a_recipe_for_another_graph_is_refused() -> None:
    recipe = recipe_for(I3D.sha256, "clip")
    assert recipe is not None
    with pytest.raises(ModelMissing, match="another network"):
        rounded(named(build(read_net(WEIGHTS_DIR / _NETS[0]))), recipe)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "no manifest", "manifest"])
def test_a_damaged_recipe_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    folder = copied(tmp_path / "int8")
    weights = file_sha256(WEIGHTS_DIR / _NETS[0])
    (entry,) = [
        one for one in json.loads((folder / MANIFEST).read_text())["recipes"] if one["weights"] == weights
    ]
    path = folder / entry["file"]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-5] ^= 4
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelMissing, match="sha256 differs"):
            read_recipe(path, entry["sha256"])
    elif damage == "gone":
        path.unlink()
    elif damage == "manifest":
        (folder / MANIFEST).write_text('{"recipes": [{}]}')
    else:
        (folder / MANIFEST).unlink()
    with pytest.raises(ModelMissing, match="int8 recipe") as caught:
        recipe_for(weights, folder=folder)
    assert "\n" not in str(caught.value) and caught.value.hint
