"""Gates for continuous integration: ``--fail-if 'retention<0.95'``.

    [TYPE.]METRIC OP NUMBER      the second run's value, e.g. cut<0.75, fall.retention<0.9
    delta.METRIC OP NUMBER       second run minus first, e.g. delta.retention<-0.02

A gate on a figure that could not be counted fails: silence is not success.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError

SHORT = {
    "retention": "incident_retention",
    "cut": "false_alarm_cut",
    "recall": "flag_recall",
    "ece": "calibration_error",
    "p50": "seconds_to_verdict_p50",
    "p95": "seconds_to_verdict_p95",
}
_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_FORM = re.compile(r"\s*(?:([a-z_]+)\.)?([a-z0-9_]+)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*")
DELTA = "delta"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition under which the comparison fails."""

    text: str
    scope: str | None
    metric: str
    op: str
    bound: float

    def trips(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        """Why it fails, or ``None``. Takes the two runs' ``metrics.json``.

        Raises:
            ConfigError: There is no such metric or event type in the run.
        """
        value = self._read(after)
        if self.scope == DELTA:
            old = self._read(before)
            value = None if value is None or old is None else value - old
        if value is None:
            return f"{self.text}: there was nothing to count"
        return f"{self.text}: it is {value:.4f}" if _OPERATORS[self.op](value, self.bound) else None

    def _read(self, metrics: Mapping[str, Any]) -> float | None:
        if self.scope in (None, DELTA):
            part = metrics["total"]
        elif (part := metrics["by_type"].get(self.scope)) is None:
            there = ", ".join(metrics["by_type"]) or "none"
            raise ConfigError(
                f"--fail-if '{self.text}': the run has no event type '{self.scope}'",
                hint=f"there are: {there}",
            )
        if self.metric not in part:
            raise ConfigError(
                f"--fail-if '{self.text}': there is no metric '{self.metric}'",
                hint=f"there are: {', '.join([*SHORT, *metrics['total']])}",
            )
        value = part[self.metric]["value"]
        return None if value is None else float(value)


def parse_gate(text: str) -> Gate:
    """Read one condition.

    Raises:
        ConfigError: It cannot be read.
    """
    form = _FORM.fullmatch(text)
    if not form:
        raise ConfigError(
            f"--fail-if '{text}' cannot be read", hint="write METRIC<NUMBER, e.g. 'retention<0.95'"
        )
    scope, metric, op, bound = form.groups()
    return Gate(text.strip(), scope, SHORT.get(metric, metric), op, float(bound))
