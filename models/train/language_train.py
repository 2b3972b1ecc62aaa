"""Train connector and low-rank updates of the language tower on cached visual tokens.

``python -m models.train.language_train [--config FILE] [--steps N] [--fresh]``: resumable, seeded, shows
progress, logs to ``.train/language-train.log``, writes ``models/embedded/weights/language.*``.

Two tasks share each step. Questions: binary cross-entropy of the summed log-odds, decision head (drawn)
plus language term, so that the tower learns what the head cannot know. Reports: cross-entropy of the words
between the forced pieces of the skeleton.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from models.embedded import phrases
from models.embedded.assets import LANGUAGE, locate
from models.embedded.connector import MANIFEST, VIEWS, WEIGHTS
from models.embedded.decoding import CLOSING, SKELETON
from models.embedded.gguf import GgufTower
from models.embedded.prompting import YesNo, turn
from models.embedded.report import reading_line
from models.embedded.report_facts import Facts
from models.train import data, language_data
from models.train.language_net import TrainConnector, TrainTower, joint_tensors, load_joint
from models.train.malloc import keep_memory

CONFIG = Path(__file__).parent / "configs" / "language.yaml"
CHECKPOINT = data.WORK / "language-checkpoint.pt"
LOG = data.WORK / "language-train.log"


class Words:
    """Tokenizer with the methods the run time's tower has."""

    def __init__(self, source: GgufTower) -> None:
        self.tokenizer = source.tokenizer()

    def ids(self, text: str) -> list[int]:
        """Token ids."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of untrusted text."""
        return self.ids(text.replace("<|", "< |"))


def report_ids(words: Words, facts: Facts, said: dict[str, str]) -> tuple[list[int], list[bool]]:
    """The answer as tokens, and which of them are learned: the words and the token that ends each field."""
    ids = words.plain_ids(reading_line(facts) + "\n")
    learned = [False] * len(ids)
    pieces = [words.ids(piece) for piece in SKELETON] + [words.ids(CLOSING)]
    for number, name in enumerate(phrases.FIELDS):
        ids += pieces[number]
        # The first token of a skeleton piece is how the tower ends the field before.
        learned += [number > 0] + [False] * (len(pieces[number]) - 1)
        spoken = words.ids(said[name])
        ids += spoken
        learned += [True] * len(spoken)
    ids.append(pieces[-1][0])
    return ids, [*learned, True]


