"""Stage 1 over a tree of clips, each clip once: what was found is stored and found again.

A small log beside the database says which file (by size and time) was looked through and which
candidates it gave, so that a kill costs one clip and the next prompt costs no detection at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.scan import ClipResult, expand, find_candidates
from pipeline.settings import Settings
from pipeline.store import candidates
from pipeline.store.engine import open_store, write
from pipeline.store.frames import open_frame_store

LOG = Path("rescore") / "looked-through.jsonl"


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates of a tree of clips, and one line for each clip that could not be read to its end."""

    candidate_ids: frozenset[str]
    faults: tuple[str, ...]
    clips: int
    detected: int


def find_in_clips(
    settings: Settings,
    given: Sequence[Path],
    *,
    on_clip: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Found:
    """Candidates of clips, detected where that was not done before.

    Args:
        settings: Detectors and store.
        given: Clips and folders.
        on_clip: Told the clip that is opened, and how many of how many are through.
    """
    clips = expand(given)
    faults = [f"{fault.clip}: {fault.error.one_line()}" for fault in clips.faults if fault.error]
    log = settings.data_dir / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    known = _read(log)
    engine, frame_store = open_store(settings), open_frame_store(settings)
    ids: set[str] = set()
    detected = 0
    for number, path in enumerate(map(Path, clips.paths)):
        on_clip(path.name, number, len(clips.paths))
        mark = _mark(path, settings)
        if (before := known.get(mark)) is not None:
            ids |= set(before)
            continue
        results: list[ClipResult] = []
        found = list(find_candidates([str(path)], settings, frame_store, results=results))
        with write(engine) as connection:
            for candidate in found:
                candidates.put(connection, candidate)
        ids |= {candidate.candidate_id for candidate in found}
        detected += 1
        if error := results[0].error:
            # Not noted as done: a disk that comes back, or a mended file, is looked through again.
            faults.append(f"{path}: {error.one_line()}")
            continue
        with log.open("a", encoding="utf-8") as file:
            row = {"mark": mark, "candidates": [candidate.candidate_id for candidate in found]}
            file.write(json.dumps(row) + "\n")
    on_clip("", len(clips.paths), len(clips.paths))
    return Found(frozenset(ids), tuple(faults), len(clips.paths), detected)


def _mark(path: Path, settings: Settings) -> str:
    facts = path.stat()
    return f"{path}|{facts.st_size}|{facts.st_mtime_ns}|{settings.detect_fps}"


def _read(log: Path) -> dict[str, list[str]]:
    if not log.exists():
        return {}
    found: dict[str, list[str]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # the last line of a killed process
        found[row["mark"]] = row["candidates"]
    return found
