"""Watching cameras: groups of them in processes, candidates into the live lane, verdicts as they come."""

from pipeline.watch.parent import Watch

__all__ = ["Watch"]
