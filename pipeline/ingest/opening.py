"""From what a user names to frame sources: files, folders, cameras."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image as Pillow

from pipeline.errors import SourceError
from pipeline.ingest.address import is_live
from pipeline.ingest.sniff import EXTENSIONS, STILLS, Kind, sniff
from pipeline.ingest.still import StillSource
from pipeline.ingest.video import VideoFileSource
from pipeline.interfaces import FrameSource

KNOWN = " ".join(sorted(EXTENSIONS))
"""Extensions Sitrep reads, for messages."""


def find_clips(uri: str | Path) -> list[str]:
    """The sources behind one argument: itself, or every clip below a folder, sorted by path.

    Args:
        uri: File, folder or camera address.

    Raises:
        SourceError: The path does not exist, cannot be listed, or is a folder without clips.
    """
    text = str(uri)
    if is_live(text):
        return [text]
    path = Path(text)
    if not path.is_dir():
        _regular_file(path)
        return [text]
    found: list[str] = []

    def refuse(error: OSError) -> None:
        raise SourceError(f"folder {error.filename} cannot be listed: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            str(Path(folder) / name)
            for name in names
            if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
        ]
    if not found:
        raise SourceError(f"folder {path} holds no clips", hint=f"known: {KNOWN}")
    return sorted(found)


def open_source(uri: str | Path, *, fps: float | None = None) -> FrameSource:
    """Open one clip, picture or camera.

    Args:
        uri: File or camera address; a folder is an error here, see ``find_clips``.
        fps: Frames a second to yield; ``None`` for all. Pictures yield their one frame.

    Raises:
        SourceError: It does not exist, is empty, is not what its name says, or holds no usable picture.
    """
    if is_live(str(uri)):
        from pipeline.ingest.live import LiveSource

        return LiveSource(str(uri), fps=fps)
    path = Path(uri)
    if path.is_dir():
        raise SourceError(f"{path} is a folder", hint="name its clips, or scan the folder as a whole")
    _regular_file(path)
    declared = EXTENSIONS.get(path.suffix.lower())
    if declared is None:
        raise SourceError(f"{path} is not a clip Sitrep knows by its extension", hint=f"known: {KNOWN}")
    kind = _content(path)
    if kind is not declared:
        right = " or ".join(sorted(suffix for suffix, meant in EXTENSIONS.items() if meant is kind))
        raise SourceError(
            f"{path} is not what its name says: by its content it is a {kind.value}"
            if kind is not Kind.UNKNOWN
            else f"{path} is not what its name says: its content is not a {declared.value}",
            hint=f"rename it to {right}" if right else f"known: {KNOWN}",
        )
    if kind in STILLS or (kind is Kind.GIF and _one_picture(path)):
        return StillSource(path)
    return VideoFileSource(path, kind, fps=fps)


def _regular_file(path: Path) -> None:
    try:
        exists, regular = path.exists(), path.is_file()
    except OSError as error:
        raise SourceError(f"{path} cannot be reached: {error.strerror}") from error
    if not exists:
        raise SourceError(f"{path} does not exist", hint="check the path")
    if not regular:
        raise SourceError(f"{path} is neither a file nor a folder", hint="name a clip, folder or camera")


def _content(path: Path) -> Kind:
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    if not head:
        raise SourceError(f"{path} is empty (0 bytes)", hint="copy or export the clip again")
    return sniff(head)


def _one_picture(path: Path) -> bool:
    try:
        with Pillow.open(path) as opened:
            return getattr(opened, "n_frames", 1) == 1
    except (OSError, SyntaxError, ValueError):
        return False
