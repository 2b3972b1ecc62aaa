"""What a source is, whatever it is called and wherever it lies: the stable half of candidate ids."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.interfaces import SourceInfo

_WHOLE_BELOW = 64 * 1024 * 1024
_SAMPLE = 1024 * 1024
_SAMPLES = 16


def source_identity(info: SourceInfo) -> str:
    """Hex identity of a source: content for files, address for cameras.

    Files above 64 MiB are known by their length and sixteen evenly spaced mebibytes, so that a day of
    video is not read twice.

    Raises:
        SourceError: The file cannot be read.
    """
    if info.is_live:
        return hashlib.sha256(info.uri.encode()).hexdigest()
    try:
        size = Path(info.uri).stat().st_size
        with Path(info.uri).open("rb") as stream:
            if size <= _WHOLE_BELOW:
                return hashlib.file_digest(stream, "sha256").hexdigest()
            digest = hashlib.sha256(str(size).encode())
            for part in range(_SAMPLES):
                stream.seek((size - _SAMPLE) * part // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
            return digest.hexdigest()
    except OSError as error:
        raise SourceError(f"{info.uri} cannot be read: {error.strerror}") from error
