"""A run on disk: ``run.json`` (how it was made), ``rows.jsonl`` (what came out), thumbs, metrics."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.dataset import DatasetError
from evaluation.outcomes import Clip, read_clips

MANIFEST, ROWS, METRICS_FILE, THUMBS = "run.json", "rows.jsonl", "metrics.json", "thumbs"

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished or unfinished evaluation run, read from its folder."""

    path: Path
    manifest: dict[str, Any]
    rows: tuple[Row, ...]

    @staticmethod
    def load(path: Path | str) -> Run:
        """Read a run's folder.

        Raises:
            DatasetError: It is not one, or its files are damaged.
        """
        folder = Path(path)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            rows = read_rows(folder / ROWS)
        except OSError as error:
            raise DatasetError(
                f"{folder} is not an evaluation run: {Path(error.filename).name} is missing",
                hint="give a folder that sitrep eval --out wrote",
            ) from error
        except ValueError as error:
            raise DatasetError(
                f"{folder / MANIFEST} is not JSON: {error}", hint="run sitrep eval again"
            ) from error
        return Run(folder, manifest, tuple(rows))

    @cached_property
    def clips(self) -> list[Clip]:
        """The rows as clips with what became of them."""
        return read_clips(self.rows)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.resolve().name

    @property
    def done(self) -> bool:
        """Whether every clip of the dataset has its rows."""
        return self.manifest.get("state") == "done"

    @property
    def dataset_sha256(self) -> str:
        """Hash of the truth it was scored against."""
        return str(self.manifest["dataset"]["sha256"])

    def thumb(self, row: Row) -> bytes | None:
        """The small picture of a row (JPEG), if there is one."""
        name = row.get("thumb")
        file = self.path / THUMBS / str(name)
        return file.read_bytes() if name and file.is_file() else None

    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        file = self.path / METRICS_FILE
        if not file.is_file():
            raise DatasetError(
                f"{self.path} has no {METRICS_FILE}", hint="the run is not finished: resume it"
            )
        return dict(json.loads(file.read_text(encoding="utf-8")))


def read_rows(path: Path) -> list[Row]:
    """The rows of complete clips. A clip whose rows were cut off by a kill is left out, to be done again."""
    rows: list[Row] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise DatasetError(
                f"{path} line {number} is not JSON", hint="delete the line; its clip is evaluated again"
            ) from error
    have = Counter(row["truth"]["clip"] for row in rows)
    return [row for row in rows if have[row["truth"]["clip"]] >= max(1, row["clip_candidates"])]


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows and see them to the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def replace_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the whole row file anew, atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    append_rows(partial, list(rows))
    partial.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write one JSON document, atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")
    partial.replace(path)
