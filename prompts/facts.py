"""Turns detector evidence into the two short lines a prompt shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.types import Evidence, JsonScalar
from prompts.clean import clean, word

_UNITS = {"s": "s", "ms": "ms", "deg": "deg", "px": "px", "pct": "%", "m": "m", "hz": "Hz"}
_NAME_LIMIT = 32
_VALUE_LIMIT = 24


def number(value: float) -> str:
    """Two significant digits, no exponent, no trailing zero: 0.4137 -> ``0.41``, 78.26 -> ``78``."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fact_phrase(name: str, value: JsonScalar) -> str:
    """``still_s`` 3.21 -> ``still 3.2 s``; ``torso_angle_deg`` 78.3 -> ``torso angle 78 deg``."""
    stem, _, last = name.rpartition("_")
    unit = _UNITS.get(last, "") if stem else ""
    label = clean((stem if unit else name).replace("_", " "), _NAME_LIMIT)
    if value is None:
        shown = "unknown"
    elif isinstance(value, bool):
        return label if value else f"no {label}"
    elif isinstance(value, (int, float)):
        shown = number(float(value))
    else:
        return f"{label} {word(value, _VALUE_LIMIT)}"
    return f"{label} {shown} {unit}".rstrip() if shown != "unknown" else f"{label} unknown"


def measured(evidence: Evidence, preferred: Sequence[str], limit: int) -> list[str]:
    """At most ``limit`` measurements, the preferred names first, then the others by name.

    What was found not to be so is left out: it would push out what was.
    """
    held = [name for name, value in evidence.facts.items() if value is not False]
    names = [name for name in preferred if name in held]
    names += sorted(name for name in held if name not in preferred)
    return [fact_phrase(name, evidence.facts[name]) for name in names[:limit]]


def seen(evidence: Evidence, limit: int) -> list[str]:
    """At most ``limit`` labels with their count and best score, strongest first: ``2 person (0.9)``."""
    best: dict[str, float] = {}
    for item in evidence.objects:
        best[item.label] = max(best.get(item.label, 0.0), item.score)
    for label in evidence.counts:
        best.setdefault(label, 0.0)
    ranked = sorted(best, key=lambda label: (-best[label], label))[:limit]
    lines = []
    for label in ranked:
        count = max(1, int(evidence.counts.get(label, 1)))
        score = f" ({best[label]:.1f})" if best[label] else ""
        lines.append(f"{count} {word(label)}{score}")
    return lines
