"""The tower and its joint in torch, for training: frozen base in bfloat16, low-rank updates and connector.

The same figures and weights as :mod:`models.embedded.graph`; LoRA: Hu et al. 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models.embedded.connector import VIEWS
from models.embedded.gguf import GgufTower, TowerSpec

VISUAL = 1280


class LoraLinear(nn.Module):
    """A frozen linear map, with a trainable low-rank update where ``rank`` is above 0."""

    weight: torch.Tensor

    def __init__(self, weight: np.ndarray, rank: int, alpha: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weight).to(dtype), persistent=False)
        self.scale = alpha / rank if rank else 0.0
        self.a = self.b = None
        if rank:
            rows, columns = weight.shape
            self.a = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
            self.b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out), in the dtype of the base weight."""
        out = F.linear(x, self.weight)
        if self.a is not None and self.b is not None:
            out = out + F.linear(F.linear(x, self.a.to(x.dtype)), (self.scale * self.b).to(x.dtype))
        return out


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Root-mean-square norm in float32."""
    return F.rms_norm(x, weight.shape, weight, eps)


class Layer(nn.Module):
    """One Llama layer."""

    q: LoraLinear
    k: LoraLinear
    v: LoraLinear
    o: LoraLinear
    gate: LoraLinear
    up: LoraLinear
    down: LoraLinear
    attn_norm: torch.Tensor
    ffn_norm: torch.Tensor

    def __init__(
        self,
        spec: TowerSpec,
        weights: dict[str, np.ndarray],
        rank: int,
        alpha: float,
        lora: Sequence[str],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.spec, self.dtype = spec, dtype
        for name in ("q", "k", "v", "o", "gate", "up", "down"):
            setattr(self, name, LoraLinear(weights[name], rank if name in lora else 0, alpha, dtype))
        self.register_buffer("attn_norm", torch.from_numpy(weights["attn_norm"].copy()), persistent=False)
        self.register_buffer("ffn_norm", torch.from_numpy(weights["ffn_norm"].copy()), persistent=False)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, causal: torch.Tensor
    ) -> torch.Tensor:
        """(B, T, dim) float32 residual stream through the layer; causal."""
        spec = self.spec
        batch, length, _ = x.shape
        normed = rms_norm(x, self.attn_norm, spec.norm_eps).to(self.dtype)

        def heads(y: torch.Tensor, count: int) -> torch.Tensor:
            return y.view(batch, length, count, spec.head_dim).transpose(1, 2)

        q, k, v = (
            heads(self.q(normed), spec.heads),
            heads(self.k(normed), spec.kv_heads),
            heads(self.v(normed), spec.kv_heads),
        )
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        groups = spec.heads // spec.kv_heads
        # Written out: on a CPU the backward pass of torch's fused attention takes four times as long.
        weights = q @ k.repeat_interleave(groups, 1).transpose(-1, -2) * spec.head_dim**-0.5
        attended = (weights + causal).softmax(-1) @ v.repeat_interleave(groups, 1)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, length, spec.dim)).float()
        normed = rms_norm(x, self.ffn_norm, spec.norm_eps).to(self.dtype)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed)).float()


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of half-split heads."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class TrainTower(nn.Module):
    """The whole tower; ``forward`` gives the normed last hidden states."""

    embedding: torch.Tensor
    final_norm: torch.Tensor
    inverse: torch.Tensor

    def __init__(
        self,
        source: GgufTower,
        rank: int,
        alpha: float,
        lora: Sequence[str],
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__()
        self.spec, self.dtype = source.spec, dtype
        embedding = torch.from_numpy(source.embedding())
        self.embedding_std = float(embedding.std())
        self.register_buffer("embedding", embedding.to(dtype), persistent=False)
        self.register_buffer("final_norm", torch.from_numpy(source.final_norm().copy()), persistent=False)
        self.layers = nn.ModuleList(
            Layer(source.spec, source.layer(index), rank, alpha, lora, dtype)
            for index in range(source.spec.layers)
        )
        half = source.spec.head_dim // 2
        self.register_buffer(
            "inverse", 1.0 / source.spec.rope_theta ** (torch.arange(half).double() / half), persistent=False
        )

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Token embeddings, float32."""
        return self.embedding[ids].float()

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        """(B, T, dim) float32 to hidden states (B, T, dim) float32."""
        angles = (torch.arange(embeds.shape[1])[:, None] * self.inverse).float()
        angles = torch.cat([angles, angles], -1)[None, None]
        cos, sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        length = embeds.shape[1]
        causal = torch.full((length, length), -1e9).triu(1).to(self.dtype)
        x = embeds
        for layer in self.layers:
            x = layer(x, cos, sin, causal)
        return rms_norm(x, self.final_norm, self.spec.norm_eps)

    def logits(self, hidden: torch.Tensor, only: Sequence[int] | None = None) -> torch.Tensor:
        """(…, dim) to (…, vocab) float32, or to the logits of some tokens."""
        rows = self.embedding if only is None else self.embedding[torch.tensor(only)]
        return F.linear(hidden.to(self.dtype), rows).float()


class TrainConnector(nn.Module):
    """Visual tokens to embeddings; see :class:`models.embedded.connector.Connector`."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, dim: int, embedding_std: float, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(VISUAL, dim), nn.Linear(dim, dim)
        self.view = nn.Parameter(torch.randn(len(VIEWS), dim) * embedding_std)
        self.register_buffer("mean", torch.from_numpy(np.asarray(mean, np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale, np.float32)))
        with torch.no_grad():
            self.down.weight.mul_(embedding_std * 4)
            self.down.bias.zero_()

    def forward(self, tokens: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """(n, 9, 1280) and view numbers (n,) to (n, 9, dim)."""
        x = F.gelu(self.up((tokens - self.mean) * self.scale), approximate="tanh")
        return self.down(x) + self.view[views][:, None]


def joint_tensors(tower: TrainTower, connector: TrainConnector) -> dict[str, Any]:
    """Trained tensors by the names the run time reads."""
    tensors = {f"connector.{name}": value for name, value in connector.state_dict().items()}
    for index, layer in enumerate(tower.layers):
        for name in ("q", "k", "v", "o", "gate", "up", "down"):
            module = getattr(layer, name)
            if module.a is not None:
                tensors[f"lora.{index}.{name}.a"], tensors[f"lora.{index}.{name}.b"] = module.a, module.b
    return {name: value.detach().to(torch.float16).contiguous() for name, value in tensors.items()}


def load_joint(tower: TrainTower, connector: TrainConnector, tensors: dict[str, torch.Tensor]) -> None:
    """Put trained tensors back; the inverse of :func:`joint_tensors`."""
    with torch.no_grad():
        for name, value in tensors.items():
            if name.startswith("connector."):
                connector.state_dict()[name.removeprefix("connector.")].copy_(value)
            else:
                _, index, projection, part = name.split(".")
                getattr(getattr(tower.layers[int(index)], projection), part).copy_(value)
