"""From which value on a measurement is put in words: one limit for the checks of a verdict and its report."""

from __future__ import annotations

from typing import Final

FAST_DROP: Final = 0.8
"""Standing heights per second. Who sits down sinks at about half of that."""
FAST_LIMBS: Final = 2.0
"""Heights per second of wrists or ankles against their own body."""
HARD_STOP: Final = 1.5
"""A vehicle's own lengths per second, lost within one second."""
