"""Which of Frigate's events become candidates, and of what type: a small YAML file.

::

    follow: events            # events: one candidate a tracked object; reviews: one a review item
    severity: alert           # of review items: alert, or detection for all
    settle_s: 5               # wait after the end, until Frigate has written the recording
    max_wait_s: 20            # an event that goes on is handed over after this long
    patience_s: 60            # then the snapshot is used instead of a clip that does not come
    padding_s: 3              # seconds of recording asked for around an event
    rules:                    # the first that matches counts
      - {labels: [person], zones: [yard, roof], event_type: intrusion, min_score: 0.6}
      - {labels: [fire, flame], event_type: fire}
      - {labels: [car, truck], cameras: ["junction-*"], event_type: traffic_accident}
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.types import EventType

_Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


class Rule(BaseModel):
    """One rule; what is left out matches everything. Patterns may use ``*`` and ``?``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: _Patterns
    event_type: EventType
    zones: _Patterns | None = None
    cameras: _Patterns | None = None
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.0

    def zone_of(self, zones: Sequence[str]) -> str | None:
        """The first of an object's zones that this rule is about."""
        wanted = self.zones or ("*",)
        return next((zone for zone in zones if _any(zone, wanted)), None)

    def matches(self, camera: str, label: str, zones: Sequence[str], score: float) -> bool:
        """Whether it is about such an object."""
        return (
            _any(label, self.labels)
            and (self.cameras is None or _any(camera, self.cameras))
            and (self.zones is None or self.zone_of(zones) is not None)
            and score >= self.min_score
        )


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_NAMED = tuple(
    Rule(labels=(kind.value, kind.value.replace("_", " ")), event_type=kind)
    for kind in EventType
    if kind is not EventType.OTHER
)
DEFAULT_RULES = (Rule(labels=("person",), zones=("*",), event_type=EventType.INTRUSION), *_NAMED)
"""Without a file: a person in any of Frigate's zones, and labels that are called like an event type."""


class Rules(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    follow: Literal["events", "reviews"] = "events"
    severity: Literal["alert", "detection"] = "alert"
    settle_s: Annotated[float, Field(ge=0, le=120)] = 5.0
    max_wait_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    patience_s: Annotated[float, Field(ge=0, le=600)] = 60.0
    retry_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    padding_s: Annotated[int, Field(ge=0, le=30)] = 3
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] = DEFAULT_RULES

    def match(self, camera: str, label: str, zones: Sequence[str], score: float) -> Rule | None:
        """The first rule about such an object."""
        return next((rule for rule in self.rules if rule.matches(camera, label, zones, score)), None)


def load_rules(path: Path | None) -> Rules:
    """Read the file; ``None`` for the defaults.

    Raises:
        ConfigError: It cannot be read, or a key or value in it is wrong.
    """
    if path is None:
        return Rules()
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Frigate rules {path} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"Frigate rules {path}: {where}: {first['msg']}", hint="see pipeline/inbound/README.md"
        ) from error
