"""Reads the yes/no log-odds from the alternatives a server lists for the first token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ModelError, ReplyError


def log_odds(metadata: Mapping[str, Any]) -> float:
    """Log p(yes) - log p(no) of the first token, each summed over its spellings.

    Servers list the likeliest tokens only. An answer that is not among them is taken to be as likely as the
    least likely of those: its upper bound, so that the log-odds are never overconfident.

    Raises:
        ModelError: The server sent no token probabilities.
        ReplyError: Neither answer is among the listed tokens, or a probability is not a number.
    """
    content = (metadata.get("logprobs") or {}).get("content") or []
    if not content:
        raise ModelError(
            "the model server sends no token probabilities",
            hint="use a server with logprobs (vLLM, SGLang, llama-server)",
        )
    listed = content[0].get("top_logprobs") or [content[0]]
    yes, no, lowest = [], [], 0.0
    for item in listed:
        value = float(item["logprob"])
        if math.isnan(value):
            raise ReplyError("the model server gave a probability that is not a number", raw=str(item))
        value = max(value, -100.0)
        lowest = min(lowest, value)
        word = str(item["token"]).replace("\u2581", " ").replace("\u0120", " ").strip(" .,!\"'").lower()
        if word == "yes":
            yes.append(value)
        elif word == "no":
            no.append(value)
    if not yes and not no:
        said = str(content[0].get("token", ""))
        raise ReplyError(
            "the model answered neither yes nor no", raw=said, hint="switch off its thinking, or use another"
        )
    return _sum(yes or [lowest]) - _sum(no or [lowest])


def _sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
