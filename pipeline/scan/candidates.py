"""Clips in, candidates out: stage 1 over files and folders."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.detect import build_stage1
from pipeline.errors import SitrepError, SourceError
from pipeline.ingest import find_clips, open_source
from pipeline.interfaces import FrameStore
from pipeline.rows import scan_row
from pipeline.scan.results import ClipResult, ScanListener, ScanResult, Silent
from pipeline.settings import Settings
from pipeline.store.frames import open_frame_store
from pipeline.types import Candidate


@dataclass(slots=True)
class Clips:
    """Paths to scan, folders opened up, with what was wrong with the others."""

    paths: list[str] = field(default_factory=list)
    faults: list[ClipResult] = field(default_factory=list)


def expand(given: Iterable[str | Path]) -> Clips:
    """Open up folders; keep order; note what does not exist or holds no clip."""
    clips = Clips()
    for item in given:
        try:
            clips.paths += find_clips(item)
        except SourceError as error:
            clips.faults.append(ClipResult(str(item), 0, 0.0, 0.0, error))
    return clips


def find_candidates(
    paths: Sequence[str],
    settings: Settings,
    frame_store: FrameStore,
    *,
    camera: str | None = None,
    listener: ScanListener | None = None,
    results: list[ClipResult],
) -> Iterator[Candidate]:
    """Stage 1 over clips, one after another. Appends one :class:`ClipResult` a clip to ``results``."""
    listener = listener or Silent()
    stage1 = build_stage1(settings, frame_store)
    for number, path in enumerate(paths, 1):
        listener.clip_started(path, number, len(paths))
        started, count, reached = time.monotonic(), 0, 0.0
        error: SitrepError | None = None

        def advanced(done_s: float, total_s: float) -> None:
            nonlocal reached
            reached = max(reached, done_s)
            listener.clip_progress(done_s, total_s)

        try:
            with ExitStack() as stack:
                source = open_source(path, fps=settings.detect_fps)
                stack.callback(source.close)
                for candidate in stage1.run(source, camera=camera or Path(path).name, on_progress=advanced):
                    count += 1
                    yield candidate
        except SitrepError as caught:
            # A clip that breaks off keeps the candidates it gave; the other clips go on.
            error = caught
        result = ClipResult(path, count, time.monotonic() - started, reached, error)
        results.append(result)
        listener.clip_finished(result)


def detections_only(
    given: Iterable[str | Path],
    settings: Settings,
    *,
    camera: str | None = None,
    listener: ScanListener | None = None,
) -> ScanResult:
    """Stage 1 alone: candidates without verdicts; no broker, no worker."""
    started = time.monotonic()
    clips = expand(given)
    results: list[ClipResult] = []
    frame_store = open_frame_store(settings)
    found = find_candidates(
        clips.paths, settings, frame_store, camera=camera, listener=listener, results=results
    )
    rows = [scan_row(candidate, None) for candidate in found]
    seconds = time.monotonic() - started
    return ScanResult(rows, [*clips.faults, *results], "", seconds, 0, seconds)
