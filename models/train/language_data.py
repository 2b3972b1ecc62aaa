"""Draws batches of questions and reports over cached visual tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.base import Inquiry
from models.embedded.report_facts import Facts
from models.train import data, evidence_features, text
from models.train.language_features import FILE
from models.train.vision_motion_views import read_clips
from pipeline.types import Array, View

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample: ``facts`` and ``said`` are there for reports only."""

    situation: text.Situation
    inquiry: Inquiry
    facts: Facts | None = None
    said: dict[str, str] | None = None


class TokenStore:
    """Cached tokens with their labels.

    Raises:
        SystemExit: The features have not been computed.
    """

    def __init__(self) -> None:
        if not FILE.is_file():
            raise SystemExit(f"{FILE} is not there: run python -m models.train.language_features first")
        stored = np.load(FILE)
        self.vision_id = str(stored["weights"])
        self._tokens = stored["tokens"]
        self._index: dict[str, dict[View, int]] = {}
        for place, (name, view) in enumerate(zip(stored["name"], stored["view"], strict=True)):
            self._index.setdefault(str(name), {})[View(str(view))] = place
        self._seen = evidence_features.load()
        folder = data.shared_data()
        rows = [(row.file, row.label, row.split) for row in data.read_rows(folder, filed=True)]
        rows += [(c.path, "fight" if c.violent else "normal_person", c.split) for c in read_clips(folder)]
        self._labels: dict[str, dict[str, list[str]]] = {}
        for name, label, split in rows:
            if name in self._index:
                self._labels.setdefault(split, {}).setdefault(label, []).append(name)

    def tokens(self, name: str, view: View) -> Array:
        """(9, 1280) float16."""
        return np.asarray(self._tokens[self._index[name][view]])

    def statistics(self) -> tuple[Array, Array]:
        """Mean and inverse spread of each channel over a part of the tokens: (1280,) each."""
        part = self._tokens[:: max(1, len(self._tokens) // 1500)].astype(np.float32).reshape(-1, 1280)
        return part.mean(0), 1.0 / (part.std(0) + 0.05)

    def _draw(self, random: Random, split: str, *, sites: bool) -> tuple[text.Situation, str]:
        labels = [label for label in self._labels[split] if label in text.REAL or label in text.FALSE]
        while True:
            label = labels[int(random.integers(len(labels)))]
            names = self._labels[split][label]
            name = names[int(random.integers(len(names)))]
            views = [view for view in (View.FULL, View.REGION, View.MOTION) if view in self._index[name]]
            if len(views) > 1 and random.random() < 0.2:
                views.pop(int(random.integers(len(views))))
            drawn = text.situation(name, label, views, self._seen.get(name), random, sites=sites)
            if drawn is not None:
                return drawn, label

    def questions(self, random: Random, count: int, split: str = "train") -> list[Sample]:
        """Samples for the verdict."""
        drawn: list[text.Situation] = []
        while len(drawn) < count:
            first, _ = self._draw(random, split, sites=True)
            drawn.append(first)
            # The same alarm under another site: only the site can tell the two apart.
            if (other := text.resited(first, random)) is not None:
                drawn.append(other)
        return [Sample(s, text.inquiry_of(s)) for s in drawn[:count]]

    def reports(self, random: Random, count: int, split: str = "train") -> list[Sample]:
        """Samples for the narrative."""
        samples = []
        for _ in range(count):
            s, label = self._draw(random, split, sites=True)
            facts = text.facts_of(s, label, random)
            samples.append(Sample(s, text.inquiry_of(s), facts, text.words_of(facts, random)))
        return samples
