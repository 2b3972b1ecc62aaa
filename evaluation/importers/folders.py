"""One folder a label: ``fall/a.mp4``, ``benign/b.mp4``."""

from __future__ import annotations

import re
from pathlib import Path

from evaluation.dataset import BENIGN, DatasetError, DatasetRow
from evaluation.importers.labels import CLIP_SUFFIXES, event_type


def import_folders(
    root: Path, *, licence: str, source: str = "", group_pattern: str | None = None
) -> list[DatasetRow]:
    """Rows of every clip below ``root``, labelled by the name of its first folder.

    Args:
        root: Folder of label folders. Unknown names become their own label (scored as ``other``).
        licence: Licence of all clips.
        source: Where they come from; the folder's name when empty.
        group_pattern: Regular expression with one group that finds the scene in a clip's path; without
            it every clip is its own scene.

    Raises:
        DatasetError: No clip is found, or the pattern is wrong.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder", hint="give the folder that holds one folder a label")
    try:
        pattern = re.compile(group_pattern) if group_pattern else None
    except re.error as error:
        raise DatasetError(f"--group '{group_pattern}' is no regular expression: {error}") from error
    if pattern is not None and pattern.groups != 1:
        raise DatasetError(f"--group '{group_pattern}' needs exactly one (...)", hint="e.g. '(scene\\d+)'")
    rows = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix.lower() not in CLIP_SUFFIXES or len(relative.parts) < 2 or not path.is_file():
            continue
        word = relative.parts[0]
        label = event_type(word) or re.sub(r"[^a-z0-9_]+", "_", word.lower()).strip("_") or "unnamed"
        found = pattern.search(relative.as_posix()) if pattern else None
        rows.append(
            DatasetRow(
                clip=relative.as_posix(),
                label=label if label[0].isalpha() else f"label_{label}",
                escalate=label != BENIGN,
                group=f"{root.name}:{found.group(1) if found else relative.with_suffix('').as_posix()}",
                source=source or root.name,
                licence=licence,
            )
        )
    if not rows:
        raise DatasetError(f"no clip in the label folders of {root}", hint="expected e.g. fall/a.mp4")
    return rows
