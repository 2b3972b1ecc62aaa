"""Stops calling a server that keeps failing, and tries again after a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.errors import ModelUnavailable


class Circuit:
    """Opens after ``limit`` failures in a row; lets one trial call through every ``pause_s`` seconds.

    Args:
        limit: Failures in a row that open it.
        pause_s: How long calls are refused at once.
        clock: Monotonic seconds.
    """

    def __init__(
        self, limit: int = 5, pause_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._closed_at = 0.0
        self._lock = threading.Lock()

    def enter(self, server: str) -> None:
        """Call before a request. Raises ModelUnavailable while the circuit is open."""
        with self._lock:
            wait_s = self._closed_at - self._clock()
            if self._failures >= self._limit and wait_s > 0:
                raise ModelUnavailable(
                    f"model server {server} failed {self._failures} times in a row",
                    hint=f"it is tried again in {wait_s:.0f} s",
                )
            if self._failures >= self._limit:
                # This call is the trial; the others wait for its outcome.
                self._closed_at = self._clock() + self._pause_s

    def succeeded(self) -> None:
        """The server answered."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """The server did not answer, or not for reasons of its own."""
        with self._lock:
            self._failures += 1
            self._closed_at = self._clock() + self._pause_s
