"""Fine-tune the upper blocks and the attribute head on cached views.

``python -m models.train.vision_finetune [--stream motion]``: resumable, seeded, shows progress, writes the
averaged weights (EMA) to ``.train/finetuned-STREAM.pt``. Batch norm keeps its ImageNet statistics.

``--folds`` trains a stills network for each third of the scenes of train, on the other two, and writes it to
``.train/folds/N``: with them ``mined_candidates`` sees train pictures as a network does that never saw them,
so that their alarms can be weighed and calibrated like those of val.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from torch import nn

from models.embedded.vision import ATTRIBUTES, MANIFEST
from models.embedded.vision_net import CHANNELS
from models.train import data
from models.train.data import CONFIGS, WORK
from models.train.malloc import keep_memory
from models.train.vision_export import export, stock_network

IN_NO_FOLD = -1


class Upper(nn.Module):
    """Trainable part: the blocks after ``cut``, the last convolution and the attribute head."""

    def __init__(self, cut: int, dropout: float, drop_path: float = 0.1) -> None:
        super().__init__()
        network = stock_network()
        self.blocks = nn.ModuleList(network._blocks[cut:])
        self.conv, self.norm, self.act = network._conv_head, network._bn1, network._swish
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(CHANNELS, len(ATTRIBUTES))
        nn.init.zeros_(self.classifier.weight)
        nn.init.constant_(self.classifier.bias, -2.0)
        self.drop_path = drop_path

    def train(self, mode: bool = True) -> Upper:
        """Batch norm stays in evaluation mode: batches are small and hold views of few sources."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def features(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, side, side, c) maps to (n, 1280)."""
        x = maps.permute(0, 3, 1, 2)
        for index, block in enumerate(self.blocks):
            x = block(x, drop_connect_rate=self.drop_path * (index + 1) / len(self.blocks))
        return self.act(self.norm(self.conv(x))).mean((2, 3))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, side, side, c) maps to (n, A) logits."""
        return self.classifier(self.dropout(self.features(maps)))


def parameter_groups(model: Upper, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Backbone and head with their own rates; norms and biases without decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not name.startswith("classifier"):
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    return [
        {"params": decayed, "lr": config["lr_backbone"], "weight_decay": config["weight_decay"]},
        {"params": plain, "lr": config["lr_backbone"], "weight_decay": 0.0},
        {"params": list(model.classifier.parameters()), "lr": config["lr_head"], "weight_decay": 0.01},
    ]


def masked_loss(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, positive: torch.Tensor, smooth: float
) -> torch.Tensor:
    """Binary cross-entropy over the pairs that are known, label smoothing, positives weighted."""
    soft = target * (1 - smooth) + 0.5 * smooth
    weight = mask * torch.where(target > 0.5, positive, torch.ones_like(positive))
    loss = nn.functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def train(
    maps: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    config: dict[str, Any],
    order: np.ndarray,
    *,
    checkpoint: Path | None = None,
) -> Upper:
    """Train on ``order`` (row numbers, already repeated for passes) and return the averaged model."""
    torch.manual_seed(config["seed"])
    accelerator = Accelerator(cpu=True)
    model = Upper(config["cut"], config["dropout"])
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(parameter_groups(model, config))
    steps, warmup = len(order) // config["batch"], config["warmup"]

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    average = copy.deepcopy(model).eval()
    first = 0
    if checkpoint is not None and checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = int(saved["step"])
    model, optimizer = accelerator.prepare(model, optimizer)
    known = mask.sum(0).clip(min=1)
    share = (target * mask).sum(0) / known
    positive = torch.tensor(np.sqrt((1 - share) / share.clip(min=1e-3)).clip(1, 4), dtype=torch.float32)
    model.train()
    begin, shown = time.monotonic(), 0.0
    for step in range(first, steps):
        rows = np.sort(order[step * config["batch"] : (step + 1) * config["batch"]])
        x = torch.from_numpy(maps[rows].astype(np.float32))
        loss = masked_loss(
            model(x),
            torch.from_numpy(target[rows]),
            torch.from_numpy(mask[rows]),
            positive,
            config["label_smoothing"],
        )
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        decay = min(config["ema"], (step + 1) / (step + 10))
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, 1 - decay)
        shown = 0.95 * shown + 0.05 * loss.item() if step > first else loss.item()
        if (step + 1) % 25 == 0:
            each = (time.monotonic() - begin) / (step + 1 - first)
            left = each * (steps - step - 1) / 60
            print(
                f"step {step + 1}/{steps} loss {shown:.4f} {each:.2f} s/step, {left:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
        if checkpoint is not None and (step + 1) % config["save_every"] == 0:
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step + 1,
            }
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(checkpoint)
    return average


def train_folds(maps: np.ndarray, labels: Any, config: dict[str, Any]) -> None:
    """One stills network a fold of the scenes of train, trained on the others; folds that are there stay."""
    fold_of = data.fold_of_groups(data.read_rows(), data.FOLDS)
    # Views are cached as the corpus files them; what shows a place of test is in no fold's training.
    left_out = np.array([fold_of.get(data.place_of(str(group)), IN_NO_FOLD) for group in labels["group"]])
    for fold in range(data.FOLDS):
        out = data.FOLDS_DIR / str(fold)
        if (out / MANIFEST).is_file():
            continue
        print(f"fold {fold + 1} of {data.FOLDS}", file=sys.stderr)
        order = passes_over(np.flatnonzero((left_out != fold) & (left_out != IN_NO_FOLD)), config)
        checkpoint = WORK / f"checkpoint-fold-{fold}.pt"
        model = train(maps, labels["target"], labels["mask"], config, order, checkpoint=checkpoint)
        export(model.state_dict(), "stills", out)
        checkpoint.unlink(missing_ok=True)


def passes_over(usable: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Rows in the order they are trained on, shuffled anew in each pass."""
    random = np.random.default_rng(config["seed"])
    whole = [random.permutation(usable) for _ in range(math.ceil(config["passes"]))]
    return np.concatenate(whole)[: round(config["passes"] * len(usable))]


def main() -> None:
    """Train one stream on its cached views."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", choices=("stills", "motion"), default="stills")
    parser.add_argument("--folds", action="store_true", help="stills networks that leave scenes out")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.folds and arguments.stream != "stills":
        parser.error("--folds is for the stills network only")
    torch.set_num_threads(arguments.threads)
    name = {"stills": "vision.yaml", "motion": "vision_motion.yaml"}[arguments.stream]
    config = yaml.safe_load((CONFIGS / name).read_text())
    folder = WORK / f"trunk-{arguments.stream}"
    maps = np.load(folder / "maps.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npz")
    if arguments.folds:
        train_folds(maps, labels, config)
        return
    # Views of val clips are cached too, for cross-validation; the shipped weights never see them.
    usable = np.flatnonzero(labels["split"] == "train") if "split" in labels else np.arange(len(maps))
    order = passes_over(usable, config)
    checkpoint = WORK / f"checkpoint-{arguments.stream}.pt"
    model = train(maps, labels["target"], labels["mask"], config, order, checkpoint=checkpoint)
    out = WORK / f"finetuned-{arguments.stream}.pt"
    torch.save(model.state_dict(), out)
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
