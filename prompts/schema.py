"""Shape of a prompt pack file. Unknown keys are errors, so that a typing mistake cannot go unnoticed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from pipeline.types import EventType, JsonScalar

ID_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"
VERSION_PATTERN = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]{1,20})?$"
ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventSection(_Strict):
    """What the prompt says about one event type."""

    name: ShortText = Field(description="The event in plain words, as it follows 'Alarm:'.")
    question: ShortText = Field(description="The yes/no question; yes means the incident is real.")
    look_alikes: ShortText = Field(description="What is often mistaken for it, as a short list.")
    facts: tuple[str, ...] = Field((), description="Measurements worth showing, most telling first.")


class FewShot(_Strict):
    """One worked example in text, shown before the question."""

    event_type: EventType
    text: ShortText
    answer: Annotated[str, StringConstraints(pattern="^(yes|no)$")]


class Templates(_Strict):
    """Jinja templates; the names they may use are listed in ``prompts.pack``."""

    system: str
    body: str = Field(description="The facts of the candidate; shared by question and report.")
    question: str = Field(description="Follows the body when a score is wanted.")
    report: str = Field(description="Follows the body when a report is wanted.")
    caption: str = Field(description="Stands before each image.")


class Limits(_Strict):
    """How much evidence and untrusted text a prompt shows."""

    facts: int = Field(6, ge=0, le=20)
    objects: int = Field(4, ge=0, le=20)
    site_context: int = Field(200, ge=0, le=500, description="Characters.")
    images: int = Field(12, ge=1, le=32)


class PackFile(_Strict):
    """One version of one prompt pack."""

    id: str = Field(pattern=ID_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    description: ShortText
    languages: dict[str, str] = Field(description="Language code to its name as the template says it.")
    templates: Templates
    events: dict[EventType, EventSection]
    few_shot: tuple[FewShot, ...] = ()
    limits: Limits = Limits.model_validate({})
    options: dict[str, JsonScalar] = Field(default_factory=dict, description="For the model: report_tokens.")
    changelog: tuple[str, ...] = Field(min_length=1)

    @field_validator("events")
    @classmethod
    def _all_events(cls, value: dict[EventType, EventSection]) -> dict[EventType, EventSection]:
        if missing := [event.value for event in EventType if event not in value]:
            raise ValueError(f"no section for {', '.join(missing)}")
        return value

    @field_validator("languages")
    @classmethod
    def _english(cls, value: dict[str, str]) -> dict[str, str]:
        if "en" not in value or not all(re.fullmatch(r"[a-z]{2}", code) for code in value):
            raise ValueError("needs two-letter codes, 'en' among them")
        return value

    def canonical_sha256(self) -> str:
        """Hash of the content: comments and key order do not change it, everything else does."""
        return canonical_sha256(self.model_dump(mode="json"))


def canonical_sha256(value: object) -> str:
    """Hash of plain data with sorted keys and no white space between."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
