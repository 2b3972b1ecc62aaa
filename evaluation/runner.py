"""Evaluation of a dataset by the same code path as live: scan, then count.

The clips go through ``pipeline.scan.scan`` a few at a time. The rows of each batch are on disk before
the next begins, so that a killed run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evaluation import manifest as manifests
from evaluation import pictures
from evaluation.dataset import Dataset, DatasetError, DatasetRow
from evaluation.metrics import Evaluation, evaluate
from evaluation.runs import (
    MANIFEST,
    METRICS_FILE,
    ROWS,
    THUMBS,
    Row,
    Run,
    append_rows,
    read_rows,
    replace_rows,
    write_json,
)
from pipeline.interfaces import FrameStore
from pipeline.settings import Settings

BATCH = 12
"""Clips scanned before their rows are written. A kill costs at most so many clips' stage 1."""


class Scanned(Protocol):
    """What a scan gives back (``pipeline.scan.ScanResult``)."""

    @property
    def rows(self) -> Sequence[Row]:
        """One row a candidate."""

    @property
    def clips(self) -> Sequence[Any]:
        """One result a clip: ``clip``, ``seconds``, ``duration_s``, ``error``."""


Scan = Callable[[Sequence[Path], str | None], Scanned]
"""Scans clips of one camera (``None``: each clip is its own camera)."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A finished run and its figures."""

    run: Run
    evaluation: Evaluation


def run_evaluation(
    dataset: Dataset,
    settings: Settings,
    out: Path,
    *,
    scan: Scan,
    frame_store: FrameStore,
    events: Path | None = None,
    on_clips: Callable[[int, int], None] = lambda done, total: None,
) -> RunOutcome:
    """Evaluate a dataset into a folder, or go on with a run that is there.

    Args:
        dataset: What to evaluate.
        settings: Model, prompt and everything else of the run.
        out: Folder of the run.
        scan: The scan to measure.
        frame_store: Where the scan keeps key frames.
        events: Where event times came from, for the manifest.
        on_clips: Told how many clips of how many have their rows.

    Raises:
        DatasetError: The folder holds a run of other data, model or prompt.
        SitrepError: The scan could not work at all.
    """
    started = time.monotonic()
    manifest = _open_run(out, manifests.new_manifest(dataset, settings, events=events))
    rows = read_rows(out / ROWS)
    # What a kill left of a half-written clip goes, before new rows are added behind it.
    replace_rows(out / ROWS, rows)
    done = {row["truth"]["clip"] for row in rows}
    waiting = [row for row in dataset.rows if row.clip not in done]
    on_clips(len(done), len(dataset.rows))
    for camera, batch in _batches(waiting):
        result = scan([dataset.clip_path(row) for row in batch], camera)
        fresh = _joined(batch, dataset, result, frame_store, out / THUMBS)
        append_rows(out / ROWS, fresh)
        rows += fresh
        done |= {row.clip for row in batch}
        on_clips(len(done), len(dataset.rows))
    write_json(out / MANIFEST, manifests.finished(manifest, rows, time.monotonic() - started))
    return finish(out)


def waiting_clips(dataset: Dataset, settings: Settings, out: Path, *, events: Path | None = None) -> int:
    """How many clips have no rows yet; opens the folder of the run, or checks that it is this run's.

    Raises:
        DatasetError: The folder holds a run of other data, model or prompt.
    """
    made = _open_run(out, manifests.new_manifest(dataset, settings, events=events))
    rows = read_rows(out / ROWS)
    left = len(dataset.rows) - len({row["truth"]["clip"] for row in rows})
    return left or int(made["finished_at"] is None)


def finish(out: Path) -> RunOutcome:
    """Compute and write the figures of a run whose clips all have their rows."""
    run = Run.load(out)
    evaluation = evaluate(run.clips)
    write_json(out / METRICS_FILE, evaluation.as_json())
    return RunOutcome(run, evaluation)


def _open_run(out: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    if not (out / MANIFEST).exists():
        if out.exists() and any(out.iterdir()):
            raise DatasetError(f"{out} is not empty and no run", hint="choose another folder for --out")
        out.mkdir(parents=True, exist_ok=True)
        (out / ROWS).touch()
        write_json(out / MANIFEST, fresh)
        return fresh
    there = Run.load(out).manifest
    same = (
        ("dataset", there["dataset"]["sha256"], fresh["dataset"]["sha256"]),
        ("model", there["model"], fresh["model"]),
        ("prompt", there["prompt"], fresh["prompt"]),
    )
    for what, old, new in same:
        if old != new:
            raise DatasetError(
                f"{out} holds a run with another {what} ({str(old)[:40]}, now {str(new)[:40]})",
                hint="choose another folder for --out",
            )
    return {**there, "state": "running"}


def _batches(rows: Sequence[DatasetRow]) -> Iterator[tuple[str | None, list[DatasetRow]]]:
    by_camera: dict[str | None, list[DatasetRow]] = {}
    for row in rows:
        by_camera.setdefault(row.camera, []).append(row)
    for camera, part in by_camera.items():
        for at in range(0, len(part), BATCH):
            yield camera, part[at : at + BATCH]


def _joined(
    batch: Sequence[DatasetRow], dataset: Dataset, result: Scanned, store: FrameStore, thumbs: Path
) -> list[Row]:
    of_clip: dict[str, list[Row]] = {}
    for row in result.rows:
        of_clip.setdefault(str(row["clip"]), []).append(row)
    results = {str(clip.clip): clip for clip in result.clips}
    joined: list[Row] = []
    for truth in batch:
        path = dataset.clip_path(truth)
        clip, found = results.get(str(path)), of_clip.get(str(path), [])
        seen = [
            image
            for row in found
            if (sha256 := pictures.main_frame(row)) and (image := pictures.decode(store, sha256)) is not None
        ]
        if not seen and (image := pictures.first_frame(path)) is not None:
            seen = [image]
        about: Row = {
            "clip": truth.clip,
            "clip_candidates": len(found),
            "clip_seconds": round(clip.seconds, 3) if clip else None,
            "clip_duration_s": round(clip.duration_s, 3) if clip else None,
            "clip_error": _fault(clip),
            "brightness": pictures.brightness(seen),
            "truth": truth.model_dump(mode="json", exclude_none=True),
        }
        for row in found:
            sha256 = pictures.main_frame(row)
            image = pictures.decode(store, sha256) if sha256 else None
            thumb = None if image is None else pictures.save_thumb(image, thumbs)
            joined.append({**row, **about, "thumb": thumb})
        if not found:
            # Without this row a clip that raised no alarm would be lost to whoever recounts the file.
            thumb = pictures.save_thumb(seen[0], thumbs) if seen else None
            camera = truth.camera or path.name
            joined.append({"candidate_id": None, "camera": camera, **about, "thumb": thumb})
    return joined


def _fault(clip: Any) -> str | None:
    if clip is None:
        return "the scan gave no result for this clip"
    return None if clip.error is None else str(clip.error.one_line())
