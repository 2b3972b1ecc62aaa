"""Verdicts for what went wrong: no score, a reason, and a person who looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import __version__
from pipeline.decide import Policy, decide, load_policy
from pipeline.errors import ReplyError, SitrepError
from pipeline.types import Candidate, Provenance, Verdict, VerdictState


def provenance(
    candidate: Candidate,
    *,
    model: str,
    prompt: str,
    prompt_sha256: str = "",
    params: Mapping[str, Any] | None = None,
) -> Provenance:
    """What is needed to judge the candidate again in the same way."""
    return Provenance(
        model=model,
        prompt=prompt,
        prompt_sha256=prompt_sha256,
        frames=tuple(frame.sha256 for frame in candidate.key_frames),
        params=dict(params or {}),
        code_version=__version__,
        detector=candidate.trigger.name,
    )


def failed_verdict(
    candidate: Candidate,
    error: BaseException,
    *,
    model: str = "",
    prompt: str = "",
    prompt_sha256: str = "",
    params: Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    language: str = "en",
    log_odds: float | None = None,
    timings_ms: Mapping[str, float] | None = None,
) -> Verdict:
    """A verdict with a NULL score that goes to a person.

    Args:
        candidate: What could not be judged.
        error: Why; a :class:`SitrepError` gives stage and message, anything else its type.
        model: Model id as far as it is known.
        prompt: ``id@version`` as far as it is known.
        prompt_sha256: Of the prompt, if it was rendered.
        params: What else belongs into the provenance.
        policy: Gives the priority; the shipped policy when ``None``.
        language: Of the reason.
        log_odds: Of the forward pass, when only the report failed.
        timings_ms: Of the stages that ran.
    """
    if isinstance(error, SitrepError):
        message, stage = error.one_line(), error.stage
        short = " ".join(error.message.split())
    else:
        short = message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].rstrip(": ")
        stage = "worker"
    decision = decide(candidate, None, policy or load_policy(), error=short[:160], language=language)
    return Verdict(
        state=VerdictState.FAILED,
        score=None,
        action=decision.action,
        priority=decision.priority,
        reason=decision.reason,
        provenance=provenance(
            candidate, model=model, prompt=prompt, prompt_sha256=prompt_sha256, params=params
        ),
        timings_ms=dict(timings_ms or {}),
        log_odds=log_odds,
        error_source=stage,
        error=message[:500],
        raw_reply=error.raw if isinstance(error, ReplyError) else None,
    )
