"""Clips that a detection names: by address on an allowed host, or by path below an allowed folder.

Whoever may send detections must not be able to make this machine read what it likes: both ways are closed
until the settings open them, redirects are not followed, and sizes are bounded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pipeline.errors import InboundError, QueueFull
from pipeline.inbound.media import named_by_content
from pipeline.settings import Settings

TIMEOUT_S = 20.0
"""Longest silence of a server."""
_PORTS = {"http": 80, "https": 443}
_RETRY_S = 15


def allowed_hosts(settings: Settings) -> frozenset[tuple[str, int | None]]:
    """Host and port of each entry of the setting ``clip_hosts``; port ``None`` is the scheme's own."""
    entries = (entry.strip().lower() for entry in settings.clip_hosts.split(","))
    return frozenset(_host_port(entry) for entry in entries if entry)


def _host_port(entry: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{entry}")
    try:
        return parts.hostname or "", parts.port
    except ValueError:
        # An entry that cannot be read allows nothing.
        return "", None


def check_url(url: str, settings: Settings) -> str:
    """The address as it may be shown: without query.

    Raises:
        InboundError: Its host is not on the list, or it carries a user and password.
    """
    hint = "name the host in the setting clip_hosts (SITREP_CLIP_HOSTS)"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise InboundError("the clip's url cannot be read", hint="give http://host/path") from error
    if parts.scheme not in _PORTS or not host:
        raise InboundError("the clip's url must begin with http:// or https://")
    if parts.username or parts.password:
        raise InboundError("the clip's url carries a user or password", hint="Sitrep would have to store it")
    hosts = allowed_hosts(settings)
    standard = _PORTS[parts.scheme]
    if (host, port or standard) not in {(name, number or standard) for name, number in hosts}:
        said = "no host is allowed" if not hosts else "it is not on the list"
        raise InboundError(f"clips may not be fetched from {host}:{port or standard}: {said}", hint=hint)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def check_path(path: str, settings: Settings) -> Path:
    """The file, with links resolved.

    Raises:
        InboundError: No folder is allowed, the file lies outside it, or there is none.
    """
    hint = "set clip_folder (SITREP_CLIP_FOLDER) to the folder that holds the clips"
    if settings.clip_folder is None:
        raise InboundError("clips may not be named by path here", hint=hint)
    root = settings.clip_folder.expanduser().resolve()
    try:
        file = (root / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InboundError(f"clip {Path(path).name!r} does not exist in the clip folder") from error
    if not file.is_relative_to(root):
        raise InboundError(f"clip {Path(path).name!r} lies outside the clip folder", hint=hint)
    if not file.is_file():
        raise InboundError(f"clip {Path(path).name!r} is not a file")
    if file.stat().st_size > limit_bytes(settings):
        raise too_large(f"clip {file.name}", settings)
    return file


def too_large(what: str, settings: Settings) -> InboundError:
    """The error for more than ``detection_max_mb``."""
    return InboundError(
        f"{what} has more than {settings.detection_max_mb} MB",
        hint="cut it, or raise detection_max_mb (SITREP_DETECTION_MAX_MB)",
    )


def limit_bytes(settings: Settings) -> int:
    """Most bytes of a request or a clip."""
    return settings.detection_max_mb * 1024 * 1024


@contextmanager
def downloaded(
    url: str,
    name: str,
    settings: Settings,
    *,
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
) -> Iterator[Path]:
    """A clip fetched into a file that is gone afterwards. Check the address first.

    Raises:
        InboundError: The server refuses it, sends us elsewhere, or it is too large or no video.
        QueueFull: The server does not answer now.
    """
    limit, got = limit_bytes(settings), 0
    with tempfile.TemporaryDirectory(prefix="sitrep-clip-") as folder:
        file = Path(folder) / "clip.part"
        try:
            # Without the environment's proxies: the list of hosts says where requests really go.
            with (
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream("GET", url, headers=headers, params=params) as answer,
                file.open("wb") as out,
            ):
                if answer.status_code in (429, 502, 503, 504):
                    raise QueueFull(f"{name} answers {answer.status_code}", retry_after_s=_RETRY_S)
                if answer.status_code != 200:
                    raise InboundError(
                        f"clip {name} cannot be fetched: the server answers {answer.status_code}"
                    )
                for chunk in answer.iter_bytes(1 << 16):
                    got += len(chunk)
                    if got > limit:
                        raise too_large(f"clip {name}", settings)
                    out.write(chunk)
        except httpx.TransportError as error:
            raise QueueFull(
                f"clip {name} cannot be fetched: {type(error).__name__}", retry_after_s=_RETRY_S
            ) from error
        if not got:
            raise InboundError(f"clip {name} is empty (0 bytes)")
        yield named_by_content(file, name)
