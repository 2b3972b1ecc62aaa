"""The site policy file: who decides what, in YAML, checked at start."""

from __future__ import annotations

import re
from datetime import datetime, time
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.types import EventType, Priority

DEFAULT_POLICY = Path(__file__).with_name("policy.default.yaml")
_WINDOW = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-(([01]\d|2[0-3]):([0-5]\d)|24:00)$")


class Fallback(StrEnum):
    """What happens to an incident that may not escalate by rule."""

    REVIEW = "review"
    DISMISS = "dismiss"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hours(_Strict):
    """A window of local time, e.g. ``{days: [mon, tue], at: "22:00-06:00"}``; it may pass midnight."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    at: str

    @field_validator("at")
    @classmethod
    def _window(cls, value: str) -> str:
        if not _WINDOW.match(value):
            raise ValueError("write it as HH:MM-HH:MM")
        return value

    def holds(self, moment: datetime) -> bool:
        """Whether the local time lies in the window; the days are those on which it begins."""
        begin_text, end_text = self.at.split("-")
        begin, now = _minutes(begin_text), moment.hour * 60 + moment.minute
        end = _minutes(end_text)
        day = moment.weekday()
        if begin < end:
            inside = begin <= now < end
        else:
            inside = now >= begin or now < end
            if now < end:
                day = (day - 1) % 7
        names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        return inside and (not self.days or names[day] in self.days)


class Zones(_Strict):
    """Zone patterns a rule holds in; an empty ``include`` means everywhere."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Rule(_Strict):
    """All fields optional: what is left out comes from the weaker rule."""

    enabled: bool | None = None
    escalate_at: float | None = Field(None, ge=0, le=1)
    dismiss_below: float | None = Field(None, ge=0, le=1)
    priority: Priority | None = None
    hours: tuple[Hours, ...] | None = None
    outside_hours: Fallback | None = None
    zones: Zones | None = None

    @model_validator(mode="after")
    def _order(self) -> Rule:
        low, high = self.dismiss_below, self.escalate_at
        if low is not None and high is not None and low > high:
            raise ValueError("dismiss_below must not be above escalate_at")
        return self


class Scope(_Strict):
    """Rules for the whole installation, a camera or a zone."""

    defaults: Rule = Rule.model_validate({})
    events: dict[EventType, Rule] = Field(default_factory=dict)
    expected: tuple[EventType, ...] | None = None
    expected_action: Fallback | None = None


class Policy(Scope):
    """A whole policy file."""

    version: Literal[1]
    timezone: str = "UTC"
    read_site_context: bool = True
    cameras: dict[str, Scope] = Field(default_factory=dict)
    zones: dict[str, Scope] = Field(default_factory=dict)

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"'{value}' is not a time zone") from error
        return value

    def effective(self, event: EventType, camera: str, zone: str | None) -> EffectiveRule:
        """The rule for one candidate, merged from the weakest to the strongest scope."""
        scopes: list[Scope] = [self]
        scopes += [scope for pattern, scope in self.cameras.items() if fnmatchcase(camera, pattern)]
        if zone is not None:
            scopes += [scope for pattern, scope in self.zones.items() if fnmatchcase(zone, pattern)]
        merged: dict[str, Any] = {}
        expected: tuple[EventType, ...] = ()
        expected_action = Fallback.REVIEW
        for scope in scopes:
            for rule in (scope.defaults, scope.events.get(event)):
                if rule is not None:
                    fields = {name: getattr(rule, name) for name in rule.model_fields_set}
                    merged.update({name: value for name, value in fields.items() if value is not None})
            expected = expected if scope.expected is None else scope.expected
            expected_action = scope.expected_action or expected_action
        return EffectiveRule(**merged, expected=event in expected, expected_action=expected_action)

    def local(self, wall_time: str | None) -> datetime | None:
        """Local time of an ISO 8601 time, or ``None`` when it is unknown."""
        if not wall_time:
            return None
        try:
            moment = datetime.fromisoformat(wall_time)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo("UTC"))
        return moment.astimezone(ZoneInfo(self.timezone))


class EffectiveRule(_Strict):
    """A merged rule: thresholds may still be open, all else is settled."""

    enabled: bool = True
    escalate_at: float | None = None
    dismiss_below: float | None = None
    priority: Priority = Priority.MEDIUM
    hours: tuple[Hours, ...] = ()
    outside_hours: Fallback = Fallback.REVIEW
    zones: Zones = Zones.model_validate({})
    expected: bool = False
    expected_action: Fallback = Fallback.REVIEW


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy file; the shipped one when ``path`` is ``None``.

    Raises:
        ConfigError: It cannot be read, or a key or value in it is wrong.
    """
    path = path or DEFAULT_POLICY
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"policy {path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = f"compare with the shipped policy: {DEFAULT_POLICY.name}"
        raise ConfigError(f"policy {path}: '{where}': {first['msg']}", hint=hint) from error


def _minutes(text: str) -> int:
    if text == "24:00":
        return 24 * 60
    moment = time.fromisoformat(text)
    return moment.hour * 60 + moment.minute
