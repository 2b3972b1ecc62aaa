"""Turns visual tokens into token embeddings of the language tower, and reads the joint's weights file.

The connector is LLaVA's (Liu et al. 2023): two linear maps with a GELU between, 1280 -> 576 -> 576, with a
learned vector for each kind of view and moment added, so that the tower knows what it looks at. Its output
is scaled to the spread of the tower's own embeddings.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ModelMissing
from pipeline.types import Array, KeyFrame, Moment, View

WEIGHTS = Path(__file__).parent / "weights" / "language.safetensors"
MANIFEST = "language.json"
VIEWS = (View.FULL, View.REGION, View.MOTION)
_REINSTALL = "install Sitrep again, or check out models/embedded/weights"


@dataclass(frozen=True, slots=True)
class JointManifest:
    """What the committed joint was trained for.

    Attributes:
        weights_id: Name of exactly these weights.
        vision_id: ``weights_id`` of the vision encoder whose tokens it reads.
        prompt: Prompt pack it was trained on.
        rank: Rank of the low-rank updates.
        alpha: Their scale is ``alpha / rank``.
        language_weight: How much of the language term is added to the decision head's log-odds.
        language_bias: Language log-odds that count as "nothing to add".
        language_quiet: Language log-odds up to here, either way, count as nothing: the tower speaks up only
            when it is sure. Chosen on validation rows.
        language_clip: Bound of the language log-odds.
    """

    weights_id: str
    vision_id: str
    prompt: str
    rank: int
    alpha: float
    language_weight: float
    language_bias: float
    language_quiet: float
    language_clip: float

    def term(self, log_odds: float) -> float:
        """What the tower's yes/no log-odds add to the decision head's log-odds."""
        bounded = max(-self.language_clip, min(self.language_clip, log_odds - self.language_bias))
        loud = max(0.0, abs(bounded) - self.language_quiet)
        return self.language_weight * math.copysign(loud, bounded)


@dataclass(frozen=True, slots=True)
class Joint:
    """Connector and low-rank updates as trained."""

    manifest: JointManifest
    tensors: dict[str, Array]

    def deltas(self) -> dict[str, Array]:
        """Low-rank updates multiplied out, by ``"<layer>.<projection>"``, each (out, in)."""
        scale = self.manifest.alpha / self.manifest.rank
        names = {
            name.removeprefix("lora.").removesuffix(".a") for name in self.tensors if name.endswith(".a")
        }
        return {
            name: scale * (self.tensors[f"lora.{name}.b"] @ self.tensors[f"lora.{name}.a"]) for name in names
        }


def read_joint(path: Path = WEIGHTS) -> Joint:
    """The committed joint, checked against its manifest.

    Raises:
        ModelMissing: The file or its manifest is absent, damaged or not what the manifest names.
    """
    from safetensors.numpy import load

    try:
        listed = json.loads(path.with_name(MANIFEST).read_text(encoding="utf-8"))
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != listed["sha256"]:
            raise ModelMissing(f"{path} is damaged: its sha256 differs", hint=_REINSTALL)
        manifest = JointManifest(
            weights_id=f"language-{listed['sha256'][:12]}",
            vision_id=str(listed["vision_id"]),
            prompt=str(listed["prompt"]),
            rank=int(listed["rank"]),
            alpha=float(listed["alpha"]),
            language_weight=float(listed["language_weight"]),
            language_bias=float(listed["language_bias"]),
            language_quiet=float(listed["language_quiet"]),
            language_clip=float(listed["language_clip"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(f"language weights {path} cannot be read: {error}", hint=_REINSTALL) from error
    return Joint(manifest, {name: value.astype(np.float32) for name, value in load(data).items()})


def chosen_views(key_frames: Sequence[KeyFrame]) -> list[int]:
    """Views the tower sees: at most one full, one region and one motion view, of the peak if there is one."""
    chosen = []
    for view in VIEWS:
        found = [index for index, frame in enumerate(key_frames) if frame.view is view]
        if not found:
            continue
        peaks = [index for index in found if key_frames[index].moment is Moment.PEAK]
        chosen.append(peaks[0] if peaks else found[len(found) // 2])
    return chosen


def _gelu(x: Array) -> Array:
    # The tanh form, as in training.
    return np.asarray(0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), np.float32)


class Connector:
    """The connector at work.

    Args:
        tensors: Weights by name, ``connector.*``.
    """

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._w1, self._b1 = tensors["connector.up.weight"], tensors["connector.up.bias"]
        self._w2, self._b2 = tensors["connector.down.weight"], tensors["connector.down.bias"]
        self._view = tensors["connector.view"]
        self._mean, self._scale = tensors["connector.mean"], tensors["connector.scale"]

    def __call__(self, tokens: Array, views: Sequence[View]) -> Array:
        """Visual tokens (n, 9, 1280) of n views to embeddings (n * 9, dim)."""
        if not len(tokens):
            return np.zeros((0, self._w2.shape[0]), np.float32)
        x = (tokens - self._mean) * self._scale
        x = _gelu(np.asarray(x @ self._w1.T + self._b1, np.float32)) @ self._w2.T + self._b2
        x = x + self._view[[VIEWS.index(view) for view in views]][:, None, :]
        return np.ascontiguousarray(x.reshape(-1, x.shape[-1]), np.float32)
