"""Rows of the store as templates show them: words, rounded numbers, boxes in pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Words = Callable[[Any], str]
_SUFFIXES = {
    "_s": "s",
    "_ms": "ms",
    "_deg": "°",
    "_px": "px",
    "_fps": "fps",
    "_hz": "Hz",
    "_m": "m",
    "_pct": "%",
}
_MOMENTS = {"before": 0, "peak": 1, "after": 2}
_VIEWS = {"full": 0, "region": 1, "motion": 2, "clip": 3}
_NO_THUMBNAILS = frozenset({"motion", "clip"})
"""Views of more than one moment."""
_NEAR_S = 0.5
"""A stored box belongs to one moment; further away the thing has moved."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box over a picture, in its pixels."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A key frame with what is drawn over it."""

    sha256: str
    view: str
    moment: str
    t_s: float
    width: int
    height: int
    boxes: tuple[Drawn, ...]

    @property
    def line(self) -> float:
        """Size of a label, so that it reads the same on every resolution."""
        return max(self.height, self.width * 0.56) * 0.045


@dataclass(frozen=True, slots=True)
class Fact:
    """A measurement in words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ScoreBar:
    """A score as a bar of 100 units; the marks are the policy's thresholds, where known."""

    percent: float | None
    review: float | None
    escalate: float | None

    @property
    def shown(self) -> str:
        """The score in whole percent; never 0 or 100, which no model can promise."""
        if self.percent is None:
            return "–"
        if self.percent < 1:
            return "< 1 %"
        return "> 99 %" if self.percent > 99 else f"{self.percent:.0f} %"


def score_bar(score: float | None, thresholds: tuple[float, float] | None) -> ScoreBar:
    """The bar of a score in 0..1, with the thresholds ``(review, escalate)``."""
    review, escalate = thresholds or (None, None)
    return ScoreBar(
        None if score is None else score * 100,
        None if review is None else review * 100,
        None if escalate is None else escalate * 100,
    )


def thresholds_of(provenance: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """The thresholds ``(review, escalate)`` a verdict was decided with, as its provenance keeps them."""
    params = (provenance or {}).get("params") or {}
    low, high = params.get("dismiss_below"), params.get("escalate_at")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return float(low), float(high)


def pictures(key_frames: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]) -> list[Picture]:
    """Key frames in the order of time, the whole view of a moment before its close-up."""
    ordered = sorted(
        key_frames,
        key=lambda frame: (_MOMENTS.get(frame["moment"], 9), frame["t_s"], _VIEWS.get(frame["view"], 9)),
    )
    return [_picture(frame, key_frames, evidence.get("objects") or ()) for frame in ordered]


def _picture(
    frame: Mapping[str, Any], all_frames: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]
) -> Picture:
    crop = tuple(frame["box"]) if frame.get("box") else (0.0, 0.0, 1.0, 1.0)
    boxes = [
        _drawn(seen["box"], crop, frame, f"{seen['label']} {seen['score'] * 100:.0f} %", "object")
        for seen in objects
        if abs(seen["t_s"] - frame["t_s"]) <= _NEAR_S and frame["view"] != "clip"
    ]
    if frame["view"] == "full":
        regions = {
            tuple(other["box"])
            for other in all_frames
            if other["view"] == "region" and other["t_s"] == frame["t_s"] and other.get("box")
        }
        boxes += [_drawn(region, crop, frame, "", "region") for region in sorted(regions)]
    return Picture(
        sha256=frame["sha256"],
        view=frame["view"],
        moment=frame["moment"],
        t_s=frame["t_s"],
        width=frame["width"],
        height=frame["height"],
        boxes=tuple(box for box in boxes if box is not None),
    )


def _drawn(
    box: Sequence[float], crop: Sequence[float], frame: Mapping[str, Any], label: str, kind: str
) -> Drawn | None:
    span_x, span_y = crop[2] - crop[0], crop[3] - crop[1]
    if span_x <= 0 or span_y <= 0:
        return None
    inside = [
        min(max((box[0] - crop[0]) / span_x, 0.0), 1.0),
        min(max((box[1] - crop[1]) / span_y, 0.0), 1.0),
        min(max((box[2] - crop[0]) / span_x, 0.0), 1.0),
        min(max((box[3] - crop[1]) / span_y, 0.0), 1.0),
    ]
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    if width < 0.01 or height < 0.01:
        return None
    return Drawn(
        round(inside[0] * frame["width"], 1),
        round(inside[1] * frame["height"], 1),
        round(width * frame["width"], 1),
        round(height * frame["height"], 1),
        label,
        kind,
    )


def thumbnail(key_frames: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The picture that stands for a candidate: its moment, close-up where there is one."""
    usable = [frame for frame in key_frames if frame["view"] not in _NO_THUMBNAILS] or list(key_frames)
    return min(
        usable,
        key=lambda frame: (frame["moment"] != "peak", frame["view"] != "region"),
        default=None,
    )


def facts(measured: Mapping[str, Any]) -> list[Fact]:
    """Measurements with their units, told by the ending of their names."""
    shown = []
    for name, value in measured.items():
        ending = next((end for end in sorted(_SUFFIXES, key=len, reverse=True) if name.endswith(end)), "")
        words = name.removesuffix(ending).replace("_", " ").strip() or name
        shown.append(Fact(words, f"{_number(value)} {_SUFFIXES.get(ending, '')}".strip()))
    return shown


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value and abs(value) < 0.01:
            return f"{value:.1e}"
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
    return "–" if value is None else str(value)


def milliseconds(value: float | None) -> str:
    """A duration of work: ``84 ms``, ``1.3 s``, ``2 min 5 s``."""
    if value is None:
        return "–"
    if value < 1000:
        return f"{value:.0f} ms"
    if value < 60_000:
        return f"{value / 1000:.1f} s"
    return f"{int(value // 60_000)} min {int(value % 60_000 // 1000)} s"


def age(moment: datetime | None, words: Words, now: datetime | None = None) -> str:
    """How long ago: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    if moment is None:
        return "–"
    return span(((now or datetime.now(UTC)) - moment).total_seconds(), words)


def span(seconds: float, words: Words) -> str:
    """A length of time in its largest whole unit; under two seconds with a tenth."""
    if 0 < seconds < 2:
        return f"{seconds:.1f} {words('seconds')}"
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {words(unit)}"
    return f"{max(seconds, 0):.0f} {words('seconds')}"


def clock(moment: datetime | None) -> str:
    """Wall clock of the control room: time, and the date when it is not today."""
    if moment is None:
        return "–"
    local, today = moment.astimezone(), datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S") if local.date() == today else local.strftime("%Y-%m-%d %H:%M:%S")


def stream_time(seconds: float) -> str:
    """A place in a stream: ``0:07.4``, ``1:02:03.0``."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
