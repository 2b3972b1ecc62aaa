"""Archive re-scoring: judge stored candidates again with another prompt or model, and say what flips.

Archive lane only, never an alert, never a change of a live verdict: versions stand side by side.
"""

from pipeline.rescore.control import cancel, pause, resume_allowed, status
from pipeline.rescore.flips import Flips, find_flips, flips_file, write_flips
from pipeline.rescore.plan import Plan, Selection, Target, make_plan, resolve_target
from pipeline.rescore.run import Outcome, rescore

__all__ = [
    "Flips",
    "Outcome",
    "Plan",
    "Selection",
    "Target",
    "cancel",
    "find_flips",
    "flips_file",
    "make_plan",
    "pause",
    "rescore",
    "resolve_target",
    "resume_allowed",
    "status",
    "write_flips",
]
