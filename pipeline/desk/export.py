"""One incident as a report file, built from what is stored, faces hidden."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from pipeline.desk.queries import Whole
from pipeline.errors import FrameStoreError, SitrepError
from pipeline.interfaces import FrameStore, PoseEstimator
from pipeline.report import ReportRow, render_report
from pipeline.rows import scan_row
from pipeline.store.codec import candidate_from, verdict_from

_POSE = "movenet"
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def head_finder(data_dir: Path) -> PoseEstimator | None:
    """The pose estimator that finds the heads to hide, loaded once; ``None`` when it cannot be loaded.

    Without it pictures with people whose place is not stored are made coarse as a whole.
    """
    from pipeline.detect.registry import make_pose_estimator

    try:
        return make_pose_estimator(_POSE, data_dir, threads=1)
    except SitrepError as error:
        _log.warning("heads cannot be found in pictures to share: %s", error.one_line())
        return None


def incident_report(
    whole: Whole, frames: FrameStore, pose: PoseEstimator | None = None, language: str = "en"
) -> str:
    """The report of one incident, one card for each of its candidates."""
    rows = []
    for stored, judged in whole.members:
        candidate = candidate_from(stored._mapping)
        verdict = verdict_from(judged._mapping) if judged is not None else None
        images = {}
        for key_frame in candidate.key_frames:
            try:
                images[key_frame.sha256] = frames.get(key_frame.sha256)
            except FrameStoreError as error:
                _log.warning("left out of the report: %s", error.one_line())
        rows.append(
            ReportRow(
                scan_row(candidate, verdict),
                images,
                whole.answer.answer if whole.answer else "",
            )
        )
    title = whole.incident.title or f"Incident on {whole.incident.camera}"
    return render_report(rows, title=title, clips=[], pose=pose, language=language)
