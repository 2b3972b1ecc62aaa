"""Sitrep's core: from video to candidates, from candidates to verdicts and decisions."""

__version__ = "0.1.0"
