"""Candidates with real images in a store that keeps them in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.base import Inquiry, Score, SitrepChatModel
from pipeline.errors import FrameStoreError
from pipeline.reason import PromptReasoner
from pipeline.settings import Settings
from pipeline.types import Candidate, Evidence, KeyFrame, Moment, View
from prompts.example import example_candidate

REPORT = {
    "observations": ["A person lies on the floor."],
    "title": "Person on the floor",
    "summary": "A person lies on the floor.",
    "narrative": "A person lies on the floor and does not move for 3.2 s.",
    "reason": "The torso is flat.",
    "recommended_action": "Send somebody to look.",
}


class MemoryFrames:
    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put(self, encoded: bytes) -> str:
        name = hashlib.sha256(encoded).hexdigest()
        self.held[name] = encoded
        return name

    def get(self, sha256: str) -> bytes:
        if sha256 not in self.held:
            raise FrameStoreError(f"frame {sha256[:8]} is missing")
        return self.held[sha256]


def stored_candidate(frames: MemoryFrames, event: str = "fall", number: int = 0, **changes: Any) -> Candidate:
    image = np.full((48, 64, 3), 40 + number, np.uint8)
    name = frames.put(cv2.imencode(".jpg", image)[1].tobytes())
    key_frames = (KeyFrame(name, View.FULL, Moment.PEAK, 4.0, 64, 48),)
    evidence = changes.pop("evidence", Evidence((), {"person": 1}, {"still_s": 3.2, "torso_angle_deg": 78.0}))
    base = replace(
        example_candidate(event), candidate_id=f"c{number}", key_frames=key_frames, evidence=evidence
    )
    return replace(base, **changes)


class ScriptedModel(SitrepChatModel):
    """Says what the test wants; everything around it is real."""

    log_odds: float = 3.0
    attributes: dict[str, float] = {}  # noqa: RUF012  # a pydantic field
    reply: str = json.dumps(REPORT)
    asked: list[Any] = []  # noqa: RUF012  # a pydantic field
    told: list[Score] = []  # noqa: RUF012  # a pydantic field

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        self.asked.extend(inquiries)
        return [Score(self.log_odds, self.attributes) for _ in inquiries]

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        self.told.append(score)
        return self.reply

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def reasoner(
    tmp_path: Path,
    frames: MemoryFrames,
    *,
    model: SitrepChatModel | None = None,
    backend: str = "fake",
    files: Mapping[str, str] | None = None,
    **settings: Any,
) -> PromptReasoner:
    for name, text in (files or {}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = PromptReasoner(Settings(data_dir=tmp_path, model=backend, **settings), frames, model)
    made.check()
    return made
