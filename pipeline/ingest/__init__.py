"""Sources of frames: clips, pictures, folders and cameras."""

from pipeline.ingest.identity import source_identity
from pipeline.ingest.opening import find_clips, is_live, open_source

__all__ = ["find_clips", "is_live", "open_source", "source_identity"]
