"""UCF-Crime's ``Temporal_Anomaly_Annotation`` text (Sultani, Chen & Shah, CVPR 2018).

    Abuse028_x264.mp4  Abuse  165  240  -1  -1

name, class, then start and end frame of up to two anomalies, -1 where there is none.
"""

from __future__ import annotations

from pathlib import Path

from evaluation.dataset import BENIGN, DatasetError, DatasetRow, Event
from evaluation.importers.labels import event_type
from pipeline.types import EventType

FPS = 30.0
"""All UCF-Crime videos run at 30 frames a second."""


def import_ucf_crime(annotations: Path, clips: Path, *, fps: float = FPS) -> list[DatasetRow]:
    """Rows of the annotated videos that are below ``clips``.

    Classes Sitrep has no event type for (Shooting, Shoplifting, Stealing, Vandalism, Arrest) keep their
    name as label and are scored as ``other``.

    Raises:
        DatasetError: A line cannot be read, or none of the videos is there.
    """
    where = {path.name: path for path in sorted(clips.rglob("*")) if path.is_file()}
    rows, absent = [], 0
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{annotations} cannot be read: {error}", hint="give the annotation .txt"
        ) from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 6 or any(not _whole(word) for word in words[2:]):
            raise DatasetError(
                f"{annotations} line {number}: expected NAME CLASS START END START END",
                hint="frames are whole numbers, -1 for none",
            )
        name, kind, *frames = words
        if name not in where:
            absent += 1
            continue
        label = event_type(kind) or kind.lower()
        numbers = [int(frame) for frame in frames]
        spans = [(a, b) for a, b in (numbers[:2], numbers[2:]) if a >= 0 and b >= 0]
        if label == BENIGN and spans:
            raise DatasetError(f"{annotations} line {number}: a normal video has an anomaly")
        kind_of_event = EventType(label) if label in set(EventType) else EventType.OTHER
        rows.append(
            DatasetRow(
                clip=where[name].relative_to(clips).as_posix(),
                label=label,
                escalate=label != BENIGN,
                events=tuple(Event(type=kind_of_event, start_s=a / fps, end_s=b / fps) for a, b in spans),
                group=f"ucf-crime:{name.split('_x264')[0].removesuffix('.mp4')}",
                source="UCF-Crime",
                licence="research use; see the UCF-Crime site",
                split="test",
            )
        )
    if not rows:
        raise DatasetError(
            f"none of the {absent} videos of {annotations} is below {clips}",
            hint="give the folder of the videos",
        )
    return rows


def _whole(word: str) -> bool:
    return word.removeprefix("-").isdigit()
