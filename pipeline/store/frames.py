"""Key frames as files named by the hash of their bytes: ``frames/ab/abcdef...``.

The same picture is stored once whatever refers to it, and a file that was torn or tampered with is
found out when it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, select

from pipeline.errors import FrameStoreError
from pipeline.settings import Settings
from pipeline.store.engine import read
from pipeline.store.schema import frames

_NAME = re.compile(r"[0-9a-f]{64}")


class FileFrameStore:
    """A :class:`pipeline.interfaces.FrameStore` in a folder, local or shared between machines."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, encoded: bytes) -> str:
        """Store bytes and return their sha256; storing them again changes nothing.

        Raises:
            FrameStoreError: Nothing to store, no room, or no permission. What is there stays readable.
        """
        if not encoded:
            raise FrameStoreError("an empty key frame cannot be stored", hint="the encoder gave no bytes")
        sha256 = hashlib.sha256(encoded).hexdigest()
        path = self.path(sha256)
        try:
            if path.stat().st_size == len(encoded):
                return sha256
        except OSError:
            pass
        partial = path.with_name(f".{sha256}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written aside and renamed: a reader never meets half a file. No fsync: after a power cut the
            # hash tells, and the cost would be paid for every frame.
            partial.write_bytes(encoded)
            partial.replace(path)
        except OSError as error:
            _forget(partial)
            raise FrameStoreError(f"key frame cannot be written to {self.root}: {error.strerror}") from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against the hash.

        Raises:
            FrameStoreError: The frame is missing, damaged, or the name is no sha256.
        """
        path = self.path(sha256)
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise FrameStoreError(f"key frame {sha256[:12]} cannot be read: {error.strerror}") from error
        if hashlib.sha256(encoded).hexdigest() != sha256:
            raise FrameStoreError(
                f"key frame {sha256[:12]} is damaged: its bytes do not match its hash",
                hint="scan the clip again to restore it",
            )
        return encoded

    def path(self, sha256: str) -> Path:
        """Where a frame is, whether or not it exists.

        Raises:
            FrameStoreError: Not a sha256 in lower-case hex (names reach us from web addresses).
        """
        if not _NAME.fullmatch(sha256):
            raise FrameStoreError("a key frame is named by 64 hex digits", hint="give its sha256")
        return self.root / sha256[:2] / sha256

    def remove(self, sha256: str) -> bool:
        """Delete a frame; whether it was there."""
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FrameStoreError(f"key frame {sha256[:12]} cannot be removed: {error.strerror}") from error
        return True

    def stored(self) -> Iterator[str]:
        """Names of all frames there are."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            if _NAME.fullmatch(path.name):
                yield path.name


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def open_frame_store(settings: Settings) -> FileFrameStore:
    """The frame store of the settings: ``frames_dir``, else ``frames`` in the data directory."""
    return FileFrameStore(settings.frames_dir or settings.data_dir / "frames")


def expect_shared(engine: Engine, settings: Settings) -> None:
    """Make sure that frames which other machines stored can be read here.

    A worker that cannot read them would send every candidate to a person as failed.

    Raises:
        FrameStoreError: The newest frame of the database is not in this machine's frame store.
    """
    newest = (
        select(frames.c.sha256)
        .where(frames.c.removed_at.is_(None))
        .order_by(frames.c.created_at.desc())
        .limit(1)
    )
    with read(engine) as connection:
        sha256 = connection.execute(newest).scalar()
    store = open_frame_store(settings)
    if sha256 is not None and not store.path(sha256).is_file():
        raise FrameStoreError(
            f"the key frames of this installation are not in {store.root}",
            hint="set SITREP_FRAMES_DIR to the folder that all machines share",
        )
