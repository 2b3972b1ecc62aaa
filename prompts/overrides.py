"""What sites, zones and cameras change in a prompt: ``overrides.yaml`` in the installation's prompt folder.

Precedence, weakest first; fields are merged one by one:

    pack < setting ``site_context`` < ``site`` < ``zones.PATTERN`` < ``cameras.PATTERN``
         < ``cameras.PATTERN.zones.PATTERN``

Patterns may use ``*`` and ``?``. Where several match, the later one in the file wins.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import PromptError
from pipeline.types import EventType, JsonScalar
from prompts.pack import PromptOverrides
from prompts.schema import ShortText

OVERRIDES_FILE = "overrides.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventOverride(_Strict):
    """Fields of an event section to replace."""

    name: ShortText | None = None
    question: ShortText | None = None
    look_alikes: ShortText | None = None
    facts: tuple[str, ...] | None = None


class Entry(_Strict):
    """What one site, zone or camera changes."""

    prompt: str | None = Field(None, pattern=r"^[a-z][a-z0-9_-]*(@[0-9A-Za-z.-]+)?$")
    site_context: str | None = Field(None, max_length=500)
    events: dict[EventType, EventOverride] = Field(default_factory=dict)
    options: dict[str, JsonScalar] = Field(default_factory=dict)


class CameraEntry(Entry):
    """A camera may say more about its zones."""

    zones: dict[str, Entry] = Field(default_factory=dict)


class Overrides(_Strict):
    """A whole override file; an empty one changes nothing."""

    site: Entry = Entry.model_validate({})
    zones: dict[str, Entry] = Field(default_factory=dict)
    cameras: dict[str, CameraEntry] = Field(default_factory=dict)

    def for_place(self, camera: str, zone: str | None) -> tuple[str | None, PromptOverrides]:
        """The prompt reference to use instead (if any) and the merged changes for one camera and zone."""
        entries: list[tuple[str, Entry]] = [("site", self.site)]
        entries += _matching("zones", self.zones, zone)
        cameras = [(key, entry) for key, entry in self.cameras.items() if fnmatchcase(camera, key)]
        entries += [(f"cameras.{key}", entry) for key, entry in cameras]
        for key, camera_entry in cameras:
            entries += _matching(f"cameras.{key}.zones", camera_entry.zones, zone)
        prompt: str | None = None
        site_context: str | None = None
        events: dict[str, dict[str, Any]] = {}
        options: dict[str, JsonScalar] = {}
        sources = []
        for source, entry in entries:
            if not entry.model_fields_set - {"zones"}:
                continue
            sources.append(source)
            prompt = entry.prompt or prompt
            site_context = site_context if entry.site_context is None else entry.site_context
            options.update(entry.options)
            for event, change in entry.events.items():
                events.setdefault(event.value, {}).update(change.model_dump(exclude_none=True))
        return prompt, PromptOverrides(site_context, events, options, tuple(sources))


def load_overrides(path: Path) -> Overrides:
    """Read an override file; a missing one changes nothing.

    Raises:
        PromptError: It is not YAML or has an unknown key.
    """
    if not path.is_file():
        return Overrides()
    try:
        return Overrides.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PromptError(f"{path}: '{where}': {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PromptError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _matching(name: str, entries: dict[str, Entry], zone: str | None) -> list[tuple[str, Entry]]:
    if zone is None:
        return []
    return [(f"{name}.{key}", entry) for key, entry in entries.items() if fnmatchcase(zone, key)]
