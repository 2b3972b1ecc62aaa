"""From score to decision: site policy in code, never generated text."""

from pipeline.decide.decision import Decision, Thresholds, decide
from pipeline.decide.policy import Policy, load_policy

__all__ = ["Decision", "Policy", "Thresholds", "decide", "load_policy"]
