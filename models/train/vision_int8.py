"""Find out how to round the vision networks to 8 bits, on training pictures, and write the recipes.

``python -m models.train.vision_int8`` (needs ``pip install nncf==3.2.0``; the run time does not) writes
``models/embedded/weights/int8/`` and prints, on validation pictures, how much of each feature's variance the
rounded network keeps. ``--losses`` prints in place of it what each convolution costs when it is the only one
rounded: the dearest may stay in float32. Heads belong to the features they were fitted on: after a change of
the recipes take the steps of ``README.md`` from clean features on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from models.embedded.int8 import (
    FORMAT,
    MANIFEST,
    RECIPES_DIR,
    bias_input,
    named,
    read_recipe,
    rounded,
    structure,
)
from models.embedded.vision import WEIGHTS_DIR, prepare
from models.embedded.vision_clip import I3D, as_clip, clip_weights
from models.embedded.vision_clip_net import build
from models.embedded.vision_net import build as build_encoder
from models.embedded.vision_net import read_net
from models.embedded.vision_scene import shrunk, tiles
from models.train import data, evidence_features
from models.train.malloc import keep_memory
from models.train.vision_clip_views import sheets_of
from models.train.vision_manifest import commit
from models.train.vision_motion_views import moments, read_clips
from models.train.vision_views import region_box
from models.wheelfiles import file_sha256
from pipeline.detect.keyframes import MOTION_STEP_S, motion_view
from pipeline.errors import ModelMissing
from pipeline.types import Image

SEED = 20261126
COUNT = 300
"""Inputs that bounds are read off, and as many to check them by."""
Inputs = list[Image]
SCENE_EXACT = (
    "Convolution_12",
    "GroupConvolution_17",
    "Convolution_22",
    "Convolution_36",
    "Convolution_80",
    "Convolution_124",
    "Convolution_183",
    "Convolution_242",
)
"""Eight of the 64 convolutions of the encoder as ImageNet left it lose 0.08 of the 0.11 of variance that all
lose, each rounded alone; most are small. Unlike the fine-tuned ones nothing has made up for it since."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network to round: how it is built, what it is shown, and by which outputs it is checked.

    ``exact`` are operations that stay in float32.
    """

    name: str
    weights: str
    network: str
    build: Callable[[], Any]
    inputs: Callable[[str], Iterator[Image]]
    outputs: Sequence[str]
    exact: tuple[str, ...] = ()


def networks() -> list[Network]:
    """All networks of the eyes."""

    def encoder(
        name: str,
        file: str,
        inputs: Callable[[str], Iterator[Image]],
        outputs: Sequence[str] = ("pooled", "logits"),
        exact: tuple[str, ...] = (),
    ) -> Network:
        path = WEIGHTS_DIR / file
        make = lambda: build_encoder(read_net(path))  # noqa: E731
        return Network(name, file_sha256(path), "", make, inputs, outputs, exact)

    return [
        encoder("stills", "vision.safetensors", _views),
        encoder("motion", "vision_motion.safetensors", _motion_views),
        encoder("scene", "scene/vision.safetensors", _prepared_tiles, ("pooled",), SCENE_EXACT),
        Network("clip", I3D.sha256, "clip", lambda: build(clip_weights()), _clips, ("moving",)),
    ]


def _rows(split: str) -> list[data.Row]:
    rows = [row for row in data.read_rows(filed=True) if row.split == split]
    order = np.random.default_rng(SEED).permutation(len(rows))
    return [rows[index] for index in order]


def _views(split: str) -> Iterator[Image]:
    seen = evidence_features.load()
    for row in _rows(split):
        picture = data.image(row, data.shared_data())
        yield prepare(picture)
        box = region_box(row, seen[row.file], None, annotated=False, count=1)
        if box is not None:
            yield prepare(data.crop(picture, box))


def _tiles(split: str) -> Iterator[Image]:
    for number, row in enumerate(_rows(split)):
        yield tiles(shrunk(data.image(row, data.shared_data())))[number % 4]


def _prepared_tiles(split: str) -> Iterator[Image]:
    return (prepare(tile) for tile in _tiles(split))


def _motion_views(split: str) -> Iterator[Image]:
    for clip in _training_clips(split):
        gap = max(1, round(MOTION_STEP_S * clip.fps))
        for at in moments(clip):
            yield prepare(motion_view(*(clip.frames[at + step] for step in (-gap, 0, gap))))


def _clips(split: str) -> Iterator[Image]:
    for clip in _training_clips(split):
        yield from (as_clip(sheet) for sheet in sheets_of(clip))


def _training_clips(split: str) -> list[Any]:
    clips = [clip for clip in read_clips(data.shared_data()) if clip.split == split]
    return [clips[index] for index in np.random.default_rng(SEED).permutation(len(clips))]


def _first(inputs: Iterator[Image], count: int) -> Inputs:
    return [one[None] for _, one in zip(range(count), inputs, strict=False)]


def recipe_of(original: Any, quantised: Any) -> tuple[dict[str, str], dict[str, NDArray[np.float32]]]:
    """What a quantised copy of a named graph does to it, as metadata and tensors of a recipe file.

    Raises:
        ValueError: The copy differs in a way that a recipe cannot say.
    """
    names = {node.get_friendly_name() for node in original.get_ordered_ops()}
    listed: list[dict[str, Any]] = []
    tensors: dict[str, NDArray[np.float32]] = {}
    for node in quantised.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() != "FakeQuantize":
            if name not in names and node.get_type_name() != "Constant":
                raise ValueError(f"{node.get_type_name()} {name} is new")
            continue
        low, high, out_low, out_high = (_constant(node.input(port)) for port in range(1, 5))
        if not (np.array_equal(low, out_low) and np.array_equal(high, out_high)):
            raise ValueError(f"{name} rescales")
        targets = [
            (one.get_node().get_friendly_name(), one.get_index())
            for one in node.output(0).get_target_inputs()
        ]
        tensors[f"{len(listed)}.low"], tensors[f"{len(listed)}.high"] = low, high
        listed.append({"targets": sorted(targets), "levels": int(node.get_attributes()["levels"])})
    tensors |= _changed_biases(original, quantised)
    described = {"format": FORMAT, "structure": structure(original), "roundings": json.dumps(listed)}
    return described, tensors


def _changed_biases(original: Any, quantised: Any) -> dict[str, NDArray[np.float32]]:
    found = {}
    new = {node.get_friendly_name(): node for node in quantised.get_ordered_ops()}
    for node in original.get_ordered_ops():
        if node.get_type_name() != "Add":
            continue
        try:
            before = _constant(bias_input(node))
            after = _constant(bias_input(new[node.get_friendly_name()]))
        except ModelMissing:
            continue
        if not np.array_equal(before, after):
            found[f"bias.{node.get_friendly_name()}"] = after
    return found


def _constant(port: Any) -> NDArray[np.float32]:
    node = port.get_source_output().get_node()
    if node.get_type_name() != "Constant":
        raise ValueError(f"{node.get_friendly_name()} is no constant")
    return np.ascontiguousarray(node.get_data(), dtype=np.float32)


def quantise(model: Any, inputs: Inputs, exact: Sequence[str] = ()) -> Any:
    """A copy of a graph rounded to 8 bits (weights to 7), bounds and biases from inputs; by NNCF.

    Args:
        model: The graph, its operations named.
        inputs: What it is shown.
        exact: Operations that stay as they are.
    """
    import nncf  # type: ignore[import-not-found]
    from nncf.quantization.advanced_parameters import (  # type: ignore[import-not-found]
        AdvancedQuantizationParameters,
        OverflowFix,
    )

    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=list(exact)),
        # The thorough way takes minutes for the encoder, and hours for convolutions over time.
        fast_bias_correction=model.get_parameters()[0].get_partial_shape().rank.get_length() != 4,
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE, backend_params={"compress_weights": False}
        ),
    )


def kept(model: Any, changed: Any, inputs: Inputs, outputs: Sequence[str]) -> dict[str, float]:
    """By output: median over features of the share of their variance that the changed graph keeps."""
    import openvino as ov

    core, options = ov.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    before, after = core.compile_model(model, "CPU", options), core.compile_model(changed, "CPU", options)
    found = {}
    pairs = [(before(one), after(one)) for one in inputs]
    for name in outputs:
        old, new = (np.concatenate([pair[side][name] for pair in pairs]) for side in (0, 1))
        alive = old.std(axis=0) > 1e-4
        error = (old - new)[:, alive].var(axis=0) / old[:, alive].var(axis=0)
        found[name] = round(float(np.median(1 - error)), 4)
    return found


def losses(one: Network) -> list[tuple[float, str]]:
    """What each convolution costs when it is the only one rounded: share of variance lost, dearest first."""
    inputs, shown = _first(one.inputs("train"), COUNT), _first(one.inputs("val"), COUNT)
    original = named(one.build())
    described, tensors = recipe_of(original, quantise(original, inputs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.safetensors"
        save_file(tensors, str(path), described)
        recipe = read_recipe(path, file_sha256(path))
    found = []
    for node in original.get_ordered_ops():
        name = node.get_friendly_name()
        if "Convolution" not in node.get_type_name():
            continue
        alone = tuple(
            replace(rounding, targets=kept_targets)
            for rounding in recipe.roundings
            if (kept_targets := tuple(target for target in rounding.targets if target[0] == name))
        )
        changed = rounded(named(one.build()), replace(recipe, roundings=alone, biases={}))
        found.append((1 - min(kept(named(one.build()), changed, shown, one.outputs).values()), name))
    return sorted(found, reverse=True)


def main() -> None:
    """Make the recipes that are asked for, check them and write the manifest."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", help="only these")
    parser.add_argument("--losses", action="store_true", help="print what each convolution costs")
    arguments = parser.parse_args()
    RECIPES_DIR.mkdir(parents=True, exist_ok=True)
    manifest = RECIPES_DIR / MANIFEST
    held = json.loads(manifest.read_text())["recipes"] if manifest.is_file() else []
    entries = {entry["file"]: entry for entry in held}
    for one in networks():
        if arguments.networks and one.name not in arguments.networks:
            continue
        if arguments.losses:
            print("\n".join(f"{one.name} {name} {lost:.4f}" for lost, name in losses(one)), flush=True)
            continue
        print(f"{one.name}: rounding", file=sys.stderr, flush=True)
        model = named(one.build())
        described, tensors = recipe_of(model, quantise(model, _first(one.inputs("train"), COUNT), one.exact))
        path = RECIPES_DIR / f"{one.name}.safetensors"
        save_file(tensors, str(path), described)
        changed = rounded(named(one.build()), read_recipe(path, file_sha256(path)))
        share = kept(model, changed, _first(one.inputs("val"), COUNT), one.outputs)
        print(f"{one.name}: variance kept {share}", flush=True)
        entries[path.name] = {
            "file": path.name,
            "sha256": file_sha256(path),
            "weights": one.weights,
            "network": one.network,
            "variance_kept": share,
        }
        told = {
            "recipes": [entries[name] for name in sorted(entries)],
            "made_with": "nncf",
            "training_commit": commit(),
            "data_card": "models/DATA_CARD.md",
        }
        manifest.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
