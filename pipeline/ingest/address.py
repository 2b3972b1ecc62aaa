"""What a source is called: addresses of cameras, their names, and how they may be shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

LIVE_SCHEMES = ("rtsp://", "rtsps://", "http://", "https://")
"""Addresses that are network cameras."""
_WEBCAM = re.compile(r"\d{1,2}|/dev/video\d{1,3}")
_SECRET = re.compile(r"pass|pwd|user|login|token|secret|auth|key|sig", re.IGNORECASE)
_NAMED = re.compile(r"(?P<name>[\w.-]{1,64})=(?P<uri>.+)", re.DOTALL)


def is_webcam(uri: str) -> bool:
    """Whether a source is a camera of this machine: its number, or its device file."""
    return _WEBCAM.fullmatch(uri) is not None and not (uri.isdigit() and Path(uri).exists())


def is_live(uri: str) -> bool:
    """Whether a source is a camera rather than a file or folder."""
    return uri.lower().startswith(LIVE_SCHEMES) or is_webcam(uri)


def split_name(source: str) -> tuple[str, str]:
    """``NAME=SOURCE`` as name and source; the name is empty when none is given.

    A file or folder of exactly that name wins.
    """
    match = _NAMED.fullmatch(source)
    if match is None or source.lower().startswith(LIVE_SCHEMES) or Path(source).exists():
        return "", source
    return match["name"], match["uri"]


def without_credentials(uri: str) -> str:
    """An address as it may be shown and stored: no user, no password, no token in the query either."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "an address that cannot be read"
    if not parts.scheme or not parts.netloc:
        return uri
    query = parts.query
    if _SECRET.search(query):
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode(
            [(key, "***" if _SECRET.search(key) else value) for key, value in pairs], safe="*/:"
        )
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def camera_name(uri: str) -> str:
    """What a camera is called when nobody has said: host, or webcam number."""
    if is_webcam(uri):
        return f"webcam-{uri.removeprefix('/dev/video')}"
    if is_live(uri):
        try:
            return urlsplit(uri).hostname or "camera"
        except ValueError:
            return "camera"
    return Path(uri).name


def camera_names(sources: Sequence[tuple[str, str]]) -> list[str]:
    """One name a source, all different: what was given, else host or file name, with the path where needed.

    Args:
        sources: Name (may be empty) and address of each.
    """
    short = [name or camera_name(uri) for name, uri in sources]
    often = Counter(short)
    longer = [
        name if often[name] == 1 or given else _longer(name, uri)
        for name, (given, uri) in zip(short, sources, strict=True)
    ]
    seen: Counter[str] = Counter()
    unique = []
    for name in longer:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return unique


def _longer(name: str, uri: str) -> str:
    if not uri.lower().startswith(LIVE_SCHEMES):
        return str(Path(uri).parent.name / Path(name)) if Path(uri).parent.name else name
    parts = urlsplit(without_credentials(uri))
    port = f":{parts.port}" if parts.port else ""
    return f"{name}{port}{parts.path}" + (f"?{parts.query}" if parts.query else "")
