"""Reads the report a model wrote. What cannot be read is an error with the raw text, never a guess."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ReplyError
from pipeline.types import Narrative

RAW_LIMIT = 20_000
"""Characters of a reply that are looked at and stored."""

_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n(.*?)\n?```$", re.DOTALL)
_THINKING = re.compile(r"^<think>.*?</think>", re.DOTALL)
_REFUSAL = re.compile(
    r"\bas an ai\b|\bi(?:'m| am) (?:sorry|unable)\b"
    r"|\bi (?:cannot|can't|can not) (?:assist|help|judge|analy[sz]e)"
    r"|죄송하지만|도와드릴 수 없",
    re.IGNORECASE,
)


def _tidy(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _capped(limit: int) -> Any:
    # Servers without schema support run over by a few words: cut those at a word. Twice the limit is no slip.
    def cut(text: str) -> str:
        text = _tidy(text)
        if len(text) <= limit:
            return text
        return text[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"

    return Annotated[str, Field(min_length=1, max_length=2 * limit), AfterValidator(cut)]


class Report(BaseModel):
    """The report as a model writes it; the order of the fields is the order of writing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    observations: list[_capped(200)] = Field(min_length=1, max_length=8)  # type: ignore[valid-type]
    title: _capped(80)  # type: ignore[valid-type]
    summary: _capped(160)  # type: ignore[valid-type]
    narrative: _capped(800)  # type: ignore[valid-type]
    reason: _capped(400)  # type: ignore[valid-type]
    recommended_action: _capped(200)  # type: ignore[valid-type]


def parse_report(reply: str, language: str) -> Narrative:
    """Read a reply as a report.

    Raises:
        ReplyError: Empty, too long, a refusal, not JSON, cut off, wrong fields, or going round in
            circles; ``raw`` carries the reply.
    """
    raw = reply[:RAW_LIMIT]
    text = _THINKING.sub("", reply.strip()).strip()
    if fenced := _FENCE.match(text):
        text = fenced.group(1).strip()
    if not text:
        raise ReplyError("the reply is empty", raw=raw)
    if len(reply) > RAW_LIMIT:
        raise ReplyError(f"the reply has {len(reply)} characters", raw=raw)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _REFUSAL.search(text):
            raise ReplyError("the model refused to report", raw=raw) from error
        cut = text.startswith("{") and not text.endswith("}")
        raise ReplyError("the reply is cut off" if cut else "the reply is not JSON", raw=raw) from error
    try:
        report = Report.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "reply"
        raise ReplyError(f"the report's '{where}': {first['msg']}", raw=raw) from error
    said = " ".join([*report.observations, report.title, report.summary, report.narrative, report.reason])
    if _REFUSAL.search(said):
        raise ReplyError("the model refused to report", raw=raw)
    if repeats(report.narrative) or repeats(report.reason):
        raise ReplyError("the report repeats itself", raw=raw)
    return Narrative(
        title=report.title,
        summary=report.summary,
        narrative=report.narrative,
        reason=report.reason,
        recommended_action=report.recommended_action,
        observations=tuple(report.observations),
        language=language,
    )


def repeats(text: str) -> bool:
    """Whether the text goes round in circles: one run of four words at least three times."""
    words = text.lower().split()
    counts: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - 3):
        run = tuple(words[start : start + 4])
        counts[run] = counts.get(run, 0) + 1
        if counts[run] >= 3:
            return True
    return False


def report_schema() -> dict[str, Any]:
    """The JSON schema of a report, for back ends that constrain decoding to it."""
    limits = {"title": 80, "summary": 160, "narrative": 800, "reason": 400, "recommended_action": 200}
    text = {name: {"type": "string", "minLength": 1, "maxLength": size} for name, size in limits.items()}
    observation = {"type": "string", "minLength": 1, "maxLength": 200}
    observations = {"type": "array", "items": observation, "minItems": 1, "maxItems": 8}
    return {
        "type": "object",
        "properties": {"observations": observations, **text},
        "required": ["observations", *text],
        "additionalProperties": False,
    }
