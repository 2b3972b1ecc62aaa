"""A reasoner for tests of the queue: it does what the candidate's facts tell it.

act      what to do: judge (default), segfault, retry, refuse, crash, hang
sleep    seconds to take first
score    escalated at 0.5 and above, dismissed below
touch    file to append a line to when work begins, so that a test can count and time the attempts
once     file; the act is only done while it does not exist yet, afterwards the candidate is judged
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from support.queue_help import verdict

from pipeline.errors import ModelMissing, ModelUnavailable
from pipeline.interfaces import FrameStore
from pipeline.settings import Settings
from pipeline.types import Action, Candidate, Priority, Verdict, VerdictState


class TestReasoner:
    """See the module."""

    def __init__(self, frames: FrameStore) -> None:
        self._frames = frames

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        return [self._judge(one) for one in candidates]

    def _judge(self, candidate: Candidate) -> Verdict:
        facts = candidate.evidence.facts
        act = str(facts.get("act") or "judge")
        if facts.get("once"):
            marker = Path(str(facts["once"]))
            if marker.exists():
                act = "judge"
            else:
                marker.touch()
        if facts.get("touch"):
            with Path(str(facts["touch"])).open("a") as file:
                file.write(f"{candidate.candidate_id} {os.getpid()} {time.time()}\n")
        if act == "slow_once":
            time.sleep(60)
        time.sleep(float(facts.get("sleep") or 0.0))
        if act == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if act == "retry":
            raise ModelUnavailable("the test model is away")
        if act == "refuse":
            raise ModelMissing("the test model is not there")
        if act == "crash":
            raise ValueError("a fault in the code")
        for frame in candidate.key_frames:
            self._frames.get(frame.sha256)
        score = float(facts.get("score") if facts.get("score") is not None else 0.9)
        if score >= 0.5:
            return verdict(Action.ESCALATE, score=score)
        return verdict(Action.DISMISS, score=score, state=VerdictState.REJECTED, priority=Priority.LOW)


def build(settings: Settings, frame_store: FrameStore) -> TestReasoner:
    return TestReasoner(frame_store)
