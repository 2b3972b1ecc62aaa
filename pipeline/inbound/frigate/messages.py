"""What Frigate publishes, as far as Sitrep reads it.

The shapes are those of docs/docs/integrations/mqtt.md in blakeblackshear/frigate at commit
5e68fabe2f7cd8a6bbd95d449730751eccfada15 (topics ``frigate/events`` and ``frigate/reviews``). Frigate adds
keys from release to release, so unknown ones are ignored here, unlike at Sitrep's own edges.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import InboundError

_ID = r"^[\w.:-]{1,120}$"
_NAME = r"^[\w .:-]{1,60}$"


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


_M = TypeVar("_M", bound=_Message)


class TrackedObject(_Message):
    """One tracked object of a camera; ``box`` in pixels of the detect stream at ``frame_time``."""

    id: str = Field(pattern=_ID)
    camera: str = Field(pattern=_NAME)
    label: str = Field(max_length=100)
    frame_time: float | None = None
    start_time: float = Field(gt=0, lt=1e11)
    end_time: float | None = None
    score: float | None = None
    top_score: float | None = None
    box: tuple[float, float, float, float] | None = None
    false_positive: bool = False
    current_zones: tuple[str, ...] = ()
    entered_zones: tuple[str, ...] = ()
    has_clip: bool = False
    has_snapshot: bool = False

    @property
    def best_score(self) -> float:
        """Its highest score so far, 0..1."""
        return min(1.0, max(self.top_score or 0.0, self.score or 0.0, 0.0))

    @property
    def zones(self) -> tuple[str, ...]:
        """Zones it is or was in."""
        return tuple(dict.fromkeys([*self.current_zones, *self.entered_zones]))


class EventMessage(_Message):
    """A message of ``frigate/events``."""

    type: Literal["new", "update", "end"]
    after: TrackedObject


class ReviewData(_Message):
    """What a review item is made of: ids of tracked objects, labels, zones."""

    detections: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()


class ReviewItem(_Message):
    """Activity of a camera that somebody should review."""

    id: str = Field(pattern=_ID)
    camera: str = Field(pattern=_NAME)
    start_time: float = Field(gt=0, lt=1e11)
    end_time: float | None = None
    severity: str
    data: ReviewData


class ReviewMessage(_Message):
    """A message of ``frigate/reviews``."""

    type: Literal["new", "update", "end", "genai"]
    after: ReviewItem


class _Detect(_Message):
    width: Annotated[int, Field(gt=0)] | None = None
    height: Annotated[int, Field(gt=0)] | None = None


class _Camera(_Message):
    detect: _Detect = _Detect()


class Config(_Message):
    """``GET /api/config``: the size of each camera's detect stream, which boxes refer to."""

    cameras: dict[str, _Camera] = {}

    def size(self, camera: str) -> tuple[int, int] | None:
        """Width and height of a camera's detect stream, when Frigate tells."""
        detect = self.cameras[camera].detect if camera in self.cameras else _Detect()
        return (detect.width, detect.height) if detect.width and detect.height else None


def read_event(payload: bytes) -> EventMessage:
    """Parse a message of ``frigate/events``. Raises InboundError."""
    return _read(EventMessage, payload, "frigate/events")


def read_review(payload: bytes) -> ReviewMessage:
    """Parse a message of ``frigate/reviews``. Raises InboundError."""
    return _read(ReviewMessage, payload, "frigate/reviews")


def _read(model: type[_M], payload: bytes, topic: str) -> _M:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise InboundError(
            f"a message on {topic} cannot be read: {where}: {first['msg']}",
            hint="is this topic Frigate's, and its release known to Sitrep?",
        ) from error