class Trainer:
    """One run."""

    def __init__(self, config: dict[str, Any], accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        source = GgufTower(locate(LANGUAGE))
        self.words = Words(source)
        self.yes_no = YesNo(self.words)
        self.store = language_data.TokenStore()
        mean, scale = self.store.statistics()
        self.tower = TrainTower(source, config["rank"], config["alpha"], config["lora"])
        self.connector = TrainConnector(source.spec.dim, self.tower.embedding_std, mean, scale)
        self.bias = torch.nn.Parameter(torch.zeros(()))
        lora = [p for p in self.tower.parameters() if p.requires_grad]
        groups = [
            {"params": [*self.connector.parameters()], "lr": config["connector_lr"]},
            {"params": [*lora, self.bias], "lr": config["lora_lr"]},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config["weight_decay"], betas=(0.9, 0.98))
        self.optimizer = accelerator.prepare(self.optimizer)
        self.parameters = [p for group in groups for p in group["params"]]
        self.rates = [group["lr"] for group in groups]

    def batch(
        self, prompts: list[Any], names: list[str], views: list[Any], answers: list[list[int]]
    ) -> tuple[torch.Tensor, list[int]]:
        """Embeddings (B, T, dim), padded on the right, and where each answer begins."""
        flat = [(name, view) for name, group in zip(names, views, strict=True) for view in group]
        tokens = torch.from_numpy(np.stack([self.store.tokens(name, view) for name, view in flat])).float()
        numbers = torch.tensor([VIEWS.index(view) for _, view in flat])
        visual = self.connector(tokens, numbers).reshape(-1, self.tower.spec.dim)
        rows, starts, used = [], [], 0
        for prompt, group, answer in zip(prompts, views, answers, strict=True):
            count = 9 * len(group)
            head = self.tower.embed(torch.tensor(prompt.head))
            tail = self.tower.embed(torch.tensor([*prompt.tail, *answer]))
            rows.append(torch.cat([head, visual[used : used + count], tail]))
            starts.append(len(prompt.head) + count + len(prompt.tail))
            used += count
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), starts

    def question_odds(self, samples: list[Any]) -> torch.Tensor:
        """Language log-odds of samples, bias taken off: (B,)."""
        prompts = [turn(self.words, sample.inquiry.messages) for sample in samples]
        embeds, starts = self.batch(
            prompts,
            [s.situation.name for s in samples],
            [s.situation.views for s in samples],
            [[]] * len(samples),
        )
        hidden = self.tower(embeds)[torch.arange(len(samples)), torch.tensor(starts) - 1]
        # Only the rows of the two answers: the other 49,000 logits cancel out of the log-odds.
        yes = self.tower.logits(hidden, self.yes_no.yes).logsumexp(1)
        return yes - self.tower.logits(hidden, self.yes_no.no).logsumexp(1) - self.bias

    def question_loss(self, samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of head + language term, and the term."""
        bound = self.config["language_clip"]
        term = bound * torch.tanh(self.question_odds(samples) / bound)
        head = torch.tensor([s.situation.head_log_odds for s in samples])
        target = torch.tensor([float(s.situation.real) for s in samples])
        silent = torch.tensor([float(not s.situation.excused) for s in samples])
        loss = F.binary_cross_entropy_with_logits(head + term, target)
        return loss + self.config["quiet"] * (silent * term.square()).mean(), term

    def report_loss(self, samples: list[Any]) -> torch.Tensor:
        """Cross-entropy of the words of reports."""
        prompts = [turn(self.words, sample.inquiry.narrative_messages) for sample in samples]
        answers = [report_ids(self.words, sample.facts, sample.said) for sample in samples]
        embeds, starts = self.batch(
            prompts,
            [s.situation.name for s in samples],
            [s.situation.views for s in samples],
            [ids for ids, _ in answers],
        )
        hidden = self.tower(embeds)
        states, targets = [], []
        for row, (start, (ids, learned)) in enumerate(zip(starts, answers, strict=True)):
            places = [index for index, flag in enumerate(learned) if flag]
            states.append(hidden[row, torch.tensor([start + index - 1 for index in places])])
            targets += [ids[index] for index in places]
        return F.cross_entropy(self.tower.logits(torch.cat(states)), torch.tensor(targets))

    def step(self, number: int, steps: int, random: np.random.Generator) -> dict[str, float]:
        """One optimiser step."""
        warm = max(1, round(self.config["warmup"] * steps))
        share = min(1.0, (number + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, number / steps)))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        questions = self.store.questions(random, self.config["questions"])
        asked, _ = self.question_loss(questions)
        self.accelerator.backward(asked)
        if told_now := number % self.config["reports_every"] == 0:
            told = self.report_loss(self.store.reports(random, self.config["reports"]))
            self.accelerator.backward(told)
        self.accelerator.clip_grad_norm_(self.parameters, self.config["clip_gradient"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"question": asked.item(), **({"report": told.item()} if told_now else {})}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On validation rows: does the site reach the verdict, and is the term silent where it should be."""
        random = np.random.default_rng(11)
        found: dict[str, list[float]] = {"excused": [], "real": [], "false": [], "irrelevant": []}
        right = []
        for _ in range(16):
            samples = self.store.questions(random, 16, split="val")
            _, term = self.question_loss(samples)
            for sample, value in zip(samples, term.tolist(), strict=True):
                s = sample.situation
                kind = (
                    "excused"
                    if s.excused
                    else "irrelevant"
                    if s.site_context
                    else "real"
                    if s.real
                    else "false"
                )
                found[kind].append(value)
                right.append((s.head_log_odds + value > 0) == s.real)
        told = [self.report_loss(self.store.reports(random, 6, split="val")).item() for _ in range(4)]
        result = {f"term_{kind}": float(np.mean(values)) for kind, values in found.items() if values}
        result["excused_flipped"] = float(np.mean([value < -5 for value in found["excused"]]))
        return {**result, "accuracy": float(np.mean(right)), "report": float(np.mean(told))}

    def save(self) -> None:
        """Write the weights and their manifest."""
        save_file(joint_tensors(self.tower, self.connector), WEIGHTS)
        manifest = {
            "sha256": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
            "vision_id": self.store.vision_id,
            "prompt": self.config["prompt"],
            "rank": self.config["rank"],
            "alpha": self.config["alpha"],
            "language_weight": self.config["language_weight"],
            "language_bias": round(self.bias.item(), 5),
            "language_quiet": self.config["language_quiet"],
            "language_clip": self.config["language_clip"],
        }
        WEIGHTS.with_name(MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="Ignore the checkpoint.")
    parser.add_argument("--start", type=Path, help="Weights to start from (language.safetensors).")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores; 1 is faster on busy ones.")
    arguments = parser.parse_args()
    keep_memory()
    config = yaml.safe_load(arguments.config.read_text())
    steps = arguments.steps or config["steps"]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(config["seed"])
    trainer = Trainer(config, Accelerator(cpu=True))
    first = 0
    if arguments.start:
        load_joint(trainer.tower, trainer.connector, load_file(arguments.start))
        trainer.connector.mean.copy_(torch.from_numpy(trainer.store.statistics()[0]))
        trainer.connector.scale.copy_(torch.from_numpy(trainer.store.statistics()[1]))
    if CHECKPOINT.is_file() and not arguments.fresh:
        held = torch.load(CHECKPOINT, weights_only=True)
        if held["vision_id"] == trainer.store.vision_id and held["steps"] == steps:
            load_joint(trainer.tower, trainer.connector, held["tensors"])
            trainer.optimizer.load_state_dict(held["optimizer"])
            trainer.bias.data.copy_(held["bias"])
            first = held["step"]
    start = time.monotonic()
    with LOG.open("a") as log:
        for number in range(first, steps):
            # Seeded by step, so that a resumed run sees what an unbroken one would have seen.
            losses = trainer.step(number, steps, np.random.default_rng([config["seed"], number]))
            line = {"step": number, **{name: round(value, 4) for name, value in losses.items()}}
            line["seconds"] = round(time.monotonic() - start, 1)
            if (number + 1) % config["evaluate_every"] == 0 or number + 1 == steps:
                line |= {f"val_{k}": round(v, 4) for k, v in trainer.evaluate().items()}
            print(json.dumps(line), file=log, flush=True)
            if number % 20 == 0 or number + 1 == steps:
                print(f"language: {json.dumps(line)} of {steps}", file=sys.stderr, flush=True)
            if (number + 1) % config["checkpoint_every"] == 0:
                torch.save(
                    {
                        "step": number + 1,
                        "steps": steps,
                        "vision_id": trainer.store.vision_id,
                        "tensors": joint_tensors(trainer.tower, trainer.connector),
                        "optimizer": trainer.optimizer.state_dict(),
                        "bias": trainer.bias.data,
                    },
                    CHECKPOINT,
                )
    trainer.save()
    CHECKPOINT.unlink(missing_ok=True)
    print(f"language: wrote {WEIGHTS}", file=sys.stderr)


if __name__ == "__main__":
    main()
