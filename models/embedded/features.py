"""Visual features of key frames: computed once a frame, kept in memory and on disk under the frame's hash."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from models.embedded.vision import VisionEncoder, VisionFeatures
from models.embedded.vision_clip import CLIP_CHANNELS, ClipEncoder
from models.embedded.vision_scene import OBJECT_CHANNELS, SCENE_CHANNELS, SceneEncoder
from pipeline.errors import ReplyError
from pipeline.types import Array, Image, View

_FIELDS = ("tokens", "pooled", "logits", "motion")
_PRUNE_EVERY = 500
_PICTURES = 12
"""Decoded pictures that are kept, at most 2 MB each."""


class _Extra(Protocol):
    """Makes features of another kind, for the views that heads want them of."""

    @property
    def channels(self) -> int: ...
    @property
    def features_id(self) -> str: ...
    def encode(self, images: Sequence[Image], /) -> Array: ...


class FeatureCache:
    """Looks features up before computing them.

    Args:
        encoder: Computes what is not there.
        folder: Where they are kept on disk; ``None`` for memory only.
        in_memory: Frames kept in memory, about 57 kB each.
        on_disk: Frames kept on disk; the oldest go first.
        scene_encoder: For second looks, where heads want them.
        clip_encoder: For clip views, where heads want them.
    """

    def __init__(
        self,
        encoder: VisionEncoder,
        folder: Path | None,
        in_memory: int = 512,
        on_disk: int = 20_000,
        scene_encoder: SceneEncoder | None = None,
        clip_encoder: ClipEncoder | None = None,
    ) -> None:
        self.encoder, self.scene_encoder, self.clip_encoder = encoder, scene_encoder, clip_encoder
        self._folder = folder / encoder.features_id if folder else None
        self._in_memory, self._on_disk = in_memory, on_disk
        self._held: OrderedDict[tuple[str, View], dict[str, Array]] = OrderedDict()
        self._held_extra: OrderedDict[str, Array] = OrderedDict()
        self._pictures: OrderedDict[str, Image] = OrderedDict()
        self._written = 0

    def features(
        self, hashes: Sequence[str], views: Sequence[View], images: Sequence[bytes]
    ) -> VisionFeatures:
        """Features of encoded images, in their order; all that are missing go through one batch.

        Args:
            hashes: sha256 of each image file.
            views: What each shows.
            images: The encoded files.

        Raises:
            ReplyError: An image cannot be decoded.
        """
        keys = list(zip(hashes, views, strict=True))
        found: dict[tuple[str, View], dict[str, Array]] = {}
        missing: dict[tuple[str, View], bytes] = {}
        for key, image in zip(keys, images, strict=True):
            if key in found or key in missing:
                continue
            entry = self._held.get(key) or self._read(key)
            if entry is None:
                missing[key] = image
            else:
                found[key] = entry
        if missing:
            pictures = [self._decoded(image, key[0]) for key, image in missing.items()]
            new = self.encoder.encode(pictures, [view for _, view in missing])
            for row, key in enumerate(missing):
                found[key] = {name: getattr(new, name)[row] for name in _FIELDS}
                self._write(key, found[key])
        for key, entry in found.items():
            self._held[key] = entry
            self._held.move_to_end(key)
        while len(self._held) > self._in_memory:
            self._held.popitem(last=False)
        return VisionFeatures(*(np.stack([found[key][name] for key in keys]) for name in _FIELDS))

    def scenes(
        self,
        hashes: Sequence[str],
        images: Sequence[bytes],
        objects: Sequence[bool],
        contrast: Sequence[bool],
    ) -> Array:
        """Scene features of some of the images, NaN for the others; computed once an image.

        Args:
            hashes: sha256 of each image file.
            images: The encoded files.
            objects: Of which of them object features.
            contrast: Of which of them contrast features.

        Returns:
            (n, 3328) float32.

        Raises:
            ReplyError: An image cannot be decoded.
        """
        result = np.full((len(hashes), SCENE_CHANNELS), np.nan, np.float32)
        if self.scene_encoder is not None:
            encoder = self.scene_encoder
            result[:, :OBJECT_CHANNELS] = self._extra(encoder.objects, hashes, images, objects)
            result[:, OBJECT_CHANNELS:] = self._extra(encoder.contrast, hashes, images, contrast)
        return result

    def clips(self, hashes: Sequence[str], images: Sequence[bytes], wanted: Sequence[bool]) -> Array:
        """The same for features of clip views: (n, 3328) float32."""
        if self.clip_encoder is None:
            return np.full((len(hashes), CLIP_CHANNELS), np.nan, np.float32)
        return self._extra(self.clip_encoder, hashes, images, wanted)

    def _extra(
        self,
        encoder: _Extra,
        hashes: Sequence[str],
        images: Sequence[bytes],
        wanted: Sequence[bool],
    ) -> Array:
        result = np.full((len(hashes), encoder.channels), np.nan, np.float32)
        missing: dict[str, bytes] = {}
        found: dict[str, Array] = {}
        for sha256, image, want in zip(hashes, images, wanted, strict=True):
            if not want or sha256 in found:
                continue
            held = self._held_extra.get(_extra_key(sha256, encoder))
            stored = self._read_extra(sha256, encoder) if held is None else held
            if stored is None:
                missing[sha256] = image
            else:
                found[sha256] = stored
        if missing:
            new = encoder.encode([self._decoded(image, sha256) for sha256, image in missing.items()])
            for row, sha256 in enumerate(missing):
                # As fp16, always: a verdict must not depend on whether its features came from disk.
                found[sha256] = new[row].astype(np.float16).astype(np.float32)
                self._write_extra(sha256, encoder, found[sha256])
        for sha256, entry in found.items():
            key = _extra_key(sha256, encoder)
            self._held_extra[key] = entry
            self._held_extra.move_to_end(key)
        while len(self._held_extra) > self._in_memory:
            self._held_extra.popitem(last=False)
        for row, (sha256, want) in enumerate(zip(hashes, wanted, strict=True)):
            if want:
                result[row] = found[sha256]
        return result

    def _decoded(self, image: bytes, sha256: str) -> Image:
        """The picture; the last few are kept, for several networks look at the same one."""
        picture = self._pictures.get(sha256)
        if picture is None:
            found = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
            if found is None:
                raise ReplyError(
                    f"key frame {sha256[:12]} is not a readable image", hint="the frame store is damaged"
                )
            picture = np.asarray(found, np.uint8)
        self._pictures[sha256] = picture
        while len(self._pictures) > _PICTURES:
            self._pictures.popitem(last=False)
        return picture

    def forget(self) -> None:
        """Compute everything again from now on: drop what is in memory and look at nothing on disk."""
        self._held.clear()
        self._held_extra.clear()
        self._pictures.clear()
        self._folder = None

    def _path(self, key: tuple[str, View]) -> Path | None:
        return self._folder / key[0][:2] / f"{key[0]}-{key[1].value}.npz" if self._folder else None

    def _read(self, key: tuple[str, View]) -> dict[str, Array] | None:
        return _load(self._path(key), _FIELDS)

    def _extra_path(self, sha256: str, encoder: _Extra) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / sha256[:2] / f"{_extra_key(sha256, encoder)}.npz"

    def _read_extra(self, sha256: str, encoder: _Extra) -> Array | None:
        stored = _load(self._extra_path(sha256, encoder), ("extra",))
        return None if stored is None else stored["extra"]

    def _write_extra(self, sha256: str, encoder: _Extra, entry: Array) -> None:
        path = self._extra_path(sha256, encoder)
        if path is not None:
            self._save(path, {"extra": entry.astype(np.float16)})

    def _write(self, key: tuple[str, View], entry: dict[str, Array]) -> None:
        path = self._path(key)
        if path is None:
            return
        # Tokens as fp16, always: a verdict must not depend on whether its features came from disk.
        entry["tokens"] = entry["tokens"].astype(np.float16).astype(np.float32)
        entry["pooled"] = entry["pooled"].astype(np.float16).astype(np.float32)
        small: dict[str, Any] = {
            name: value.astype(np.float16) if name in ("tokens", "pooled") else value
            for name, value in entry.items()
        }
        self._save(path, small)

    def _save(self, path: Path, content: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as stream:
                np.savez(stream, **content)
            Path(name).replace(path)
            self._written += 1
            if self._written % _PRUNE_EVERY == 0:
                self._prune()

    def _prune(self) -> None:
        assert self._folder is not None
        files = sorted(self._folder.glob("*/*.npz"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - self._on_disk)]:
            path.unlink(missing_ok=True)


def _extra_key(sha256: str, encoder: _Extra) -> str:
    return f"{sha256}-{encoder.features_id}"


def _load(path: Path | None, names: Sequence[str]) -> dict[str, Array] | None:
    if path is None:
        return None
    # A damaged file is as good as none: the features are computed again.
    broken = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*broken), np.load(path) as stored:
        return {name: np.asarray(stored[name], np.float32) for name in names}
    return None
