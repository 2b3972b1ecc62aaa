"""Loads prompt packs and renders them into chat messages with images.

A pack lives in ``<root>/<id>/<version>/pack.yaml``. Roots are searched in order, the installation's own packs
(``<data_dir>/prompts``) before the shipped ones. Untrusted text (labels, zone, site) reaches the sandboxed
templates as cleaned values only, and rendered text is never rendered again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import ValidationError

from pipeline.errors import PromptError
from pipeline.types import Candidate, JsonScalar, KeyFrame
from prompts.clean import clean, quoted
from prompts.facts import measured, number, seen
from prompts.schema import EventSection, PackFile, canonical_sha256

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

SHIPPED = Path(__file__).parent
BODY_NAMES = frozenset(
    {"event", "event_type", "duration", "start", "end", "zone", "camera", "site", "measured", "seen"}
    | {"examples", "question", "look_alikes", "language", "trigger", "moments"}
)
CAPTION_NAMES = frozenset({"moment", "t", "view", "number"})
_TEXT_LIMIT = 40


@dataclass(frozen=True, slots=True)
class PromptOverrides:
    """What a site, zone or camera changes in a pack.

    Attributes:
        site_context: Replaces the installation's site context when not ``None``.
        events: Fields of an event section to replace, by event type.
        options: Model options to replace.
        sources: Which override entries were merged, weakest first; stored with the verdict.
    """

    site_context: str | None = None
    events: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, JsonScalar] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Hash of what is overridden; empty when nothing is."""
        if self.site_context is None and not self.events and not self.options:
            return ""
        return canonical_sha256([self.site_context, self.events, self.options])


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Messages for one candidate, and what they were made of.

    Attributes:
        messages: System and user message; the user's last text block ends in the yes/no question.
        narrative_messages: The same with the request for a report; both share their beginning.
        sha256: Canonical hash of the pack (and of overrides that touched it).
        id: Of the pack.
        version: Of the pack.
        site_context: As rendered, "" when none.
        options: Model options.
    """

    messages: tuple[BaseMessage, ...]
    narrative_messages: tuple[BaseMessage, ...]
    sha256: str
    id: str
    version: str
    site_context: str = ""
    options: Mapping[str, JsonScalar] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptPack:
    """A loaded, checked pack."""

    file: PackFile
    path: Path
    sha256: str

    @property
    def ref(self) -> str:
        """``id@version``, as stored with every verdict."""
        return f"{self.file.id}@{self.file.version}"

    @cached_property
    def _compiled(self) -> dict[str, Template]:
        return _compile(self.file, self.path)

    def render(
        self,
        candidate: Candidate,
        *,
        language: str = "en",
        site_context: str = "",
        overrides: PromptOverrides | None = None,
        images: Sequence[bytes] = (),
    ) -> RenderedPrompt:
        """Render both prompts of one candidate.

        Args:
            candidate: Its labels, zone and measurements are untrusted data.
            language: Language of the report, a key of the pack's ``languages``.
            site_context: What the installation says about the site.
            overrides: What zone and camera change; wins over ``site_context``.
            images: Encoded key frames in the order of ``candidate.key_frames``; without them the messages
                carry text only.

        Raises:
            PromptError: Unknown language, bad override, or a template that cannot be rendered.
        """
        overrides = overrides or PromptOverrides()
        if language not in self.file.languages:
            known = ", ".join(self.file.languages)
            raise PromptError(f"prompt {self.ref} has no language '{language}'", hint=f"it has: {known}")
        if overrides.site_context is not None:
            site_context = overrides.site_context
        site = clean(site_context, self.file.limits.site_context) if site_context else ""
        section = self._section(candidate, overrides)
        values = self._values(candidate, section, site, language)
        system, body = self._text("system", values), self._text("body", values)
        blocks = self._image_blocks(candidate.key_frames, images)
        fingerprint = overrides.fingerprint()
        return RenderedPrompt(
            messages=_messages(system, blocks, f"{body}\n{self._text('question', values)}"),
            narrative_messages=_messages(system, blocks, f"{body}\n{self._text('report', values)}"),
            sha256=canonical_sha256([self.sha256, fingerprint]) if fingerprint else self.sha256,
            id=self.file.id,
            version=self.file.version,
            site_context=site,
            options={**self.file.options, **overrides.options},
        )

    def _section(self, candidate: Candidate, overrides: PromptOverrides) -> EventSection:
        section = self.file.events[candidate.event_type]
        changes = overrides.events.get(candidate.event_type.value)
        if not changes:
            return section
        try:
            return EventSection.model_validate({**section.model_dump(), **changes})
        except ValidationError as error:
            raise PromptError(_first_problem(f"override of {candidate.event_type}", error)) from error

    def _values(
        self, candidate: Candidate, section: EventSection, site: str, language: str
    ) -> dict[str, Any]:
        limits = self.file.limits
        return {
            "event": section.name,
            "event_type": candidate.event_type.value,
            "duration": number(max(0.0, candidate.end_s - candidate.start_s)),
            "start": f"{candidate.start_s:.1f}",
            "end": f"{candidate.end_s:.1f}",
            "zone": quoted(candidate.zone, _TEXT_LIMIT) if candidate.zone else "",
            "camera": quoted(candidate.camera, _TEXT_LIMIT),
            "site": quoted(site, limits.site_context) if site else "",
            "trigger": clean(candidate.trigger.name, _TEXT_LIMIT),
            "measured": measured(candidate.evidence, section.facts, limits.facts),
            "seen": seen(candidate.evidence, limits.objects),
            "moments": len({frame.t_s for frame in candidate.key_frames}),
            "examples": [
                {"text": shot.text, "answer": shot.answer}
                for shot in self.file.few_shot
                if shot.event_type == candidate.event_type
            ],
            "question": section.question,
            "look_alikes": section.look_alikes,
            "language": self.file.languages[language],
        }

    def _image_blocks(self, frames: Sequence[KeyFrame], images: Sequence[bytes]) -> list[dict[str, Any]]:
        if images and len(images) != len(frames):
            raise PromptError(f"{len(images)} images for {len(frames)} key frames", hint="pass one each")
        blocks: list[dict[str, Any]] = []
        shown = zip(frames, images, strict=False)
        for place, (frame, image) in enumerate(shown, start=1):
            if place > self.file.limits.images:
                break
            caption = {
                "moment": frame.moment.value,
                "t": f"{frame.t_s:.1f}",
                "view": frame.view.value,
                "number": place,
            }
            blocks.append({"type": "text", "text": self._text("caption", caption)})
            encoded = base64.b64encode(image).decode("ascii")
            blocks.append({"type": "image", "base64": encoded, "mime_type": _mime_type(image)})
        return blocks

    def _text(self, name: str, values: Mapping[str, Any]) -> str:
        try:
            return self._compiled[name].render(values).strip()
        except TemplateError as error:
            raise PromptError(f"{self.path}: template '{name}' cannot be rendered: {error}") from error


def parse_pack(path: Path) -> PromptPack:
    """Read and check one pack file.

    Raises:
        PromptError: Not readable, not YAML, a wrong or unknown key, or an unknown placeholder.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PromptError(f"prompt pack {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise PromptError(f"prompt pack {path} is not a YAML mapping")
    try:
        file = PackFile.model_validate(content)
    except ValidationError as error:
        raise PromptError(_first_problem(f"prompt pack {path}", error)) from error
    if (path.parent.parent.name, path.parent.name) != (file.id, file.version):
        raise PromptError(
            f"prompt pack {path} says it is {file.id}@{file.version}",
            hint="folder names and the fields id and version must agree",
        )
    _compile(file, path)
    return PromptPack(file, path, file.canonical_sha256())


def question_text(messages: Sequence[BaseMessage]) -> tuple[str, str]:
    """System text and the last text block of the user: the prompt without images and captions.

    For models that carry the images as visual tokens of their own, in the order of the key frames.
    """
    system = "".join(str(message.content) for message in messages if message.type == "system")
    content = messages[-1].content
    if isinstance(content, str):
        return system, content
    texts = [block["text"] for block in content if isinstance(block, dict) and block.get("type") == "text"]
    return system, texts[-1]


def _compile(file: PackFile, path: Path) -> dict[str, Template]:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    compiled = {}
    for name, source in file.templates.model_dump().items():
        allowed = CAPTION_NAMES if name == "caption" else BODY_NAMES
        try:
            unknown = meta.find_undeclared_variables(environment.parse(source)) - allowed
            compiled[name] = environment.from_string(source)
        except TemplateError as error:
            raise PromptError(f"{path}: template '{name}': {error}") from error
        if unknown:
            raise PromptError(
                f"{path}: template '{name}' uses unknown placeholder '{sorted(unknown)[0]}'",
                hint=f"known: {', '.join(sorted(allowed))}",
            )
    return compiled


def _messages(system: str, blocks: list[dict[str, Any]], text: str) -> tuple[BaseMessage, ...]:
    from langchain_core.messages import HumanMessage, SystemMessage

    content: list[str | dict[Any, Any]] = [*blocks, {"type": "text", "text": text}]
    return SystemMessage(content=system), HumanMessage(content=content)


def _mime_type(image: bytes) -> str:
    if image.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "image/jpeg"


def _first_problem(what: str, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{what}: '{where}': {first['msg']}" if where else f"{what}: {first['msg']}"
