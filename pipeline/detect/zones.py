"""Places in a camera's picture: polygons and lines in shares of the frame, whatever its resolution."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.types import Box

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Zone:
    """An area of the picture.

    Attributes:
        name: What people call it.
        polygon: Corners as shares of width and height, at least three; closed by itself.

    Raises:
        ConfigError: It has fewer than three corners or one outside the frame.
    """

    name: str
    polygon: tuple[Point, ...]

    def __post_init__(self) -> None:
        _check(self.name, self.polygon, 3)

    def contains(self, point: Point) -> bool:
        """Whether a point lies inside (even-odd rule)."""
        inside = False
        x, y = point
        previous = self.polygon[-1]
        for corner in self.polygon:
            (x1, y1), (x2, y2) = previous, corner
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
            previous = corner
        return inside


@dataclass(frozen=True, slots=True)
class Line:
    """A line to cross.

    Attributes:
        name: What people call it.
        start: One end, shares of width and height.
        end: The other end.

    Raises:
        ConfigError: An end lies outside the frame.
    """

    name: str
    start: Point
    end: Point

    def __post_init__(self) -> None:
        _check(self.name, (self.start, self.end), 2)

    def crossed(self, before: Point, after: Point) -> int:
        """Which way a step crosses the line.

        Returns:
            +1 from its left to its right (seen from start to end in the picture), -1 the other way, 0 when
            the step does not cross it.
        """
        one, two = _side(self.start, self.end, before), _side(self.start, self.end, after)
        three, four = _side(before, after, self.start), _side(before, after, self.end)
        if one * two >= 0 or three * four > 0:
            return 0
        return 1 if one < 0 else -1


def foot(box: Box) -> Point:
    """Where somebody stands: the middle of the lower edge of their box."""
    return ((box[0] + box[2]) / 2, box[3])


def _side(start: Point, end: Point, point: Point) -> float:
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _check(name: str, points: tuple[Point, ...], least: int) -> None:
    if len(points) < least or any(not 0.0 <= value <= 1.0 for point in points for value in point):
        raise ConfigError(
            f"zone '{name}': {len(points)} points",
            hint=f"give at least {least} points as shares of width and height, each 0 to 1",
        )


WHOLE_FRAME = Zone("", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
"""The zone of a camera that has none."""
