"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import mmap
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """Families of files that can be told apart by their first bytes."""

    MP4 = "MP4/MOV video"
    AVI = "AVI video"
    MATROSKA = "Matroska/WebM video"
    GIF = "GIF animation"
    JPEG = "JPEG image"
    PNG = "PNG image"
    BMP = "BMP image"
    WEBP = "WebP image"
    HEIF = "HEIF/AVIF image"
    AUDIO = "audio file"
    MPEG = "MPEG stream"
    TEXT = "text file"
    UNKNOWN = "file of unknown kind"


EXTENSIONS: dict[str, Kind] = {
    ".mp4": Kind.MP4,
    ".mov": Kind.MP4,
    ".avi": Kind.AVI,
    ".mkv": Kind.MATROSKA,
    ".webm": Kind.MATROSKA,
    ".gif": Kind.GIF,
    ".jpg": Kind.JPEG,
    ".jpeg": Kind.JPEG,
    ".png": Kind.PNG,
    ".bmp": Kind.BMP,
    ".webp": Kind.WEBP,
}
"""What Sitrep reads, by extension."""

STILLS = frozenset({Kind.JPEG, Kind.PNG, Kind.BMP, Kind.WEBP})
"""Kinds that hold one picture."""

_PREFIXES: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1a\x45\xdf\xa3", Kind.MATROSKA),
    (b"GIF8", Kind.GIF),
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"BM", Kind.BMP),
    (b"ID3", Kind.AUDIO),
    (b"fLaC", Kind.AUDIO),
    (b"OggS", Kind.AUDIO),
    (b"\xff\xfb", Kind.AUDIO),
    (b"\xff\xf1", Kind.AUDIO),
    (b"\x00\x00\x01\xba", Kind.MPEG),
    (b"\x00\x00\x01\xb3", Kind.MPEG),
    (b"\x47", Kind.MPEG),
)
_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
_RIFF = {b"AVI ": Kind.AVI, b"WEBP": Kind.WEBP, b"WAVE": Kind.AUDIO}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"avif", b"avis"})


def sniff(head: bytes) -> Kind:
    """Tell the kind of a file from its first bytes (16 are enough but for text)."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], Kind.UNKNOWN)
    if head[4:8] in _ATOMS:
        return Kind.HEIF if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS else Kind.MP4
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix) and not (kind is Kind.MPEG and head[:64].isascii()):
            return kind
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        return Kind.UNKNOWN
    return Kind.TEXT if text.isprintable() or any(mark in text for mark in "\n\t") else Kind.UNKNOWN


def why_no_video(path: Path, kind: Kind) -> str:
    """Why a container that looks right gives no picture, as the end of a sentence about it.

    Args:
        path: A file that is not empty.
        kind: What it is by its first bytes.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if kind is Kind.MP4:
            if data.find(b"moov") < 0:
                return "is truncated: its index (moov) is missing"
            marks = (b"vide", b"soun")
        elif kind is Kind.AVI:
            marks = (b"vids", b"auds")
        else:
            # EBML element CodecID (0x86), a length byte, then the name.
            marks = (b"V_", b"A_")
        video, audio = (data.find(mark) >= 0 for mark in marks)
    if audio and not video:
        return "has sound but no picture (audio only)"
    return "cannot be decoded: it is damaged or holds no video"
