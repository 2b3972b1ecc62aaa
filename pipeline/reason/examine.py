"""Puts one built-in picture before a model, to see whether it works here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from pipeline.errors import ModelError, ReplyError
from pipeline.reason.builtin import builtin_inquiry
from pipeline.reason.parse import parse_report
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Examination:
    """What a working model did; times as measured, the first score counted as loading."""

    model: str
    load_s: float
    log_odds: float
    score_ms: float
    narrative_ms: float
    title: str
    summary: str

    def one_line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.model}: loaded in {self.load_s:.1f} s, score {self.score_ms:.0f} ms, "
            f"report {self.narrative_ms:.0f} ms ('{self.title}')"
        )


def examine(settings: Settings, model_ref: str | None = None) -> Examination:
    """Load a model, score the picture twice, read one report.

    Args:
        settings: Prompt, threads, time limit and keys.
        model_ref: ``BACKEND[:NAME]``; the model of the settings when ``None``.

    Raises:
        SitrepError: What is wrong, with how to mend it.
    """
    from models import registry

    ref = model_ref or settings.model
    started = time.perf_counter()
    model = registry.create(ref, settings)
    try:
        inquiry = builtin_inquiry(settings)
        first = model.score([inquiry])[0]
        loaded = time.perf_counter()
        if not math.isfinite(first.log_odds):
            raise ReplyError(f"model {ref} scores {first.log_odds}", hint="its weights are damaged")
        score = model.score([inquiry])[0]
        scored = time.perf_counter()
        report = parse_report(model.narrate(inquiry, score), inquiry.language)
        told = time.perf_counter()
    except NotImplementedError as error:
        raise ModelError(f"model back end {ref} cannot score", hint="use another one") from error
    finally:
        model.close()
    return Examination(
        model.model_id,
        loaded - started,
        score.log_odds,
        (scored - loaded) * 1e3,
        (told - scored) * 1e3,
        report.title,
        report.summary,
    )
