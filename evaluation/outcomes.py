"""Rows of a run, read as clips with their candidates and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.dataset import DatasetError, DatasetRow
from evaluation.truth import candidate_truth, compatible, true_types
from pipeline.types import Action

NIGHT_BELOW = 0.27
"""Mean brightness of the key frames (0..1) under which a clip counts as night, unless its label says more."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate as it counts.

    Attributes:
        real: What it is in truth; ``None`` when nobody labelled it (see ``evaluation.truth``).
        reached: Whether it goes to a person. A candidate without a decision does: fail open.
        seconds: Commit to verdict, or ``None`` when it was not judged.
        row: The row it was read from.
    """

    event_type: str
    start_s: float
    end_s: float
    decision: str | None
    score: float | None
    real: bool | None
    reached: bool
    failed: bool
    grounded: bool | None
    seconds: float | None
    row: Row


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of the dataset and all candidates it gave; ``error`` when it could not be read.

    ``night`` is what the dataset row says (``light``), else whether its key frames are dark; ``None`` when
    there is neither.
    """

    truth: DatasetRow
    candidates: tuple[Judged, ...]
    camera: str
    night: bool | None
    error: str | None

    @property
    def flagged(self) -> bool:
        """Whether stage 1 found anything."""
        return bool(self.candidates)

    @property
    def reached(self) -> bool:
        """Whether a person gets to see any of its candidates."""
        return any(candidate.reached for candidate in self.candidates)

    @property
    def escalated(self) -> bool:
        """Whether a person is called for any of its candidates."""
        return any(candidate.decision == Action.ESCALATE for candidate in self.candidates)

    def of_type(self, event_type: str) -> tuple[Judged, ...]:
        """Its candidates of one event type."""
        return tuple(candidate for candidate in self.candidates if candidate.event_type == event_type)

    def matching(self) -> tuple[Judged, ...]:
        """Its candidates of a type that goes with its label (all of them when benign)."""
        wanted = true_types(self.truth)
        return tuple(
            candidate
            for candidate in self.candidates
            if not wanted or any(compatible(candidate.event_type, kind) for kind in wanted)
        )


def read_clips(rows: Iterable[Row]) -> list[Clip]:
    """Group the rows of a run by clip.

    A clip without candidates has one row whose ``candidate_id`` is null, so that a row file alone is
    enough to compute every metric.

    Raises:
        DatasetError: A row has no valid ``truth``.
    """
    of_clip: dict[str, list[Row]] = {}
    truths: dict[str, DatasetRow] = {}
    for number, row in enumerate(rows, 1):
        try:
            truth = DatasetRow.model_validate(row["truth"])
        except (KeyError, ValueError) as error:
            raise DatasetError(
                f"row {number} of the run has no valid truth", hint="run sitrep eval again"
            ) from error
        truths[truth.clip] = truth
        of_clip.setdefault(truth.clip, []).append(row)
    return [_clip(truths[name], found) for name, found in of_clip.items()]


def _clip(truth: DatasetRow, rows: list[Row]) -> Clip:
    first = rows[0]
    brightness = first.get("brightness")
    return Clip(
        truth=truth,
        candidates=tuple(_judged(truth, row) for row in rows if row.get("candidate_id")),
        camera=str(truth.camera or first.get("camera") or truth.clip),
        night=_night(truth, brightness),
        error=first.get("clip_error"),
    )


def _night(truth: DatasetRow, brightness: float | None) -> bool | None:
    if truth.light is not None:
        return truth.light == "night"
    return None if brightness is None else brightness < NIGHT_BELOW


def _judged(truth: DatasetRow, row: Row) -> Judged:
    decision = row.get("decision")
    times = row.get("timings_ms") or {}
    waited, judged = times.get("queued"), times.get("verdict")
    start_s, end_s = float(row["start_s"]), float(row["end_s"])
    return Judged(
        event_type=str(row["event_type"]),
        start_s=start_s,
        end_s=end_s,
        decision=decision,
        score=row.get("score"),
        real=candidate_truth(truth, str(row["event_type"]), start_s, end_s),
        reached=decision != Action.DISMISS,
        failed=row.get("verdict") == "failed",
        grounded=row.get("grounded"),
        seconds=None if judged is None else ((waited or 0.0) + judged) / 1000,
        row=row,
    )
