"""The same weights in plain torch, eager, float32: what the embedded model's speed is measured against.

Nothing at run time uses this; ``sitrep bench model`` and the parity check do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from models.embedded.assets import LANGUAGE, locate
from models.embedded.connector import Joint
from models.embedded.gguf import GgufTower
from models.embedded.vision import prepare
from models.embedded.vision_net import PIXEL_MEAN, PIXEL_SCALE, NetFile
from pipeline.types import Array, Image

_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def llama(source: GgufTower, joint: Joint | None) -> Any:
    """The language tower as ``transformers``' Llama, low-rank updates merged."""
    from transformers import LlamaConfig, LlamaForCausalLM

    spec = source.spec
    config = LlamaConfig(
        vocab_size=spec.vocab,
        hidden_size=spec.dim,
        intermediate_size=spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        rms_norm_eps=spec.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": spec.rope_theta},
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    deltas = joint.deltas() if joint else {}
    state = {
        "model.embed_tokens.weight": source.embedding(),
        "lm_head.weight": source.embedding(),
        "model.norm.weight": source.final_norm(),
    }
    for index in range(spec.layers):
        for name, weight in source.layer(index).items():
            delta = deltas.get(f"{index}.{name}")
            key = f"model.layers.{index}.{_NAMES[name]}.weight"
            state[key] = weight if delta is None else weight + delta
    model = LlamaForCausalLM(config)
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return model.float().eval()


class TorchBaseline:
    """Vision encoder and language tower in torch.

    Args:
        joint: Updates to merge; ``None`` for the bare tower.
        nets: Weights of the vision networks for still and for motion views.
        threads: CPU threads, 0 for all cores.
    """

    def __init__(self, joint: Joint | None, nets: Sequence[NetFile], threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.llama = llama(GgufTower(locate(LANGUAGE)), joint)
        self._nets = [
            (
                net,
                {name: torch.from_numpy(np.array(value, np.float32)) for name, value in net.tensors.items()},
            )
            for net in nets
        ]

    @torch.inference_mode()
    def see(self, images: Sequence[Image], network: int = 0) -> Array:
        """Feature maps of images: (n, 1280, 9, 9)."""
        net, tensors = self._nets[network]

        def convolve(
            x: torch.Tensor, name: str, stride: int = 1, groups: int = 1, relu: bool = True
        ) -> torch.Tensor:
            weight = tensors[f"{name}.weight"]
            side = weight.shape[-1]
            size = x.shape[-1]
            total = max((-(-size // stride) - 1) * stride + side - size, 0)
            x = F.pad(x, (total // 2, total - total // 2) * 2)
            x = F.conv2d(x, weight, tensors[f"{name}.bias"], stride, groups=groups)
            return F.relu6(x) if relu else x

        pixels = torch.from_numpy(np.stack([prepare(image) for image in images])).float()
        x = (pixels.flip(3).permute(0, 3, 1, 2) - PIXEL_MEAN) / PIXEL_SCALE
        x = convolve(x, "stem", 2)
        for index, spec in enumerate(net.blocks):
            name, skip = f"blocks.{index}", x
            if spec.expand:
                x = convolve(x, f"{name}.expand")
            depth = tensors[f"{name}.depthwise.weight"]
            if depth.ndim == 3:
                tensors[f"{name}.depthwise.weight"] = depth[:, None]
            x = convolve(x, f"{name}.depthwise", spec.stride, x.shape[1])
            x = convolve(x, f"{name}.project", relu=False)
            if spec.residual:
                x = x + skip
        return np.asarray(convolve(x, "head").numpy(), np.float32)

    @torch.inference_mode()
    def logits(self, embeds: Array) -> Array:
        """Logits of every position for (T, dim) embeddings: (T, vocab)."""
        return np.asarray(self.llama(inputs_embeds=torch.from_numpy(embeds[None])).logits[0].numpy())

    @torch.inference_mode()
    def last_logits(self, embeds: Array) -> Array:
        """Logits of the last position only, as a verdict needs them: (vocab,)."""
        found = self.llama(inputs_embeds=torch.from_numpy(embeds[None]), logits_to_keep=1)
        return np.asarray(found.logits[0, -1].numpy())

    @torch.inference_mode()
    def decode(self, embeds: Array, count: int) -> list[int]:
        """Greedy tokens after (T, dim) embeddings, with torch's key/value cache."""
        found = self.llama(inputs_embeds=torch.from_numpy(embeds[None]), use_cache=True, logits_to_keep=1)
        tokens = [int(found.logits[0, -1].argmax())]
        while len(tokens) < count:
            found = self.llama(
                input_ids=torch.tensor([[tokens[-1]]]), past_key_values=found.past_key_values, use_cache=True
            )
            tokens.append(int(found.logits[0, -1].argmax()))
        return tokens
