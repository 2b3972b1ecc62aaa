"""The tower's token layout: chat turns as text, visual tokens at the start of the user's turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.embedded.connector import Connector, chosen_views
from models.embedded.language import LanguageTower
from models.embedded.vision import VisionFeatures
from pipeline.types import Array, KeyFrame
from prompts.pack import question_text

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class Tokens(Protocol):
    """A tokenizer, as the tower has it."""

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; control tokens written out are recognised."""
        ...

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of untrusted text."""
        ...


YES = (" yes", "yes", " Yes", "Yes", " YES", "YES")
NO = (" no", "no", " No", "No", " NO", "NO")
_END = "<|im_end|>\n"


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt as tokens: ``head`` + visual tokens + ``tail``."""

    head: tuple[int, ...]
    tail: tuple[int, ...]


def turn(tower: Tokens, messages: Sequence[BaseMessage]) -> Turn:
    """Tokens of a rendered prompt up to where the assistant begins to answer."""
    system, text = question_text(messages)
    return text_turn(tower, system, text)


def text_turn(tower: Tokens, system: str, text: str) -> Turn:
    """The same from plain texts."""
    head = (
        *tower.ids("<|im_start|>system\n"),
        *tower.plain_ids(system),
        *tower.ids(_END + "<|im_start|>user\n"),
    )
    tail = (*tower.plain_ids(text), *tower.ids(_END + "<|im_start|>assistant\n"))
    return Turn(head, tail)


def visual_embeddings(
    connector: Connector, features: VisionFeatures, key_frames: Sequence[KeyFrame]
) -> Array:
    """Embeddings (9 to 27, dim) of the views the tower looks at."""
    chosen = chosen_views(key_frames)
    return connector(features.tokens[chosen], [key_frames[index].view for index in chosen])


def spliced(tower: LanguageTower, prompt: Turn, visual: Array) -> Array:
    """Embeddings (T, dim) of a whole prompt."""
    return np.concatenate([tower.embed(prompt.head), visual, tower.embed(prompt.tail)])


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share at their start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


class YesNo:
    """Reads yes/no log-odds from logits, summed over how the words may be written.

    Args:
        tower: Its tokenizer names the variants; only those that are one token count.

    Attributes:
        yes: Tokens that say yes.
        no: Tokens that say no.
    """

    def __init__(self, tower: Tokens) -> None:
        self.yes = self._single(tower, YES)
        self.no = self._single(tower, NO)

    @property
    def tokens(self) -> list[int]:
        """Every token that answers: those whose logits :meth:`log_odds` reads, in its order."""
        return [*self.yes, *self.no]

    @staticmethod
    def _single(tower: Tokens, words: Sequence[str]) -> list[int]:
        return sorted({ids[0] for word in words if len(ids := tower.ids(word)) == 1})

    def log_odds(self, logits: Array) -> Array:
        """Log p(yes) - log p(no) of the logits of :attr:`tokens`, (B, len(tokens)): (B,)."""
        yes, no = logits[:, : len(self.yes)], logits[:, len(self.yes) :]
        return np.asarray(np.logaddexp.reduce(yes, axis=1) - np.logaddexp.reduce(no, axis=1))
