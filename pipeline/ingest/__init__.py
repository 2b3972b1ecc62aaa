"""Sources of frames: clips, pictures, folders and cameras."""

from pipeline.ingest.address import camera_names, is_live, split_name, without_credentials
from pipeline.ingest.identity import source_identity
from pipeline.ingest.opening import find_clips, open_source

__all__ = [
    "camera_names",
    "find_clips",
    "is_live",
    "open_source",
    "source_identity",
    "split_name",
    "without_credentials",
]
