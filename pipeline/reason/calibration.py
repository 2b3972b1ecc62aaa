"""Turns a model's log-odds into a probability that was checked against labelled data.

A calibration belongs to one model, to one event type, and where it says so to one prompt. Files are JSON:

    {"model": ID, "prompt": "incident@1.0.0" (optional), "types": {TYPE: {"a", "b", "n", "escalate_at",
     "dismiss_below"} or {"x": [...], "y": [...], "n", ...}}}

``a``/``b`` is Platt scaling (Platt 1999): p = sigmoid(a * log_odds + b). ``x``/``y`` are the knots of an
isotonic fit (Zadrozny and Elkan 2002), read by linear interpolation. ``still`` beside them is another such
fit, for candidates without motion: one picture says less than three. Without one the plain sigmoid is used
and the verdict says ``calibrated: false``.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.decide.decision import Thresholds
from pipeline.errors import ConfigError
from pipeline.types import EventType


class TypeCalibration(BaseModel):
    """The fit for one event type; other keys (quality figures of the fit) are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    a: float | None = None
    b: float | None = None
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    n: int = Field(ge=1)
    escalate_at: float | None = Field(None, ge=0, le=1)
    dismiss_below: float | None = Field(None, ge=0, le=1)
    still: TypeCalibration | None = None

    @model_validator(mode="after")
    def _one_method(self) -> TypeCalibration:
        platt = self.a is not None and self.b is not None
        knots = len(self.x) >= 2 and len(self.x) == len(self.y) and list(self.x) == sorted(self.x)
        if platt == knots:
            raise ValueError("needs either a and b, or x and y of one length with rising x")
        if platt and self.a is not None and self.a <= 0:
            raise ValueError("a must be above 0: a higher score must never mean a lower probability")
        if knots and (list(self.y) != sorted(self.y) or not 0 <= self.y[0] <= self.y[-1] <= 1):
            raise ValueError("y must rise within 0..1")
        return self

    def probability(self, log_odds: float) -> float:
        """Calibrated probability, 0..1."""
        if self.a is not None and self.b is not None:
            return sigmoid(self.a * log_odds + self.b)
        return float(np.interp(log_odds, self.x, self.y))

    def thresholds(self) -> Thresholds | None:
        """The operating point found on validation data, if the file names one."""
        if self.escalate_at is None or self.dismiss_below is None:
            return None
        return Thresholds(self.escalate_at, min(self.dismiss_below, self.escalate_at))


class CalibrationFile(BaseModel):
    """One calibration file; keys beside these describe how it was made and are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: str | None = None
    vision: str | None = None
    prompt: str | None = None
    types: dict[EventType, TypeCalibration]

    @property
    def named(self) -> str:
        """The model, or the part of it, that the file is for."""
        return self.model or self.vision or ""

    @model_validator(mode="after")
    def _for_something(self) -> CalibrationFile:
        if not self.named:
            raise ValueError("names no model")
        return self


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A score read through a calibration, or through the plain sigmoid."""

    probability: float
    calibrated: bool
    thresholds: Thresholds | None


class Calibrations:
    """All calibration files; the first that fits wins, so put the installation's own before shipped ones."""

    def __init__(self, files: tuple[CalibrationFile, ...] = ()) -> None:
        self._files = files

    def read(
        self, log_odds: float, model: str, prompt: str, event: EventType, *, still: bool = False
    ) -> Calibrated:
        """Probability and operating point for finite ``log_odds``.

        Args:
            log_odds: The model's score.
            model: Id of the model.
            prompt: Reference of the prompt.
            event: What the trigger suspects.
            still: The candidate has no motion view.
        """
        for file in self._files:
            if belongs(file.named, model) and file.prompt in (None, prompt) and event in file.types:
                fit = file.types[event]
                fit = fit.still or fit if still else fit
                return Calibrated(fit.probability(log_odds), True, fit.thresholds())
        return Calibrated(sigmoid(log_odds), False, None)


def belongs(named: str, model: str) -> bool:
    """Whether a calibration for ``named`` holds for ``model``.

    Model ids read ``BACKEND:NAME@PART+PART``. A file may name all of it, ``BACKEND:NAME`` for every version,
    or one part, when the log-odds come from that part.
    """
    return named == model or model.startswith(f"{named}@") or named in re.split(r"[@+]", model)[1:]


def load_calibrations(*paths: Path) -> Calibrations:
    """Read calibration files, the strongest first.

    Raises:
        ConfigError: A file is broken.
    """
    return Calibrations(tuple(read_calibration(path) for path in paths))


def read_calibration(path: Path) -> CalibrationFile:
    """Read one file. Raises ConfigError when it is broken."""
    try:
        return CalibrationFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"calibration {path}: '{where}': {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"calibration {path} cannot be read: {error}") from error


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-min(value, 700.0)))
    grown = math.exp(max(value, -700.0))
    return grown / (1 + grown)
