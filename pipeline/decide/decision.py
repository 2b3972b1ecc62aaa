"""The decision: score and policy in; action, priority and one sentence out. No generated text enters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.decide.context import expected_by_context
from pipeline.decide.phrases import Phrases
from pipeline.decide.policy import EffectiveRule, Fallback, Policy
from pipeline.types import Action, Candidate, Priority, VerdictState

_ORDER = (Priority.LOW, Priority.MEDIUM, Priority.HIGH, Priority.CRITICAL)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """An operating point: at or above ``escalate_at`` escalate, below ``dismiss_below`` dismiss."""

    escalate_at: float
    dismiss_below: float


# Without calibration data nobody knows what a score means: escalate what is more likely real than not, and
# leave a wide band for people.
DEFAULT_THRESHOLDS = Thresholds(escalate_at=0.5, dismiss_below=0.2)


@dataclass(frozen=True, slots=True)
class Decision:
    """What code decided and why; the thresholds are those it used."""

    action: Action
    priority: Priority
    state: VerdictState
    reason: str
    thresholds: Thresholds


def decide(
    candidate: Candidate,
    score: float | None,
    policy: Policy,
    *,
    calibrated: Thresholds | None = None,
    seen: float | None = None,
    grounded: bool | None = None,
    error: str | None = None,
    site_context: str = "",
    language: str = "en",
) -> Decision:
    """Decide about one candidate.

    Args:
        candidate: Its event type, camera, zone and wall time choose the rule.
        score: Calibrated probability of a real incident; ``None`` or NaN when there is none.
        policy: The site's policy; its thresholds win over ``calibrated``.
        calibrated: Operating point found on validation data, if any.
        seen: The score by what images and measurements say alone, if the model can tell. Words about the
            site may turn an escalation into a review; a dismissal is for the eyes, or for the policy.
        grounded: ``False`` when the narrative says what nothing supports.
        error: Why there is no score.
        site_context: What the site says about itself; may call an event type expected.
        language: Of the reason, "en" or "ko".
    """
    rule = policy.effective(candidate.event_type, candidate.camera, candidate.zone)
    limits = thresholds(rule, calibrated)
    say = Phrases(language)
    if score is None or not math.isfinite(score):
        return Decision(
            Action.REVIEW, rule.priority, VerdictState.FAILED, say.failed(error or "no score"), limits
        )
    state, action, finding = _by_score(score, limits, say)
    reason = say.plain(finding, action)
    if action is Action.DISMISS and seen is not None and seen >= limits.dismiss_below:
        state, action = VerdictState.UNCERTAIN, Action.REVIEW
        reason = say.despite(finding, say.words_only(), action)
    if policy.read_site_context and candidate.event_type in expected_by_context(site_context):
        rule = rule.model_copy(update={"expected": True})
    blocked = _blocked(candidate, rule, policy, say)
    if blocked is not None and (weaker := _weaker(action, blocked[0])) is not action:
        action = weaker
        reason = say.despite(finding, blocked[1], action)
    elif grounded is False and action is Action.DISMISS:
        action = Action.REVIEW
        reason = say.despite(finding, say.ungrounded(), action)
    return Decision(action, _priority(action, rule.priority), state, reason, limits)


def thresholds(rule: EffectiveRule, calibrated: Thresholds | None) -> Thresholds:
    """The operating point: each side from the policy, else from calibration, else the default.

    A side the policy sets pulls the other along when they would cross.
    """
    base = calibrated or DEFAULT_THRESHOLDS
    high = base.escalate_at if rule.escalate_at is None else rule.escalate_at
    low = base.dismiss_below if rule.dismiss_below is None else rule.dismiss_below
    if low > high:
        low, high = (low, low) if rule.escalate_at is None else (high, high)
    return Thresholds(high, low)


def _by_score(score: float, limits: Thresholds, say: Phrases) -> tuple[VerdictState, Action, str]:
    if score >= limits.escalate_at:
        return VerdictState.CONFIRMED, Action.ESCALATE, say.above(score, limits.escalate_at)
    if score < limits.dismiss_below:
        return VerdictState.REJECTED, Action.DISMISS, say.below(score, limits.dismiss_below)
    return (
        VerdictState.UNCERTAIN,
        Action.REVIEW,
        say.between(score, limits.dismiss_below, limits.escalate_at),
    )


def _blocked(
    candidate: Candidate, rule: EffectiveRule, policy: Policy, say: Phrases
) -> tuple[Fallback, str] | None:
    """Why the policy does not let the candidate escalate, and what happens instead."""
    if not rule.enabled:
        return Fallback.DISMISS, say.disabled()
    zone = candidate.zone
    if zone is not None and any(fnmatchcase(zone, pattern) for pattern in rule.zones.exclude):
        return Fallback.DISMISS, say.zone(zone)
    if rule.zones.include:
        # Without a zone nobody can say that it lies outside: a person decides.
        if zone is None:
            return Fallback.REVIEW, say.no_zone()
        if not any(fnmatchcase(zone, pattern) for pattern in rule.zones.include):
            return Fallback.DISMISS, say.zone(zone)
    if rule.expected:
        return rule.expected_action, say.expected()
    moment = policy.local(candidate.wall_time)
    if rule.hours and moment is not None and not any(hours.holds(moment) for hours in rule.hours):
        return rule.outside_hours, say.hours(f"{moment:%H:%M}")
    return None


def _weaker(action: Action, fallback: Fallback) -> Action:
    if action is Action.DISMISS or fallback is Fallback.DISMISS:
        return Action.DISMISS
    return Action.REVIEW


def _priority(action: Action, base: Priority) -> Priority:
    if action is Action.ESCALATE:
        return base
    if action is Action.DISMISS:
        return Priority.LOW
    return _ORDER[max(0, _ORDER.index(base) - 1)]
