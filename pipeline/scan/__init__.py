"""Clips in, judged rows out: the way of one candidate, through the queue.

Scan, demo, evaluation and the batch half of re-scoring all run this.
"""

from pipeline.scan.candidates import detections_only, expand, find_candidates
from pipeline.scan.results import ClipResult, ScanListener, ScanResult, Silent
from pipeline.scan.session import ScanSession, new_run_id, scan, shared_cores

__all__ = [
    "ClipResult",
    "ScanListener",
    "ScanResult",
    "ScanSession",
    "Silent",
    "detections_only",
    "expand",
    "find_candidates",
    "new_run_id",
    "scan",
    "shared_cores",
]
