"""The pictures of an event, as frame sources: decoded images, or a stretch of a clip."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from pipeline.detect.keyframes import shrink
from pipeline.detect.reported import LEAD_S, TAIL_S
from pipeline.errors import InboundError, SourceError
from pipeline.ingest import open_source
from pipeline.ingest.sniff import EXTENSIONS, Kind, sniff
from pipeline.interfaces import FrameSource, SourceInfo
from pipeline.types import Frame, Image

MAX_PIXELS = 50_000_000
_KEPT_SIDE = 1920


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image and its time from the first moment of the event."""

    data: bytes
    t_s: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images in order of time."""

    pictures: tuple[Picture, ...]

    def digest(self) -> bytes:
        """Hash of all bytes and times."""
        digest = hashlib.sha256()
        for one in self.pictures:
            digest.update(f"{one.t_s:.3f}:{len(one.data)}:".encode() + one.data)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file on this machine; the event lies between ``from_s`` and ``to_s``, ``None``: to its ends.

    Attributes:
        file: Where it is now.
        name: What it is called in reports; no credentials.
        from_s: First moment of the event.
        to_s: Last moment.
        at_s: The moment that shows it best.
    """

    file: Path
    name: str
    from_s: float | None = None
    to_s: float | None = None
    at_s: float | None = None

    def digest(self) -> bytes:
        """Hash of the file."""
        with self.file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()


Media = Pictures | Clip


def in_order(pictures: Sequence[Picture]) -> Pictures:
    """Pictures by time.

    Raises:
        InboundError: None, or two of the same moment.
    """
    ordered = tuple(sorted(pictures, key=lambda one: one.t_s))
    for early, late in pairwise(ordered):
        if late.t_s - early.t_s < 1e-3:
            raise InboundError(
                f"two images are of the same moment ({late.t_s:g} s)",
                hint="give each its t_s, in seconds from the first",
            )
    return Pictures(ordered)


def decoded(data: bytes, number: int) -> Image:
    """An image as its camera meant it to be seen, BGR, longer side at most 1920 px.

    Raises:
        InboundError: It cannot be decoded, or is absurdly large.
    """
    where = f"image {number}"
    if sniff(data[:256]) not in (Kind.JPEG, Kind.PNG, Kind.BMP, Kind.WEBP):
        raise InboundError(
            f"{where} is not a picture ({sniff(data[:256]).value})", hint="send JPEG, PNG or WebP"
        )
    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise InboundError(
                    f"{where}: {opened.width} x {opened.height} pixels are too many", hint="scale it down"
                )
            if min(opened.width, opened.height) < 16:
                raise InboundError(f"{where}: {opened.width} x {opened.height} pixels show nothing")
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InboundError(f"{where} is damaged or cut short: {reason}", hint="send it again") from error
    rgb = np.asarray(picture, np.uint8)
    return shrink(np.ascontiguousarray(rgb[:, :, ::-1]), _KEPT_SIDE)


class PictureSource:
    """Decoded images as a stream; a single one is a still.

    Args:
        pictures: In order of time.
        name: What to call them.

    Raises:
        InboundError: One cannot be decoded, or they differ in size.
    """

    def __init__(self, pictures: Pictures, name: str) -> None:
        images = [decoded(one.data, number) for number, one in enumerate(pictures.pictures)]
        if len({image.shape for image in images}) > 1:
            raise InboundError(
                "the images differ in size", hint="send images of one camera at one resolution"
            )
        self._frames = [
            Frame(image, one.t_s, number)
            for number, (image, one) in enumerate(zip(images, pictures.pictures, strict=True))
        ]
        height, width = images[0].shape[:2]
        # Live: what is known by its name, not by a file's content.
        self.info = SourceInfo(name, name, width, height, 0.0, len(images), len(images) == 1, is_live=True)

    def frames(self) -> Iterator[Frame]:
        """All of them."""
        yield from self._frames

    def close(self) -> None:
        """Nothing to release."""


class StretchSource:
    """The part of a clip around an event.

    Args:
        inner: The whole clip.
        from_s: First moment wanted.
        to_s: Last moment wanted.
    """

    def __init__(self, inner: FrameSource, from_s: float, to_s: float) -> None:
        self._inner, self._from_s, self._to_s = inner, from_s, to_s
        self.info = inner.info

    def frames(self) -> Iterator[Frame]:
        """Frames of the stretch, in the clip's time. A clip that breaks off after them was whole enough."""
        given = 0
        try:
            for frame in self._inner.frames():
                if frame.t_s > self._to_s:
                    return
                if frame.t_s >= self._from_s:
                    given += 1
                    yield frame
        except SourceError:
            if not given:
                raise

    def close(self) -> None:
        """Release the decoder."""
        self._inner.close()


def open_clip(clip: Clip, fps: float) -> FrameSource:
    """The clip as frames.

    Raises:
        InboundError: It holds no usable picture.
    """
    try:
        return open_source(clip.file, fps=fps)
    except SourceError as error:
        # Where the file lies on this machine is nobody's business.
        said = error.message.replace(str(clip.file), f"clip {clip.name}")
        raise InboundError(said, hint=error.hint) from error


def named_by_content(file: Path, name: str) -> Path:
    """Rename a file that was just written so that its extension says what it is; where it is now.

    Raises:
        InboundError: It is no video Sitrep reads.
    """
    with file.open("rb") as stream:
        kind = sniff(stream.read(256))
    suffix = next((suffix for suffix, meant in EXTENSIONS.items() if meant is kind), None)
    if suffix is None:
        raise InboundError(f"clip {name} is not a video ({kind.value})", hint="send MP4, MKV, WebM or AVI")
    return file.rename(file.with_suffix(suffix))


def stretch(clip: Clip, source: FrameSource, start_s: float, end_s: float) -> FrameSource:
    """The part to look at, with the lead and tail that key frames need."""
    if source.info.is_still:
        return source
    return StretchSource(source, max(0.0, start_s - LEAD_S), end_s + TAIL_S)
