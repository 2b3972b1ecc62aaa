"""Events of detectors outside Sitrep: taken in, described by stage 1, judged like any candidate."""

from pipeline.inbound.report import DetectionIn
from pipeline.inbound.service import Accepted, Intake

__all__ = ["Accepted", "DetectionIn", "Intake"]
