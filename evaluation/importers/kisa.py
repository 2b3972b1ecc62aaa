"""KISA-style event annotation, one XML file a video.

Reads the certification's ``<KisaLibraryIndex>`` form (``Clip`` with ``Header/Filename`` and
``Alarms/Alarm`` of ``StartTime``, ``AlarmDescription``, ``AlarmDuration``) and AI-Hub's ``<annotation>`` form
(``filename`` and ``event`` of ``eventname``, ``starttime``, ``duration``). Times are ``HH:MM:SS[.f]``,
``MM:SS`` or seconds.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from evaluation.dataset import BENIGN, DatasetError, DatasetRow, Event
from evaluation.importers.labels import event_type
from pipeline.types import EventType

MAX_BYTES = 5_000_000


def import_kisa(annotations: Path, clips: Path, *, licence: str) -> list[DatasetRow]:
    """Rows of every video that an ``.xml`` file below ``annotations`` describes.

    A video without alarms is benign.

    Raises:
        DatasetError: A file is no such annotation, or its video is missing.
    """
    files = sorted(annotations.rglob("*.xml")) if annotations.is_dir() else [annotations]
    if not files:
        raise DatasetError(f"no .xml below {annotations}", hint="one annotation file a video is expected")
    where = {path.name.lower(): path for path in sorted(clips.rglob("*")) if path.is_file()}
    return [_row(file, where, clips, licence) for file in files]


def _row(file: Path, where: dict[str, Path], clips: Path, licence: str) -> DatasetRow:
    tree = _parse(file)
    name = _text(tree, "Filename") or file.with_suffix(".mp4").name
    clip = where.get(name.lower()) or where.get(file.with_suffix(".mp4").name.lower())
    if clip is None:
        raise DatasetError(
            f"{file}: its video {name} is not below {clips}", hint="give the folder of the videos"
        )
    alarms = [node for node in tree.iter() if node.tag.lower() in ("alarm", "event") and len(node)]
    events = tuple(_event(file, node) for node in alarms)
    return DatasetRow(
        clip=clip.relative_to(clips).as_posix(),
        label=str(events[0].type) if events else BENIGN,
        escalate=bool(events),
        events=events,
        group=f"kisa:{clip.stem}",
        source=f"KISA-style annotation {file.name}",
        licence=licence,
    )


def _parse(file: Path) -> ElementTree.Element:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}", hint="check the path") from error
    if len(data) > MAX_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        # Entities could unfold to gigabytes or read other files; annotations need none.
        raise DatasetError(f"{file} is too large or declares entities", hint="use plain annotation XML")
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise DatasetError(f"{file} is not XML: {error}", hint="check the file") from error


def _event(file: Path, node: ElementTree.Element) -> Event:
    word = _text(node, "AlarmDescription", "eventname", "type")
    start, duration = _text(node, "StartTime"), _text(node, "AlarmDuration", "duration")
    if not word or not start or not duration:
        raise DatasetError(f"{file}: an alarm lacks its description, start or duration", hint="add it")
    begin = _seconds(file, start)
    kind = event_type(word)
    known = EventType(kind) if kind and kind != BENIGN else EventType.OTHER
    return Event(type=known, start_s=begin, end_s=begin + _seconds(file, duration))


def _text(node: ElementTree.Element, *names: str) -> str:
    wanted = {name.lower() for name in names}
    for child in node.iter():
        if child.tag.lower() in wanted and child.text and child.text.strip():
            return child.text.strip()
    return ""


def _seconds(file: Path, text: str) -> float:
    try:
        value = 0.0
        for part in text.split(":"):
            value = value * 60 + float(part)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise DatasetError(f"{file}: time '{text}' cannot be read", hint="write HH:MM:SS or seconds")
    return round(value, 3)
