"""Builds the language tower as an OpenVINO graph: stateful key/value cache, int8 weights, embeddings in.

A Llama layer (Touvron et al. 2023) with grouped-query attention and rotary embedding, written with OpenVINO
operations directly, so that neither torch nor an exporter is needed. Weights are stored as
int8 with a float scale for each 32 of them; OpenVINO keeps them so in memory and multiplies in int8 where
the processor can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from models.embedded.gguf import TowerSpec
from pipeline.types import Array

# The stored Q4_1 file has one scale for 32 weights too: finer groups would keep nothing more of it.
GROUP = 32

Progress = Callable[[str, float], None]


class TowerWeights(Protocol):
    """Where the graph's weights come from."""

    spec: TowerSpec

    def embedding(self) -> Array:
        """(vocab, dim)."""
        ...

    def final_norm(self) -> Array:
        """(dim,)."""
        ...

    def layer(self, index: int) -> dict[str, Array]:
        """(out, in) weights of one layer by name."""
        ...


def quantize_groups(weight: Array, group: int = GROUP) -> tuple[np.ndarray[Any, np.dtype[np.int8]], Array]:
    """Symmetric int8 with one scale for ``group`` inputs of an output row: ``weight`` ~ values * scales.

    Args:
        weight: (out, in) with ``in`` a multiple of ``group``.
        group: Inputs that share a scale.

    Returns:
        Values (out, in / group, group) int8 and scales (out, in / group, 1) float32.
    """
    rows, columns = weight.shape
    grouped = weight.reshape(rows, columns // group, group)
    scales = np.maximum(np.abs(grouped).max(axis=2, keepdims=True) / 127.0, 1e-8).astype(np.float32)
    values = np.clip(np.rint(grouped / scales), -127, 127).astype(np.int8)
    return values, scales


def build_tower(
    weights: TowerWeights,
    deltas: Mapping[str, Array] | None = None,
    *,
    compress: bool = True,
    progress: Progress | None = None,
) -> Any:
    """The tower as an ``openvino.Model``, up to what it knows of the next token.

    Inputs: ``inputs_embeds`` (B, T, dim) f32, ``attention_bias`` (B, 1, T, S) f32 added to the attention
    scores, ``position_ids`` (B, T) i64, ``beam_idx`` (B,) i32 which rows of the cache to go on from.
    Output ``hidden``: (B, dim) f32 of the last position; its product with a token's embedding is that token's
    logit (embeddings are tied). Whoever chooses among a few tokens need not multiply by all 49,152 of them.

    Args:
        weights: The base weights.
        deltas: Low-rank updates already multiplied out, by ``"<layer>.<projection>"``, added before
            compression.
        compress: Store weights as int8; float32 otherwise.
        progress: Called with a text and the share done, 0..1.
    """
    import openvino as ov
    from openvino import opset13 as ops

    spec = weights.spec
    graph = _Graph(spec, ops, compress)
    embeds = ops.parameter([-1, -1, spec.dim], np.float32, name="inputs_embeds")
    bias = ops.parameter([-1, 1, -1, -1], np.float32, name="attention_bias")
    positions = ops.parameter([-1, -1], np.int64, name="position_ids")
    beams = ops.parameter([-1], np.int32, name="beam_idx")
    batch = ops.gather(ops.shape_of(embeds), graph.ints([0]), graph.ints(0))
    graph.begin(positions, beams, batch, bias)

    hidden = embeds.output(0)
    for index in range(spec.layers):
        if progress:
            progress("language tower", index / (spec.layers + 1))
        layer = weights.layer(index)
        for name in ("q", "k", "v", "o", "gate", "up", "down"):
            delta = (deltas or {}).get(f"{index}.{name}")
            if delta is not None:
                layer[name] = layer[name] + delta
        hidden = graph.layer(index, layer, hidden)
    last = ops.gather(hidden, graph.ints([-1]), graph.ints(1)).output(0)
    normed = graph.norm(last, weights.final_norm())
    result = ops.result(ops.squeeze(normed, graph.ints([1])))
    result.get_output_tensor(0).set_names({"hidden"})
    for parameter in (embeds, bias, positions, beams):
        parameter.get_output_tensor(0).set_names({parameter.get_friendly_name()})
    model = ov.Model([result], graph.sinks, [embeds, bias, positions, beams], "sitrep_language")
    if progress:
        progress("language tower", 1.0)
    return model


def build_vocabulary(weights: TowerWeights, *, compress: bool = True) -> Any:
    """From ``hidden`` (B, dim) f32 to ``logits`` (B, vocab) of every token, as an ``openvino.Model``."""
    import openvino as ov
    from openvino import opset13 as ops

    hidden = ops.parameter([-1, weights.spec.dim], np.float32, name="hidden")
    result = ops.result(_Graph(weights.spec, ops, compress).linear(hidden, weights.embedding()))
    hidden.get_output_tensor(0).set_names({"hidden"})
    result.get_output_tensor(0).set_names({"logits"})
    return ov.Model([result], [hidden], "sitrep_vocabulary")


class _Graph:
    def __init__(self, spec: TowerSpec, ops: Any, compress: bool) -> None:
        self.spec, self.ops, self.compress = spec, ops, compress
        self.sinks: list[Any] = []
        self.cos: Any = None
        self.sin: Any = None
        self.beams: Any = None
        self.batch: Any = None
        self.bias: Any = None

    def ints(self, value: Any) -> Any:
        return self.ops.constant(np.array(value, np.int64))

    def floats(self, value: Any) -> Any:
        return self.ops.constant(np.asarray(value, np.float32))

    def begin(self, positions: Any, beams: Any, batch: Any, bias: Any) -> None:
        ops, half = self.ops, self.spec.head_dim // 2
        inverse = 1.0 / self.spec.rope_theta ** (np.arange(half, dtype=np.float64) / half)
        angles = ops.multiply(
            ops.unsqueeze(ops.convert(positions, np.float32), self.ints(2)),
            self.floats(inverse.reshape(1, 1, half)),
        )
        doubled = ops.unsqueeze(ops.concat([angles, angles], -1), self.ints(1))
        self.cos, self.sin = ops.cos(doubled), ops.sin(doubled)
        self.beams, self.batch, self.bias = beams, batch, bias

    def linear(self, x: Any, weight: Array) -> Any:
        ops = self.ops
        if not self.compress:
            return ops.matmul(x, self.floats(weight), False, True).output(0)
        values, scales = quantize_groups(weight)
        stored = ops.multiply(ops.convert(ops.constant(values), np.float32), self.floats(scales))
        stored = ops.reshape(stored, self.ints(weight.shape), False)
        return ops.matmul(x, stored, False, True).output(0)

    def norm(self, x: Any, scale: Array) -> Any:
        ops = self.ops
        mean = ops.reduce_mean(ops.power(x, self.floats(2.0)), self.ints([-1]), True)
        root = ops.sqrt(ops.add(mean, self.floats(self.spec.norm_eps)))
        normed = ops.multiply(x, ops.divide(self.floats(1.0), root))
        return ops.multiply(normed, self.floats(scale.reshape(1, 1, -1))).output(0)

    def heads(self, x: Any, count: int) -> Any:
        shaped = self.ops.reshape(x, self.ints([0, 0, count, self.spec.head_dim]), True)
        return self.ops.transpose(shaped, self.ints([0, 2, 1, 3]))

    def shares(self, x: Any, axis: int, sizes: tuple[int, ...]) -> list[Any]:
        return list(self.ops.variadic_split(x, self.ints(axis), self.ints(sizes)).outputs())

    def rotate(self, x: Any) -> Any:
        ops, half, end = self.ops, self.spec.head_dim // 2, np.iinfo(np.int64).max
        step, axis = self.ints([1]), self.ints([3])
        first = ops.slice(x, self.ints([0]), self.ints([half]), step, axis)
        second = ops.slice(x, self.ints([half]), self.ints([end]), step, axis)
        turned = ops.concat([ops.multiply(second, self.floats(-1.0)), first], -1)
        return ops.add(ops.multiply(x, self.cos), ops.multiply(turned, self.sin))

    def cached(self, name: str, new: Any) -> Any:
        import openvino as ov

        ops, spec = self.ops, self.spec
        tail = self.ints([spec.kv_heads, 0, spec.head_dim])
        empty = ops.broadcast(self.floats(0.0), ops.concat([self.batch, tail], 0))
        shape = ov.PartialShape([-1, spec.kv_heads, -1, spec.head_dim])
        past = ops.read_value(empty, name, ov.Type.f32, shape)
        past = ops.gather(past, self.beams, self.ints(0))
        both = ops.concat([past, new], 2)
        self.sinks.append(ops.assign(both, name))
        return both

    def repeated(self, x: Any) -> Any:
        ops, spec = self.ops, self.spec
        groups = spec.heads // spec.kv_heads
        wide = ops.unsqueeze(x, self.ints(2))
        wide = ops.broadcast(wide, self.ints([1, 1, groups, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(wide, self.ints([0, spec.heads, -1, spec.head_dim]), True)

    def layer(self, index: int, weights: dict[str, Array], x: Any) -> Any:
        ops, spec = self.ops, self.spec
        # Products of one input are one product: the same numbers, and a third fewer calls a token.
        normed = self.norm(x, weights["attn_norm"])
        product = self.linear(normed, np.concatenate([weights["q"], weights["k"], weights["v"]]))
        query, key, value = self.shares(
            self.heads(product, spec.heads + 2 * spec.kv_heads), 1, (spec.heads, spec.kv_heads, spec.kv_heads)
        )
        key = self.cached(f"key.{index}", self.rotate(key))
        value = self.cached(f"value.{index}", value)
        attended = ops.scaled_dot_product_attention(
            self.rotate(query), self.repeated(key), self.repeated(value), self.bias, causal=False
        )
        merged = ops.reshape(
            ops.transpose(attended, self.ints([0, 2, 1, 3])), self.ints([0, 0, spec.dim]), True
        )
        x = ops.add(x, self.linear(merged, weights["o"]))
        normed = self.norm(x, weights["ffn_norm"])
        product = self.linear(normed, np.concatenate([weights["gate"], weights["up"]]))
        gate, up = self.shares(product, 2, (spec.hidden, spec.hidden))
        return ops.add(x, self.linear(ops.multiply(ops.swish(gate), up), weights["down"])).output(0)
