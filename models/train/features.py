"""Outputs of the frozen lower blocks for many augmented views, kept on disk as fp16.

The lower blocks (stem and the first seven of 21) do not learn, so their work is done once:
``python -m models.train.features`` fills ``.train/trunk-stills``; resumable, with progress.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torch import nn

from models.cpu import cpu_options
from models.embedded.vision_net import INPUT_PX, PIXEL_MEAN, PIXEL_SCALE
from models.train import data, evidence_features
from models.train.data import CONFIGS
from models.train.malloc import keep_memory
from models.train.vision_export import stock_network
from models.train.vision_views import training_view
from pipeline.types import Image


class Trunk(nn.Module):
    """Pixels to the output of the last frozen block."""

    def __init__(self, network: Any, cut: int) -> None:
        super().__init__()
        self.stem, self.norm, self.act = network._conv_stem, network._bn0, network._swish
        self.blocks = nn.ModuleList(network._blocks[:cut])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(n, 260, 260, 3) BGR 0..255 to (n, side, side, channels)."""
        x = image.flip(3).permute(0, 3, 1, 2)
        x = self.act(self.norm(self.stem((x - PIXEL_MEAN) / PIXEL_SCALE)))
        for block in self.blocks:
            x = block(x)
        return x.permute(0, 2, 3, 1)


def trunk_runner(cut: int, threads: int = 0) -> Callable[[Image], np.ndarray]:
    """The frozen blocks of the stock network by OpenVINO: uint8 views in, fp16 maps out."""
    import openvino as ov

    example = torch.zeros(1, INPUT_PX, INPUT_PX, 3)
    model = ov.convert_model(Trunk(stock_network(), cut), example_input=example)
    compiled = ov.Core().compile_model(model, "CPU", cpu_options(threads))
    return lambda views: np.asarray(compiled(np.asarray(views, np.float32))[0], np.float16)


def fill(folder: Path, cut: int, views: Sequence[Callable[[], Image]], batch: int = 8) -> None:
    """Compute the maps of all views into ``maps.npy``; a stopped run goes on where it stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    run = trunk_runner(cut)
    shape = run(np.zeros((1, INPUT_PX, INPUT_PX, 3), np.uint8)).shape[1:]
    file, state = folder / "maps.npy", folder / "done.json"
    done = json.loads(state.read_text())["done"] if state.is_file() and file.is_file() else 0
    maps = np.lib.format.open_memmap(
        file, "r+" if done else "w+", None if done else np.float16, None if done else (len(views), *shape)
    )
    begin, first = time.monotonic(), done
    while done < len(views):
        part = views[done : done + batch]
        maps[done : done + len(part)] = run(np.stack([make() for make in part]))
        done += len(part)
        if done % 800 < batch or done == len(views):
            maps.flush()
            state.write_text(json.dumps({"done": done}))
            each = (time.monotonic() - begin) / (done - first)
            print(
                f"{folder.name}: {done}/{len(views)} views, {each * 1e3:.0f} ms each",
                file=sys.stderr,
                flush=True,
            )


def main() -> None:
    """Fill the cache of stills."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIGS / "vision.yaml")
    config = yaml.safe_load(parser.parse_args().config.read_text())
    cv2.setNumThreads(1)
    folder, seen = data.shared_data(), evidence_features.load()
    rows = [row for row in data.read_rows(folder, filed=True) if row.split == "train"]
    order = np.random.default_rng(config["seed"]).permutation(len(rows))
    plan: list[tuple[int, int]] = [
        (int(index), round_) for round_ in range(config["rounds"]) for index in order
    ]

    def maker(index: int, round_: int) -> Callable[[], Image]:
        def make() -> Image:
            row = rows[index]
            random = np.random.default_rng([config["seed"], index, round_])
            region = round_ % 5 in (1, 3)
            return training_view(row, seen[row.file], data.image(row, folder), random, region=region)

        return make

    targets, masks = [], []
    for index, _ in plan:
        row = rows[index]
        detected: dict[str, float] = {}
        for label, score, _box in seen[row.file]["objects"]:
            detected[label] = max(score, detected.get(label, 0.0))
        target, mask = data.targets(row, detected)
        targets.append(target)
        masks.append(mask)
    out = data.WORK / "trunk-stills"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / "labels.npz",
        target=np.stack(targets),
        mask=np.stack(masks),
        label=[rows[index].label for index, _ in plan],
        source=[rows[index].source for index, _ in plan],
        group=[rows[index].group for index, _ in plan],
    )
    fill(out, config["cut"], [maker(index, round_) for index, round_ in plan])


if __name__ == "__main__":
    main()
