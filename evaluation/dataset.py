"""Dataset files: one JSON object a line, one line a clip, validated with errors that say what to mend.

    {"clip": "fight/a.mp4", "label": "violence", "escalate": true, "events": [{"type": "violence",
     "start_s": 0.5, "end_s": 2.0}], "group": "scene-1", "source": "...", "licence": "..."}

``clip`` is relative to the dataset file unless another folder is given. ``group`` names what is not
independent (frames of one clip, clips of one scene): intervals and splits go by it. ``label`` is an
event type, ``benign``, or another word (``weapon``), which is scored as ``other``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.types import EventType

BENIGN = "benign"
SPLITS = ("train", "val", "test", "dev")
MAX_SHOWN = 8
"""How many faulty lines one error lists before it only counts them."""


class DatasetError(ConfigError):
    """A dataset file cannot be used."""

    stage = "dataset"
    default_hint = "see: sitrep dataset check FILE"


class Event(BaseModel):
    """One incident inside a clip, in stream seconds; a still has 0..0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: EventType
    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Event:
        if self.end_s < self.start_s:
            raise ValueError(f"end_s {self.end_s} lies before start_s {self.start_s}")
        return self


class DatasetRow(BaseModel):
    """One labelled clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: str = Field(min_length=1)
    label: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    escalate: bool = Field(description="Whether a person has to be called.")
    events: tuple[Event, ...] = ()
    group: str = Field(min_length=1)
    source: str
    licence: str
    split: Literal["train", "val", "test", "dev"] | None = None
    camera: str | None = None
    kind: str | None = None
    light: Literal["day", "night"] | None = Field(default=None, description="Else from the brightness.")
    note: str | None = None
    seconds: float | None = Field(default=None, ge=0)
    may_be_redistributed: bool | None = None

    @field_validator("clip")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if "\\" in value:
            raise ValueError("use / in clip paths")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DatasetRow:
        if self.label == BENIGN and self.escalate:
            raise ValueError("label 'benign' and escalate true contradict each other")
        if self.events and not self.escalate:
            raise ValueError("a clip with escalate false cannot have events")
        return self

    @property
    def scored_type(self) -> str | None:
        """Event type the clip counts under, ``other`` for labels that are none, ``None`` when benign."""
        if not self.escalate:
            return None
        return str(EventType(self.label)) if self.label in set(EventType) else str(EventType.OTHER)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A validated dataset file.

    Attributes:
        path: The file.
        root: Folder the clip paths are relative to.
        rows: The clips in file order.
        sha256: Hash of the rows that are scored, events included: equal hash, equal truth.
    """

    path: Path
    root: Path
    rows: tuple[DatasetRow, ...]
    sha256: str

    @property
    def split(self) -> str | None:
        """The split all rows share, else the split the file's name begins with, else ``None``."""
        named = {row.split for row in self.rows}
        if len(named) == 1 and (only := named.pop()) is not None:
            return only
        if named - {None}:
            return "mixed"
        word = self.path.stem.replace("-", "_").split("_")[0].lower()
        word = {"validation": "val", "valid": "val"}.get(word, word)
        return word if word in SPLITS else None

    def clip_path(self, row: DatasetRow) -> Path:
        """Where the clip of a row is."""
        return self.root / row.clip


def load_dataset(
    path: Path,
    *,
    clips: Path | None = None,
    events: Path | None = None,
    check_files: bool = True,
) -> Dataset:
    """Read and validate a dataset file.

    Args:
        path: The JSON lines file.
        clips: Folder of the clips; the file's own folder when omitted.
        events: A second dataset file whose ``events`` replace those of the clips it names.
        check_files: Refuse rows whose clip does not exist.

    Raises:
        DatasetError: With every faulty line (number, what, how to mend) up to eight of them.
    """
    rows = _read_rows(path)
    if events is not None:
        times = {row.clip: row.events for row in _read_rows(events)}
        if not times.keys() & {row.clip for row in rows}:
            raise DatasetError(
                f"{events} names no clip of {path}", hint="clip names must be equal in both files"
            )
        rows = [
            row.model_copy(update={"events": times[row.clip]}) if row.escalate and row.clip in times else row
            for row in rows
        ]
    root = (clips or path.parent).absolute()
    if check_files and (missing := [row.clip for row in rows if not (root / row.clip).is_file()]):
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DatasetError(
            f"{path}: {len(missing)} of {len(rows)} clips are not below {root}: {shown}",
            hint="give the folder of the clips with --clips",
        )
    return Dataset(path.absolute(), root, tuple(rows), rows_hash(rows))


def rows_hash(rows: Iterable[DatasetRow]) -> str:
    """sha256 over what is scored: clip, label, escalate, events, group; independent of row order."""
    scored = sorted(
        row.model_dump_json(include={"clip", "label", "escalate", "events", "group"}) for row in rows
    )
    return hashlib.sha256("\n".join(scored).encode()).hexdigest()


def write_dataset(path: Path, rows: Sequence[DatasetRow]) -> None:
    """Write rows as a dataset file; keys that are unset are left out."""
    if not rows:
        raise DatasetError(f"nothing to write to {path}", hint="the import found no clip")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row.model_dump_json(exclude_none=True) for row in rows]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_rows(path: Path) -> list[DatasetRow]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"dataset {path} cannot be read: {error.strerror}", hint="give the path of a .jsonl file"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"dataset {path} is not UTF-8 text", hint="save it as UTF-8 .jsonl") from error
    rows: list[DatasetRow] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = DatasetRow.model_validate_json(line)
        except ValidationError as error:
            faults.append(f"line {number}: {_explain(error, line)}")
            continue
        if row.clip in seen:
            faults.append(
                f"line {number}: clip {row.clip} is already on line {seen[row.clip]}; one line a clip"
            )
        seen.setdefault(row.clip, number)
        rows.append(row)
    if faults:
        more = f"; and {len(faults) - MAX_SHOWN} more" if len(faults) > MAX_SHOWN else ""
        raise DatasetError(f"{path}: " + "; ".join(faults[:MAX_SHOWN]) + more)
    if not rows:
        raise DatasetError(f"dataset {path} holds no clip", hint="one JSON object a line, one line a clip")
    return rows


def _explain(error: ValidationError, line: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    kind = first["type"]
    if kind == "json_invalid":
        return "not one JSON object on one line; write {...} without line breaks"
    if kind == "missing":
        return f"'{where}' is missing; add it"
    if kind == "extra_forbidden":
        return f"unknown key '{where}'; known keys are {', '.join(DatasetRow.model_fields)}"
    value = json.dumps(first["input"], ensure_ascii=False)[:60]
    if kind == "enum":
        return f"'{where}' is {value}; write one of {', '.join(EventType)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"'{where}': {message} (found {value})" if where else message
