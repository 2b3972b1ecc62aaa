"""What a detector outside Sitrep sends: the edge, checked by pydantic."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pipeline.detect.reported import ReportedBox
from pipeline.errors import InboundError
from pipeline.types import Box, EventType

MAX_IMAGES = 16
MAX_BOXES = 200
_DAY_S = 86_400.0
Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w][\w .:/@+-]*$")]
"""Names that reach pages and prompts: letters, digits, space and ``_ . : / @ + -``."""
Seconds = Annotated[float, Field(ge=0, le=_DAY_S, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=20_000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Edge(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BoxIn(_Edge):
    """One box: ``x1, y1, x2, y2`` in shares of the picture, or pixels when ``image_size`` is given."""

    label: Name
    score: Share
    box: tuple[float, float, float, float]
    t_s: Seconds | None = Field(None, description="Time in the clip, or of the image; none: all through.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not all(math.isfinite(value) for value in self.box):
            raise ValueError("a corner is not a number")
        if self.box[0] >= self.box[2] or self.box[1] >= self.box[3]:
            raise ValueError("corners are x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        return self


class ImageIn(_Edge):
    """One picture, base64; ``t_s`` counts from the first moment of the event."""

    data: str = Field(min_length=1)
    t_s: Seconds | None = None

    def decoded(self) -> bytes:
        """The encoded picture; a ``data:`` prefix is taken off. Raises InboundError."""
        text = self.data.partition(",")[2] if self.data.startswith("data:") else self.data
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InboundError("an image's data is not base64", hint="encode the file's bytes") from error


class ClipIn(_Edge):
    """Where the clip is and which part of it is the event, in seconds of the clip."""

    url: str | None = Field(None, max_length=2000, pattern=r"^https?://")
    path: str | None = Field(None, max_length=1000)
    from_s: Seconds | None = None
    to_s: Seconds | None = None
    at_s: Seconds | None = Field(None, description="The moment that shows the event best.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.url is not None and self.path is not None:
            raise ValueError("give url or path, not both")
        if self.from_s is not None and self.to_s is not None and self.from_s > self.to_s:
            raise ValueError("from_s lies after to_s")
        return self


class DetectionIn(_Edge):
    """One event of a detector.

    Pictures come inside ``images``, as parts of a multipart request, or as a ``clip``.
    """

    camera: Name
    event_type: EventType
    started_at: AwareDatetime = Field(description="Clock time of the event's first moment, with its zone.")
    score: Share = Field(description="The detector's own score; shown as evidence, it decides nothing.")
    detector: Name = "detector"
    event_id: str | None = Field(
        None, min_length=1, max_length=200, description="The detector's own id: sent twice, it is one event."
    )
    zone: Name | None = None
    boxes: Annotated[tuple[BoxIn, ...], Field(max_length=MAX_BOXES)] = ()
    image_size: tuple[Pixels, Pixels] | None = Field(
        None, description="Width and height that boxes in pixels refer to."
    )
    images: Annotated[tuple[ImageIn, ...], Field(max_length=MAX_IMAGES)] = ()
    image_times: Annotated[tuple[Seconds, ...], Field(max_length=MAX_IMAGES)] = Field(
        (), description="Times of the images of a multipart request, in order."
    )
    clip: ClipIn | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.images and self.clip is not None:
            raise ValueError("give images or a clip, not both")
        width, height = self.image_size or (1, 1)
        for number, box in enumerate(self.boxes):
            if not (
                -0.02 * width <= box.box[0]
                and box.box[2] <= 1.02 * width
                and -0.02 * height <= box.box[1]
                and box.box[3] <= 1.02 * height
            ):
                unit = "image_size" if self.image_size else "0..1 (give image_size when they are pixels)"
                raise ValueError(f"boxes.{number} lies outside {unit}")
        return self

    def reported(self) -> tuple[ReportedBox, ...]:
        """The boxes in shares of the picture, clipped to it."""
        width, height = self.image_size or (1, 1)

        def shares(box: Box) -> Box:
            x1, y1, x2, y2 = (
                min(max(value / size, 0.0), 1.0)
                for value, size in zip(box, (width, height, width, height), strict=True)
            )
            return (round(x1, 4), round(y1, 4), round(x2, 4), round(y2, 4))

        return tuple(ReportedBox(one.label, one.score, shares(one.box), one.t_s) for one in self.boxes)

    def wall_time(self) -> str:
        """``started_at`` as candidates keep it: ISO 8601, UTC."""
        return self.started_at.astimezone(UTC).isoformat(timespec="milliseconds")

    def candidate_id(self, media: bytes) -> str:
        """Sixteen hex digits: the same event gives the same again.

        An event is known by detector, camera, type and ``event_id``; without an id by all it says and shows.

        Args:
            media: A digest of the pictures or the clip.
        """
        parts: list[Any] = [self.detector, self.camera, self.event_type.value]
        if self.event_id is not None:
            parts.append(self.event_id)
        else:
            said = self.model_dump_json(exclude={"images", "event_id"})
            parts += [said, media.hex()]
        return hashlib.sha256("\n".join(["inbound", *map(str, parts)]).encode()).hexdigest()[:16]


def moment(epoch_s: float) -> datetime:
    """Seconds since 1970 as an aware time. Raises ValueError when absurd."""
    try:
        return datetime.fromtimestamp(epoch_s, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{epoch_s} is no time") from error
