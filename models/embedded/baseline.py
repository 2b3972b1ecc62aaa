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
from models.embedded.vision_clip import as_clip, clip_weights, without_scene
from models.embedded.vision_clip_net import BLOCKS, folded
from models.embedded.vision_contrast import contrast_weights
from models.embedded.vision_contrast_net import LAYERS, MEAN, SIDE_PX, STD, Weights
from models.embedded.vision_net import PIXEL_MEAN, PIXEL_SCALE, NetFile
from pipeline.resize import fitted
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


def clip_tower(weights: Weights) -> Any:
    """The contrast network as ``transformers``' image tower of CLIP."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    parts = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"}
    parts |= {"out": "self_attn.out_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    # ViT-B/16; all else are the class's defaults.
    model = CLIPVisionModel(CLIPVisionConfig(patch_size=16))
    state = {name: value for name, value in weights.items() if not name[0].isdigit()}
    for layer in range(LAYERS):
        for part, name in parts.items():
            product = weights[f"{layer}.{part}"].astype(np.float32) * weights[f"{layer}.{part}.scale"]
            state[f"encoder.layers.{layer}.{name}.weight"] = product.T
    own = model.state_dict()
    prefix = "vision_model." if "vision_model.post_layernorm.weight" in own else ""
    tensors = {prefix + name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    model.load_state_dict(tensors)
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
        self.prepare_clip()
        self.prepare_contrast()
        self._nets = [
            (
                net,
                {name: torch.from_numpy(np.array(value, np.float32)) for name, value in net.tensors.items()},
            )
            for net in nets
        ]

    def prepare_clip(self) -> None:
        """Read the clip network's parameters; its layers are laid out when first used."""
        self._clip = clip_weights()
        self._clip_units: dict[tuple[str, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def prepare_contrast(self) -> None:
        """Read the contrast network's parameters into ``transformers``' network."""
        self._contrast = clip_tower(contrast_weights())

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
    def watch(self, sheet: Image) -> Array:
        """Features of a clip view, either reading's: (3328,)."""
        frames, found = as_clip(sheet), []
        for reading in (frames, without_scene(frames)):
            seen = self._actions(np.repeat(reading, 2, axis=0)[None])[0]
            changes = seen.mean((2, 3)).diff(dim=1).abs().mean(1)
            found += [seen.amax((2, 3)).mean(1), changes]
        return np.asarray(torch.cat(found).numpy(), np.float32)

    @torch.inference_mode()
    def compare(self, images: Sequence[Image]) -> Array:
        """Contrast features of pictures: (n, 768)."""
        pixels = np.stack([fitted(image, (SIDE_PX, SIDE_PX)) for image in images])[..., ::-1].copy()
        x = (torch.from_numpy(pixels).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
        return np.asarray(self._contrast(x.permute(0, 3, 1, 2)).pooler_output.numpy(), np.float32)

    def _actions(self, clips: Array | Image) -> torch.Tensor:
        def padded(
            x: torch.Tensor, sizes: Sequence[int], strides: Sequence[int], value: float
        ) -> torch.Tensor:
            pads: list[int] = []
            for length, size, stride in zip(x.shape[:1:-1], sizes[::-1], strides[::-1], strict=True):
                total = max((-(-length // stride) - 1) * stride + size - length, 0)
                pads += [total // 2, total - total // 2]
            return F.pad(x, pads, value=value)

        def convolve(x: torch.Tensor, *path: str, stride: int = 1) -> torch.Tensor:
            weight, offset = self._clip_unit(path)
            strides = [stride] * 3
            return F.relu(F.conv3d(padded(x, weight.shape[2:], strides, 0.0), weight, offset, strides))

        def pool(x: torch.Tensor, size: list[int], stride: list[int]) -> torch.Tensor:
            return F.max_pool3d(padded(x, size, stride, -float("inf")), size, stride)

        def inception(x: torch.Tensor, name: str) -> torch.Tensor:
            branches = [convolve(x, name, "Branch_0/Conv3d_0a_1x1")]
            for branch in ("Branch_1", "Branch_2"):
                reduced = convolve(x, name, f"{branch}/Conv3d_0a_1x1")
                branches.append(convolve(reduced, name, f"{branch}/Conv3d_0b_3x3"))
            branches.append(convolve(pool(x, [3] * 3, [1] * 3), name, "Branch_3/Conv3d_0b_1x1"))
            return torch.cat(branches, 1)

        x = torch.from_numpy(clips).float().flip(4).permute(0, 4, 1, 2, 3) * (2 / 255) - 1
        x = pool(convolve(x, "Conv3d_1a_7x7", stride=2), [1, 3, 3], [1, 2, 2])
        x = convolve(convolve(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
        x = pool(x, [1, 3, 3], [1, 2, 2])
        for name in BLOCKS:
            x = pool(x, [3] * 3, [2] * 3) if name is None else inception(x, name)
        return x

    def _clip_unit(self, path: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        if path not in self._clip_units:
            kernel, bias = folded(self._clip, path)
            self._clip_units[path] = (
                torch.from_numpy(np.ascontiguousarray(kernel, np.float32)),
                torch.from_numpy(np.ascontiguousarray(bias, np.float32)),
            )
        return self._clip_units[path]

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
