"""Per-camera set-up: zones, lines, and trigger thresholds that differ from the defaults.

A TOML file, one table a camera (``default`` for all that are not named)::

    [yard.zones]
    gate = [[0.1, 0.5], [0.6, 0.5], [0.6, 1.0], [0.1, 1.0]]

    [yard.lines]
    fence = [[0.5, 0.0], [0.5, 1.0]]

    [yard.triggers]
    smoke = false
    intrusion = { zones = ["gate"], lines = ["fence"], direction = 1 }
    loitering = { zones = ["gate"], dwell_s = 30 }
    fall = { descent = 0.5 }

Keys of a trigger are the fields of its ``...Params`` dataclass; unknown ones are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.detect.catalog import KINDS, TriggerFactory, TriggerKind
from pipeline.detect.zones import Line, Zone
from pipeline.errors import ConfigError

DEFAULT_CAMERA = "default"
_Points = tuple[tuple[float, float], ...]


class CameraTable(BaseModel):
    """One camera's table in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zones: dict[str, _Points] = {}
    lines: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {}
    triggers: dict[str, Literal[False] | dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Cameras:
    """Trigger factories by camera name."""

    by_name: Mapping[str, tuple[TriggerFactory, ...]] = field(default_factory=dict)

    def triggers(self, camera: str) -> tuple[TriggerFactory, ...]:
        """The triggers of a camera: its own table's, else ``default``'s, else all as shipped."""
        shipped = tuple(_factory(kind, {}) for kind in KINDS)
        return self.by_name.get(camera) or self.by_name.get(DEFAULT_CAMERA) or shipped


def load_cameras(path: Path | None) -> Cameras:
    """Read the file; ``None`` means the defaults for every camera.

    Raises:
        ConfigError: It cannot be read, or a zone, trigger or threshold in it is wrong.
    """
    if path is None:
        return Cameras()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"camera file {path} cannot be read: {error}") from error
    return Cameras({name: _camera(path, name, table) for name, table in tables.items()})


def _camera(path: Path, name: str, table: Any) -> tuple[TriggerFactory, ...]:
    try:
        read = CameraTable.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"camera file {path}: camera '{name}', {where}: {first['msg']}") from error
    zones = {zone: Zone(zone, corners) for zone, corners in read.zones.items()}
    lines = {line: Line(line, *ends) for line, ends in read.lines.items()}
    known = {kind.event_type.value: kind for kind in KINDS}
    if unknown := sorted(set(read.triggers) - set(known)):
        raise ConfigError(
            f"camera file {path}: camera '{name}' names unknown triggers: {', '.join(unknown)}",
            hint=f"known: {', '.join(sorted(known))}",
        )
    factories = []
    for event_type, kind in known.items():
        asked = read.triggers.get(event_type, {})
        if asked is not False:
            where = f"camera file {path}: camera '{name}', trigger {event_type}"
            factories.append(_factory(kind, _resolve(asked, zones, lines, kind, where)))
    return tuple(factories)


def _resolve(
    asked: Mapping[str, Any],
    zones: Mapping[str, Zone],
    lines: Mapping[str, Line],
    kind: TriggerKind,
    where: str,
) -> dict[str, Any]:
    defaults = kind.params()
    known = {item.name for item in fields(kind.params)}
    resolved: dict[str, Any] = {}
    for key, value in asked.items():
        if key not in known:
            raise ConfigError(
                f"{where}: no threshold is called '{key}'", hint=f"known: {', '.join(sorted(known))}"
            )
        if key in ("zones", "lines"):
            places: Mapping[str, Zone | Line] = zones if key == "zones" else lines
            if not isinstance(value, list) or not all(name in places for name in value):
                raise ConfigError(
                    f"{where}: {key} = {value}", hint=f"name some of: {', '.join(sorted(places))}"
                )
            resolved[key] = tuple(places[name] for name in value)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{where}: {key} = {value!r} is not a number")
        else:
            resolved[key] = type(getattr(defaults, key))(value)
    return resolved


def _factory(kind: TriggerKind, changes: Mapping[str, Any]) -> TriggerFactory:
    return lambda: kind.trigger(kind.params(**changes))
