"""Constrained decoding of a report: forced JSON skeleton, and in each field only what the facts support.

For the facts at hand the grammar of :mod:`models.embedded.phrases` gives many wordings. Their tokens make an
automaton that looks a few tokens back: the tower goes through it, at every fork taking the branch it finds
most likely, so it may recombine wordings but cannot say what no wording of these facts says. Tokens without
an alternative, and those of the skeleton, are not generated one by one but read in one pass with the next
fork.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.embedded import phrases
from models.embedded.report import reading_line
from models.embedded.report_facts import Facts
from pipeline.types import Array

SKELETON = ('{"observations": ["', '", "', '"], "title": "', '", "narrative": "', '", "reason": "')
"""Forced text before each field of ``phrases.FIELDS``; the first token of the next piece ends a field."""
CLOSING = '"}'
MEMORY = 8
"""Tokens the automaton looks back: about a clause, so that clauses join only as some wording joins them."""
WORDINGS = 48
"""Wordings of the facts that the automaton is made of."""
MAX_TOKENS = {"observation": 24, "second": 24, "title": 14, "narrative": 64, "reason": 64}


class Tower(Protocol):
    """What decoding needs of the language tower."""

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        ...

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of untrusted text."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        ...

    def embed(self, ids: Sequence[int]) -> Array:
        """Embeddings (T, dim)."""
        ...

    def extend(self, embeds: Array, among: Sequence[int] | None = None) -> Array:
        """Read on; logits (len(among),)."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What came of decoding.

    Attributes:
        fields: Text by field name.
        chosen: Forks at which the tower chose.
        tokens: Tokens of the fields in all.
        replaced: Fields that had to fall back on the plain wording.
    """

    fields: dict[str, str]
    chosen: int
    tokens: int
    replaced: tuple[str, ...]


class Automaton:
    """Which token may follow the last few.

    Args:
        sequences: Token sequences of the wordings, each with the token that ends it.
    """

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self._next: dict[tuple[int, ...], list[int]] = {}
        for sequence in sequences:
            for place, token in enumerate(sequence):
                known = self._next.setdefault(self._state(sequence[:place]), [])
                if token not in known:
                    known.append(token)

    def after(self, ids: Sequence[int]) -> list[int]:
        """Tokens that may come next."""
        return self._next.get(self._state(ids), [])

    @staticmethod
    def _state(ids: Sequence[int]) -> tuple[int, ...]:
        return (*((-1,) * (MEMORY - len(ids))), *ids[-MEMORY:])


class ReportWriter:
    """Writes reports with one tower.

    Args:
        tower: Reads on and gives logits.
    """

    def __init__(self, tower: Tower) -> None:
        self._tower = tower
        self._pieces = [tower.ids(piece) for piece in (*SKELETON, CLOSING)]

    def prefix_ids(self, facts: Facts) -> list[int]:
        """Tokens forced at the start of the answer: what the model sees, and the first skeleton piece."""
        return [*self._tower.plain_ids(reading_line(facts) + "\n"), *self._pieces[0]]

    def write(self, facts: Facts, unread: Array) -> Written:
        """Decode all fields.

        Args:
            facts: What may be said.
            unread: Embeddings (T, dim), T >= 1, of what comes before the first field and the tower has not
                read: the rest of the prompt, :meth:`prefix_ids` at its end.
        """
        wordings = variations(facts, WORDINGS)
        plain = phrases.plain(facts)
        fields: dict[str, str] = {}
        replaced: list[str] = []
        pending: list[int] = []
        chosen = tokens = 0
        for number, name in enumerate(phrases.FIELDS):
            end = self._pieces[number + 1][0]
            texts = dict.fromkeys(wording[name] for wording in wordings)
            automaton = Automaton([[*self._tower.ids(text), end] for text in texts])
            ids: list[int] = []
            while True:
                options = _unrepeated(automaton.after(ids), ids)
                if len(ids) >= MAX_TOKENS[name] or not options:
                    ids = self._tower.ids(plain[name])
                    replaced.append(name)
                    break
                if len(options) == 1:
                    token = options[0]
                else:
                    unread = np.concatenate([unread, self._tower.embed(pending)])
                    token = options[int(np.argmax(self._tower.extend(unread, options)))]
                    unread, pending = unread[:0], []
                    chosen += 1
                if token == end:
                    break
                ids.append(token)
                pending.append(token)
            tokens += len(ids)
            fields[name] = self._tower.text(ids).strip()
            pending += self._pieces[number + 1]
        if fields["second"] == fields["observation"]:
            fields["second"] = plain["second"]
        return Written(fields, chosen, tokens, tuple(replaced))


def variations(facts: Facts, count: int) -> list[dict[str, str]]:
    """Wordings of the facts, always the same ones in the same order; the plain one first."""
    random = np.random.default_rng(0)
    drawn = [
        phrases.write(facts, lambda options: options[int(random.integers(len(options)))])
        for _ in range(count - 1)
    ]
    return [phrases.plain(facts), *drawn]


def _unrepeated(options: list[int], ids: list[int]) -> list[int]:
    """Without those that would repeat four tokens of this field."""
    if len(ids) < 4:
        return options
    tail = ids[-3:]
    seen = {ids[index + 3] for index in range(len(ids) - 3) if ids[index : index + 3] == tail}
    return [token for token in options if token not in seen]
