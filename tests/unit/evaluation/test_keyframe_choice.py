"""The choice of key frames, judged by a reasoner that believes only what the peak shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.keyframe_choice import CHOICES, lines, measure
from evaluation.runs import Run
from pipeline.types import Action, Candidate, Moment, Priority, Provenance, Verdict, VerdictState
from tests.unit.evaluation.eval_rows import row, truth

VIEWS = [(moment, view) for moment in ("before", "peak", "after") for view in ("full", "region", "motion")]


def frames(sign: str) -> list[dict[str, Any]]:
    return [
        {
            "sha256": f"{sign if moment == 'peak' else 'nothing'}-{moment}-{view}",
            "view": view, "moment": moment, "t_s": 0.0, "width": 4, "height": 4,
        }
        for moment, view in VIEWS
    ]  # fmt: skip


def flagged(clip: str, label: str, sign: str) -> dict[str, Any]:
    evidence: dict[str, Any] = {"objects": [], "counts": {}, "facts": {}, "note": ""}
    return row(
        truth(clip, label), "fall", "escalate",
        frames=frames(sign), evidence=evidence, trigger={"name": "fall", "score": 0.5},
    )  # fmt: skip


class PeakBeliever:
    """Sure where a peak frame says so, undecided where none does."""

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        return [self._one(candidate) for candidate in candidates]

    def _one(self, candidate: Candidate) -> Verdict:
        peaks = [frame for frame in candidate.key_frames if frame.moment is Moment.PEAK]
        score = 0.5 if not peaks else 0.9 if peaks[0].sha256.startswith("real") else 0.1
        action = Action.DISMISS if score < 0.3 else Action.ESCALATE
        why = Provenance("m", "p@1.0.0", "0" * 64, ())
        return Verdict(VerdictState.CONFIRMED, score, action, Priority.LOW, "", why)

    def narrate(self, candidate: Candidate, verdict: Verdict) -> Verdict:
        return verdict

    def close(self) -> None:
        pass


def test_leaving_out_the_peak_is_seen_in_every_figure(tmp_path: Path) -> None:
    rows = [flagged(f"fall-{i}", "fall", "real") for i in range(4)]
    rows += [flagged(f"walk-{i}", "benign", "false") for i in range(4)]
    outcomes = {one.name: one for one in measure(Run(tmp_path, {}, tuple(rows)), PeakBeliever())}
    assert set(outcomes) == set(CHOICES)
    whole, bare = outcomes["as stage 1 chooses"], outcomes["before and after, no peak"]
    assert (whole.auc.value, whole.cut.value, whole.retention.value, whole.views) == (1.0, 1.0, 1.0, 9)
    assert (bare.auc.value, bare.cut.value, bare.retention.value, bare.views) == (0.5, 0.0, 1.0, 6)
    assert outcomes["one full frame at the peak"].views == 1
    assert outcomes["no motion views"].views == 6
    assert any(line.startswith("| peak only | 3.0 | 1.00") for line in lines(list(outcomes.values())))
