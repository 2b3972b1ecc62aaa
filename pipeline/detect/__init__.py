"""Stage 1: motion gate, detector, pose, tracks and triggers. No torch in here."""

from pipeline.detect.stage import Stage1, build_stage1

__all__ = ["Stage1", "build_stage1"]
