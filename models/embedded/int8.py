"""Integer arithmetic for the vision networks, by a recipe that is committed beside the weights.

A recipe says where a network's numbers are rounded to 8 bits, between which bounds, and which biases make up
for it. It is found once, on training pictures (``models/train/vision_int8.py``); here it is only put into a
graph, where OpenVINO turns it into integer convolutions (Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", 2018). Weights keep to 7 bits: processors without
VNNI add up pairs of products in 16 bits, which 8 would overflow, so that a verdict would depend on the
machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pipeline.errors import ModelMissing

FORMAT = "sitrep-int8-1"
RECIPES_DIR = Path(__file__).parent / "weights" / "int8"
MANIFEST = "int8.json"
_REINSTALL = "install Sitrep again, or check out models/embedded/weights"


@dataclass(frozen=True, slots=True)
class Rounding:
    """One place where numbers are rounded.

    Attributes:
        targets: Inputs that get the rounded numbers: name of the operation and number of its input.
        levels: How many values there are.
        low, high: Bounds, float32, shaped to spread over the tensor (one number, or one a channel).
    """

    targets: tuple[tuple[str, int], ...]
    levels: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of them for one network, and its biases.

    Attributes:
        structure: :func:`structure` of the graph it was made for.
        roundings: In the graph's order.
        biases: New values of constants that are added, by the name of the addition.
        recipe_id: Name of exactly this recipe.
    """

    structure: str
    roundings: tuple[Rounding, ...]
    biases: dict[str, NDArray[np.float32]]
    recipe_id: str


def recipe_for(weights_sha256: str, network: str = "", folder: Path = RECIPES_DIR) -> Recipe | None:
    """The committed recipe of a network, ``None`` where it runs in float32: weights that nobody calibrated.

    Args:
        weights_sha256: Hash of the file with its weights.
        network: Which of the networks that are made from that file.
        folder: Where ``int8.json`` is.

    Raises:
        ModelMissing: Manifest or recipe are absent or damaged.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["recipes"]
        for entry in listed:
            if entry["weights"] == weights_sha256 and entry.get("network", "") == network:
                return read_recipe(folder / entry["file"], str(entry["sha256"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(
            f"int8 recipes: {folder / MANIFEST} cannot be read: {error}", hint=_REINSTALL
        ) from error
    return None


def read_recipe(path: Path, sha256: str) -> Recipe:
    """Read a recipe.

    Raises:
        ModelMissing: It is absent, damaged or another one.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != sha256:
            raise ValueError("its sha256 differs")
        with safe_open(str(path), framework="numpy") as archive:
            described = dict(archive.metadata() or {})
            if described.get("format") != FORMAT:
                raise ValueError(f"format is {described.get('format')!r}, expected {FORMAT!r}")
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        listed: list[dict[str, Any]] = json.loads(described["roundings"])
        roundings = tuple(
            Rounding(
                tuple((str(name), int(port)) for name, port in entry["targets"]),
                int(entry["levels"]),
                tensors[f"{place}.low"],
                tensors[f"{place}.high"],
            )
            for place, entry in enumerate(listed)
        )
        biases = {
            name.removeprefix("bias."): value for name, value in tensors.items() if name.startswith("bias.")
        }
        return Recipe(described["structure"], roundings, biases, f"int8-{digest[:8]}")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelMissing(f"int8 recipe: {path} cannot be used: {error}", hint=_REINSTALL) from error


def named(model: Any) -> Any:
    """The same model, its operations named by kind and place, so that names say the same in every process."""
    for place, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{place}")
    return model


def structure(model: Any) -> str:
    """What tells whether a recipe fits a graph: a hash of its operations and their shapes, in order."""
    told = [
        f"{node.get_type_name()}:{node.output(0).get_partial_shape() if node.outputs() else ''}"
        for node in model.get_ordered_ops()
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def rounded(model: Any, recipe: Recipe) -> Any:
    """The model with the recipe's roundings and biases put in.

    Args:
        model: Float32 graph with names of :func:`named`; changed in place.
        recipe: Made for this graph.

    Raises:
        ModelMissing: It was made for another graph.
    """
    from openvino import opset13 as op

    if recipe.structure != structure(model):
        raise ModelMissing("int8 recipe: made for another network", hint=_REINSTALL)
    by_name = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    for name, value in recipe.biases.items():
        bias_input(by_name[name]).replace_source_output(op.constant(value).output(0))
    for rounding in recipe.roundings:
        inputs = [by_name[name].input(port) for name, port in rounding.targets]
        low, high = op.constant(rounding.low), op.constant(rounding.high)
        step = op.fake_quantize(inputs[0].get_source_output(), low, high, low, high, rounding.levels)
        for one in inputs:
            one.replace_source_output(step.output(0))
    model.validate_nodes_and_infer_types()
    return model


def bias_input(addition: Any) -> Any:
    """The input of an addition that is a constant."""
    for port in addition.inputs():
        if port.get_source_output().get_node().get_type_name() == "Constant":
            return port
    raise ModelMissing(f"int8 recipe: {addition.get_friendly_name()} adds no constant", hint=_REINSTALL)
