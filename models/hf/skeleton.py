"""Constrained decoding: the structure of a report is forced, the model fills in the strings.

A logits processor plays the part of a grammar: outside a string it allows only the next token of the fixed
text; inside, it bans what could end the string badly (quotes inside tokens, backslashes, line breaks, special
tokens) and closes the string at its cap. So the result is valid JSON with every field, whatever the weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

Schedule = Sequence[tuple[str, int]]
"""Field name (``observations[]`` fills a list) and its cap in tokens, in the order of writing."""

REPORT: Schedule = (
    ("observations[]", 28),
    ("observations[]", 28),
    ("title", 20),
    ("summary", 36),
    ("narrative", 110),
    ("reason", 60),
    ("recommended_action", 30),
)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Which tokens may stand inside a string: ``banned`` (V,) bool, and the token that closes it."""

    banned: torch.Tensor
    quote: int

    @staticmethod
    def of(tokenizer: Any, size: int) -> Alphabet:
        """Look at every token once. ``size`` is the width of the model's logits, at least the vocabulary."""
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        banned = torch.ones(size, dtype=torch.bool)
        quote = None
        texts = tokenizer.batch_decode(
            [[index] for index in range(len(tokenizer))], clean_up_tokenization_spaces=False
        )
        for index, text in enumerate(texts[:size]):
            if index in special:
                continue
            if text == '"':
                quote = index
            plain = text.replace("\ufffd", "")
            banned[index] = '"' in plain or "\\" in plain or any(ord(char) < 32 for char in plain)
        if quote is None:
            raise ValueError("the tokenizer has no token for a double quote")
        return Alphabet(banned, quote)


class Skeleton:
    """A logits processor for a batch of one; after generation ``report()`` gives the JSON text.

    Args:
        tokenizer: Of the model.
        alphabet: Made once for the tokenizer.
        prompt_length: Tokens of the prompt.
        schedule: Fields and caps.
    """

    def __init__(
        self, tokenizer: Any, alphabet: Alphabet, prompt_length: int, schedule: Schedule = REPORT
    ) -> None:
        self._tokenizer = tokenizer
        self._alphabet = alphabet
        self._schedule = tuple(schedule)
        self._seen = prompt_length
        self._field = -1
        self._inside = False
        self._values: list[list[int]] = [[] for _ in self._schedule]
        self._forced = self._encode(self._opening(0))

    @staticmethod
    def budget(schedule: Schedule = REPORT) -> int:
        """Tokens that are enough for any report, structure included."""
        return sum(cap + 24 for _, cap in schedule) + 16

    @property
    def finished(self) -> bool:
        """Whether the last field is closed."""
        return self._field >= len(self._schedule)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mask the scores (1, V) of the next token."""
        self._follow(input_ids)
        if self.finished and not self._forced:
            return self._only(scores, self._end_token())
        if self._forced:
            return self._only(scores, self._forced[0])
        value, cap = self._values[self._field], self._schedule[self._field][1]
        if len(value) >= cap:
            return self._only(scores, self._alphabet.quote)
        banned = self._alphabet.banned.to(scores.device)
        masked = scores.masked_fill(banned, float("-inf"))
        quote = self._alphabet.quote
        masked[0, quote] = scores[0, quote] if value else float("-inf")
        # Weights that give NaN or ban everything must not stop the report: close the string.
        return masked if torch.isfinite(masked).any() else self._only(scores, quote)

    def is_whole(self, input_ids: torch.Tensor) -> bool:
        """Whether the tokens so far close the last field and the object."""
        self._follow(input_ids)
        return self.finished and not self._forced

    def report(self) -> str:
        """The report as JSON text; fields that were not reached are empty."""
        content: dict[str, Any] = {}
        for (name, _), ids in zip(self._schedule, self._values, strict=True):
            text = self._tokenizer.decode(ids, skip_special_tokens=True).replace("\ufffd", "").strip()
            if name.endswith("[]"):
                content.setdefault(name[:-2], []).append(text)
            else:
                content[name] = text
        for name, value in content.items():
            if isinstance(value, list):
                content[name] = [text for text in value if text]
        return json.dumps(content, ensure_ascii=False)

    def _follow(self, input_ids: torch.Tensor) -> None:
        for token in input_ids[0, self._seen :].tolist():
            self._take(token)
        self._seen = input_ids.shape[1]

    def _take(self, token: int) -> None:
        if self._forced:
            self._forced.pop(0)
            if not self._forced:
                self._inside = not self.finished
                if self._field < 0:
                    self._field = 0
                    self._inside = True
            return
        if not self._inside:
            return
        if token == self._alphabet.quote:
            self._inside = False
            self._field += 1
            self._forced = self._encode(self._opening(self._field))
        else:
            self._values[self._field].append(token)

    def _opening(self, field: int) -> str:
        """Fixed text between the quote that closed the field before and the one that opens this."""
        before = self._schedule[field - 1][0] if field else ""
        if field == len(self._schedule):
            return "]}" if before.endswith("[]") else "}"
        name = self._schedule[field][0]
        if name == before:
            return ', "'
        start = "{" if not before else ("], " if before.endswith("[]") else ", ")
        key = name.removesuffix("[]")
        return f'{start}"{key}": ' + ('["' if name.endswith("[]") else '"')

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _end_token(self) -> int:
        end = self._tokenizer.eos_token_id
        return int(end) if end is not None else self._alphabet.quote

    @staticmethod
    def _only(scores: torch.Tensor, token: int) -> torch.Tensor:
        forced = torch.full_like(scores, float("-inf"))
        forced[0, token] = 0.0
        return forced
