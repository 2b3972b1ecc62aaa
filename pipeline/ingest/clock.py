"""Stream time: container timestamps made strictly rising, and the choice of frames to look at."""

from __future__ import annotations

import math

FALLBACK_FPS = 25.0
"""Assumed where a container does not tell a believable frame rate."""
_RESET_S = 1.0


class StreamClock:
    """Turns raw container timestamps into strictly rising stream time.

    Containers lie in known ways: no timestamps at all, a frame that is a little late, a clock that starts
    again in the middle. A small step back is bridged with one frame's time, a large one shifts all that
    follows. Steps forward are believed: files with a variable frame rate have them.

    Args:
        fps: Nominal frame rate; an unbelievable one is replaced by 25.
    """

    def __init__(self, fps: float) -> None:
        self.fps = believable_fps(fps)
        self._offset_s = 0.0
        self._last_s: float | None = None
        self._last_raw: float | None = None

    def tick(self, raw_s: float) -> float:
        """Stream time of the next frame, given the container's."""
        step = 1.0 / self.fps
        if self._last_s is None:
            # A stream may start anywhere; its own time starts at its first frame.
            self._offset_s = -raw_s if math.isfinite(raw_s) else 0.0
            self._last_raw = raw_s
            self._last_s = 0.0
            return 0.0
        time_s = raw_s + self._offset_s if math.isfinite(raw_s) else -math.inf
        if time_s <= self._last_s:
            repeated = raw_s == self._last_raw
            repaired = self._last_s + step
            if not repeated and math.isfinite(time_s) and self._last_s - time_s > _RESET_S:
                self._offset_s += repaired - time_s
            time_s = repaired
        self._last_raw = raw_s
        self._last_s = time_s
        return time_s


class Sampler:
    """Picks frames at about a given rate from a grid in stream time.

    Args:
        fps: Frames a second to pick; ``None`` picks all.
    """

    def __init__(self, fps: float | None) -> None:
        self._step = None if fps is None else 1.0 / fps
        self._next_s = 0.0

    def wants(self, t_s: float) -> bool:
        """Whether the frame at this time is picked. Call once a frame, in order."""
        if self._step is None:
            return True
        # Half a millisecond of grace: containers round timestamps.
        if t_s + 5e-4 < self._next_s:
            return False
        self._next_s = max(self._next_s + self._step, t_s + 0.5 * self._step)
        return True


def believable_fps(fps: float) -> float:
    """The frame rate, or 25 when it is missing or absurd."""
    return fps if math.isfinite(fps) and 0.1 <= fps <= 240.0 else FALLBACK_FPS
