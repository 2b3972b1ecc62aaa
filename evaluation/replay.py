"""``sitrep eval --replay RUN``: same data, model, prompt and settings again, and what came out otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.dataset import Dataset, DatasetError, load_dataset
from evaluation.runs import Run
from pipeline import settings as settings_module
from pipeline.settings import Settings

SCORE_TOLERANCE = 0.005
"""Scores nearer than this are the same: summation order differs between machines and thread counts."""
HERE = frozenset(
    {"data_dir", "redis_url", "database_url", "model_api_key", "token", "host", "port", "log_level"}
)
"""Settings that belong to the machine, not to the run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What has to be run to repeat a run."""

    dataset: Dataset
    settings: Settings
    events: Path | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a replay gave otherwise: one line, and the candidates it is about."""

    line: str
    rows: tuple[str, ...]


def replay_request(path: Path) -> Request:
    """Read a run's manifest and check that its data are still the same.

    Raises:
        DatasetError: The dataset is gone or was changed.
    """
    made = Run.load(path).manifest
    about = made["dataset"]
    events = Path(about["events"]) if about["events"] else None
    dataset = load_dataset(Path(about["path"]), clips=Path(about["clips"]), events=events)
    if dataset.sha256 != about["sha256"]:
        raise DatasetError(
            f"{about['path']} has changed since {path} was made", hint="restore the file, or evaluate it anew"
        )
    overrides: dict[str, Any] = {
        key: value for key, value in made["settings"].items() if key not in HERE and value is not None
    }
    return Request(dataset, settings_module.load(**overrides), events)


def replayed(path: Path, again: Run) -> Difference:
    """Compare a replay with the run it repeats: same candidates, decisions, scores and prompt text.

    Raises:
        DatasetError: The prompt or the model is no longer the one of the run.
    """
    before = Run.load(path)
    for what, old, new in (
        ("prompt", before.manifest["prompts"], again.manifest["prompts"]),
        ("model", before.manifest["model_ids"], again.manifest["model_ids"]),
    ):
        if old and new and old != new:
            raise DatasetError(
                f"the {what} is not the one of {path}: {new}, was {old}",
                hint=f"restore that {what} to replay",
            )
    old_rows, new_rows = _by_candidate(before), _by_candidate(again)
    changed = [
        " ".join(map(str, key))
        for key in sorted(old_rows.keys() | new_rows.keys(), key=str)
        if not _same(old_rows.get(key), new_rows.get(key))
    ]
    equal = len(old_rows.keys() | new_rows.keys()) - len(changed)
    line = f"replay: {equal} of {equal + len(changed)} candidates have the same decision and score"
    return Difference(line + (f"; not: {', '.join(changed[:5])}" if changed else ""), tuple(changed))


def _by_candidate(run: Run) -> dict[tuple[str, str, float], dict[str, Any]]:
    return {
        (row["truth"]["clip"], row["event_type"], row["start_s"]): row
        for row in run.rows
        if row["candidate_id"]
    }


def _same(old: dict[str, Any] | None, new: dict[str, Any] | None) -> bool:
    if old is None or new is None or old["decision"] != new["decision"]:
        return False
    if old["score"] is None or new["score"] is None:
        return bool(old["score"] == new["score"])
    return bool(abs(old["score"] - new["score"]) <= SCORE_TOLERANCE)
