"""Judging the archive again against judging it first: the bundled clips, the same run, the same worker.

First pass: decode, detect, store, judge, the cores shared by stage 1 and model as ``sitrep scan`` does.
Second: stored candidates, visual features from the cache, only the model's reading of the prompt is new;
no stage 1, so the model has all cores, as in ``sitrep rescore``. Scores only (``narrate: on_demand``), as
an archive run wants it. Wall times: on a machine that is busy with other work both passes suffer.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.rescore.plan import Selection, resolve_target
from pipeline.rescore.run import rescore
from pipeline.scan import ScanSession
from pipeline.services import Supervisor
from pipeline.settings import Narrate, Settings
from pipeline.store.schema import RunKind
from pipeline.types import Lane

CLIPS = Path(__file__).resolve().parents[2] / "evaluation" / "clips"


def run(settings: Settings, clips: Path = CLIPS) -> dict[str, Any]:
    """Measure in a data directory of its own.

    Returns:
        ``vs_first_pass``: seconds of the first pass over seconds of the second, the model loaded before
        either; ``judge_only``: the model's seconds in the first pass over all seconds of the second;
        candidates, and seconds of each part.

    Raises:
        SourceError: The bundled clips are not there.
    """
    paths = sorted(path for path in clips.glob("*") if path.suffix in (".mp4", ".avi", ".mkv"))
    if not paths:
        raise SourceError(f"no clips in {clips}", hint="run from a checkout of the repository")
    with tempfile.TemporaryDirectory(prefix="sitrep-rescore-") as folder:
        # The models converted once stay where they are; only frames, features and rows are new.
        here = settings.model_copy(
            update={"data_dir": Path(folder), "workers": 1, "narrate": Narrate.ON_DEMAND}
        )
        # One pinned prompt for both passes: a worker keeps a model for each prompt it is asked for, and
        # loading a second one is not what is measured.
        target = resolve_target(here)
        here = here.model_copy(update={"prompt": target.prompt})
        if (settings.data_dir / "models").is_dir():
            (Path(folder) / "models").symlink_to(settings.data_dir / "models")
        with ScanSession(here, kind=RunKind.BENCH, lane=Lane.ARCHIVE, live=False) as session:
            warm = _ids(session.scan(paths[:1]).rows)
            started = time.monotonic()
            first = session.scan(paths[1:])
            first_seconds = time.monotonic() - started
        chosen = _ids(first.rows) - warm
        with Supervisor(here) as services:
            # A model loads with its first candidate, and that is not what is measured.
            rescore(services.queue, here, Selection(source_ids=warm), target, check=services.check)
            outcome = rescore(
                services.queue, here, Selection(source_ids=chosen), target, check=services.check
            )
    judged = sum((row["timings_ms"]["verdict"] or 0.0) for row in first.rows) / 1000
    return {
        "vs_first_pass": round(first_seconds / outcome.seconds, 2),
        "judge_only": round(judged / outcome.seconds, 2),
        "candidates": len(chosen),
        "first_pass_s": round(first_seconds, 2),
        "stage1_s": round(first.stage1_seconds, 2),
        "model_s": round(judged, 2),
        "rescore_s": round(outcome.seconds, 2),
        "model": here.model,
    }


def _ids(rows: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(row["candidate_id"] for row in rows)
