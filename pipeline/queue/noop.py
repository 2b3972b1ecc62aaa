"""A reasoner that does nothing, to measure the queue and nothing but the queue."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.interfaces import FrameStore
from pipeline.settings import Settings
from pipeline.types import Action, Candidate, Priority, Provenance, Verdict, VerdictState


class NoopReasoner:
    """Dismisses everything at once without looking."""

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict a candidate."""
        return [
            Verdict(
                state=VerdictState.REJECTED,
                score=0.0,
                action=Action.DISMISS,
                priority=Priority.LOW,
                reason="Nothing was looked at.",
                provenance=Provenance("noop", "noop", "", tuple(f.sha256 for f in candidate.key_frames)),
            )
            for candidate in candidates
        ]


def build_reasoner(settings: Settings, frame_store: FrameStore) -> NoopReasoner:
    """The reasoner that does nothing."""
    return NoopReasoner()
