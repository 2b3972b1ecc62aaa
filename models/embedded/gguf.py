"""Reads the language tower out of a GGUF file: figures, weights and tokenizer, without torch.

GGUF stores the query and key projections with their rows interleaved for llama.cpp's rotary embedding;
they are put back into the half-split order of the published model here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.types import Array

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PROJECTIONS = {
    "attn_q": "q",
    "attn_k": "k",
    "attn_v": "v",
    "attn_output": "o",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
    "attn_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
}


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """Figures of a Llama-shaped language tower."""

    layers: int
    heads: int
    kv_heads: int
    dim: int
    hidden: int
    vocab: int
    rope_theta: float
    norm_eps: float
    eos: int

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads


class GgufTower:
    """A GGUF file of the ``llama`` architecture with tied embeddings.

    Args:
        path: The file.

    Raises:
        ModelError: Not GGUF, or another architecture.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        try:
            self._reader = GGUFReader(path)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path.name} is not a readable GGUF file: {error}") from error
        if self._field("general.architecture") != "llama":
            raise ModelError(f"{path.name} is no Llama-shaped model")
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.spec = TowerSpec(
            layers=int(self._field("llama.block_count")),
            heads=int(self._field("llama.attention.head_count")),
            kv_heads=int(self._field("llama.attention.head_count_kv")),
            dim=int(self._field("llama.embedding_length")),
            hidden=int(self._field("llama.feed_forward_length")),
            vocab=int(self._field("llama.vocab_size")),
            rope_theta=float(self._field("llama.rope.freq_base")),
            norm_eps=float(self._field("llama.attention.layer_norm_rms_epsilon")),
            eos=int(self._field("tokenizer.ggml.eos_token_id")),
        )

    def _field(self, name: str) -> Any:
        field = self._reader.fields.get(name)
        if field is None:
            raise ModelError(f"the GGUF file lacks '{name}'")
        return field.contents()

    def _tensor(self, name: str) -> Array:
        from gguf import dequantize

        tensor = self._tensors[name]
        return np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def embedding(self) -> Array:
        """Token embedding, also the output projection: (vocab, dim) float32."""
        return self._tensor("token_embd.weight")

    def final_norm(self) -> Array:
        """Scale of the last RMS norm: (dim,) float32."""
        return self._tensor("output_norm.weight")

    def layer(self, index: int) -> dict[str, Array]:
        """Weights of one layer, each (out, in) float32: q, k, v, o, gate, up, down, attn_norm, ffn_norm."""
        weights = {
            name: self._tensor(f"blk.{index}.{stored}.weight") for stored, name in _PROJECTIONS.items()
        }
        weights["q"] = _half_split(weights["q"], self.spec.heads)
        weights["k"] = _half_split(weights["k"], self.spec.kv_heads)
        return weights

    def tokenizer(self) -> Tokenizer:
        """Byte-level BPE tokenizer of the file."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        tokens: list[str] = self._field("tokenizer.ggml.tokens")
        kinds: list[int] = self._field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ", 1)) for merge in self._field("tokenizer.ggml.merges")]
        vocab = {token: index for index, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
        return tokenizer


def _half_split(weight: Array, heads: int) -> Array:
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))
