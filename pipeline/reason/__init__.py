"""From candidate to verdict: prompt, model, calibration, grounding, decision."""

from pipeline.reason.inquiry import build_inquiry
from pipeline.reason.reasoner import PromptReasoner, build_reasoner
from pipeline.reason.verdicts import failed_verdict

__all__ = ["PromptReasoner", "build_inquiry", "build_reasoner", "failed_verdict"]
