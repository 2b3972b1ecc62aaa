"""The verdict of a candidate that could not be judged: no score, and a person looks."""

from __future__ import annotations

import pipeline
from pipeline.errors import SitrepError
from pipeline.settings import Settings
from pipeline.store.jobs import Job
from pipeline.types import Action, Candidate, Priority, Provenance, Verdict, VerdictState


def failed_verdict(
    settings: Settings, job: Job, candidate: Candidate, *, error: str, error_source: str
) -> Verdict:
    """A ``failed`` verdict that goes to review, its priority by the site's policy."""
    action, priority, reason = Action.REVIEW, Priority.HIGH, f"Could not be judged: {error}"
    try:
        from pipeline.decide.decision import decide
        from pipeline.decide.policy import load_policy

        decision = decide(
            candidate, None, load_policy(settings.policy), error=error, language=settings.language
        )
        priority, reason = decision.priority, decision.reason
    except SitrepError:
        # The policy file may be what is wrong; the candidate reaches a person all the same.
        pass
    return Verdict(
        state=VerdictState.FAILED,
        score=None,
        action=action,
        priority=priority,
        reason=reason,
        provenance=Provenance(
            model=job.model,
            prompt=job.prompt,
            prompt_sha256=job.prompt_sha256,
            frames=tuple(frame.sha256 for frame in candidate.key_frames),
            params=dict(job.params),
            code_version=pipeline.__version__,
        ),
        timings_ms={"queued": job.queued_ms} if job.queued_ms is not None else {},
        error_source=error_source,
        error=error,
    )
