"""Still pictures as sources of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from pipeline.errors import SourceError
from pipeline.interfaces import SourceInfo
from pipeline.types import Frame, Image

_MAX_PIXELS = 100_000_000


class StillSource:
    """One picture: one frame at time 0.

    Args:
        path: The file.

    Raises:
        SourceError: It cannot be decoded, is cut short or is absurdly large.
    """

    def __init__(self, path: Path) -> None:
        self._image = read_still(path)
        height, width = self._image.shape[:2]
        self.info = SourceInfo(path.name, str(path), width, height, 0.0, 1, is_still=True)

    def frames(self) -> Iterator[Frame]:
        """The one frame."""
        yield Frame(self._image, 0.0, 0)

    def close(self) -> None:
        """Nothing to release."""


def read_still(path: Path) -> Image:
    """Decode a picture as its camera meant it to be seen (EXIF orientation applied), BGR.

    Raises:
        SourceError: It cannot be decoded, is cut short or is absurdly large.
    """
    try:
        with Pillow.open(path) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise SourceError(
                    f"{path}: {opened.width} x {opened.height} pixels are too many", hint="scale it down"
                )
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError as error:
        raise SourceError(
            f"{path} is not a readable picture", hint="open it in a viewer and save it again"
        ) from error
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path} is damaged or cut short: {reason}", hint="copy it again") from error
    rgb: Image = np.asarray(picture, np.uint8)
    return np.ascontiguousarray(rgb[:, :, ::-1])
