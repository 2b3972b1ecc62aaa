"""Fit what turns a model's log-odds into a probability, per event type, on validation data only.

Platt scaling (Platt 1999, with his smoothed targets) by default, isotonic regression (Zadrozny & Elkan
2002) from 1,000 candidates of a type on, below which it overfits (Niculescu-Mizil & Caruana 2005).
The quality figures in the file come from cross-validation by group, never from the data of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlog1py, xlogy

from evaluation.bootstrap import Floats, rounded
from evaluation.dataset import DatasetError
from evaluation.outcomes import Judged
from evaluation.runs import Run
from evaluation.scores import BINS, bin_of

MIN_OF_EACH = 30
"""Real and false candidates a fit needs of each event type."""
MIN_GROUPS = 10
"""Independent scenes that each of the two must come from."""
ISOTONIC_FROM = 1000
FOLDS = 5

Method = Literal["auto", "platt", "isotonic"]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled candidates of one event type: (N,) log-odds, truths, group names."""

    log_odds: Floats
    real: Bools
    groups: tuple[str, ...]

    def missing(self) -> str | None:
        """What is still missing for a fit, in words, or ``None``."""
        wants = []
        for word, held in (("real", self.real), ("false", ~self.real)):
            scenes = len({group for group, one in zip(self.groups, held, strict=True) if one})
            if (short := MIN_OF_EACH - int(held.sum())) > 0:
                wants.append(f"{short} more {word} candidates")
            elif scenes < MIN_GROUPS:
                wants.append(f"{word} candidates from {MIN_GROUPS - scenes} more scenes")
        return " and ".join(wants) or None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The content of a calibration file and, for each event type left out, why."""

    content: dict[str, Any]
    refused: dict[str, str]


def calibrate(
    run: Run,
    *,
    method: Method = "auto",
    retention: float = 0.97,
    precision: float = 0.8,
) -> Calibration:
    """Fit every event type of a run that has enough labelled candidates.

    Args:
        run: A finished run over data marked ``val``.
        method: ``auto`` takes Platt, and isotonic from 1,000 candidates.
        retention: ``dismiss_below`` keeps at least this share of the real candidates.
        precision: ``escalate_at`` is the lowest score from which on this share is real.

    Raises:
        DatasetError: Not a finished validation run of one model and one prompt, or no type has enough.
    """
    model, prompt = _only_one(run)
    content: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "fitted_on": {"dataset_sha256": run.dataset_sha256, "split": "val", "clips": len(run.clips)},
        "operating_point": {"retention": retention, "precision": precision},
        "types": {},
    }
    refused: dict[str, str] = {}
    for event_type, examples in sorted(_examples(run).items()):
        if missing := examples.missing():
            refused[event_type] = f"too few: {missing} needed"
            continue
        chosen = method if method != "auto" else _method_for(examples)
        fit = _fit(examples, chosen)
        if fit is None:
            refused[event_type] = "its score does not rise with the truth: nothing to calibrate"
            continue
        content["types"][event_type] = {
            **fit,
            "n": len(examples.real),
            **_operating_point(_apply(fit, examples.log_odds), examples.real, retention, precision),
            **_quality(examples, chosen),
        }
    if not content["types"]:
        reasons = "; ".join(f"{name}: {why}" for name, why in refused.items()) or "no candidate has log-odds"
        raise DatasetError(
            f"{run.path} is too small to calibrate on: {reasons}",
            hint=f"each type needs {MIN_OF_EACH} real and {MIN_OF_EACH} false candidates"
            f" from {MIN_GROUPS} scenes each",
        )
    return Calibration(content, refused)


def _only_one(run: Run) -> tuple[str, str]:
    split = run.manifest["dataset"]["split"]
    if split != "val":
        raise DatasetError(
            f"{run.path} is a run over data marked '{split or 'no split'}'",
            hint='calibrate on validation data: rows with "split": "val"; test and dev data stay untouched',
        )
    if not run.done:
        raise DatasetError(f"{run.path} is not finished", hint="run the same sitrep eval again to resume it")
    models, prompts = run.manifest["model_ids"], [one["id"] for one in run.manifest["prompts"]]
    if len(models) != 1 or len(prompts) != 1:
        raise DatasetError(
            f"{run.path} holds {len(models)} models and {len(prompts)} prompts",
            hint="a calibration belongs to one of each: evaluate with --model and --prompt ID@VERSION",
        )
    return models[0], prompts[0]


def _examples(run: Run) -> dict[str, Examples]:
    of_type: dict[str, list[tuple[float, bool, str]]] = {}
    for clip in run.clips:
        for one in clip.candidates:
            if one.real is not None and (value := _log_odds(one)) is not None:
                of_type.setdefault(one.event_type, []).append((value, one.real, clip.truth.group))
    return {
        name: Examples(
            np.array([value for value, _, _ in found], np.float64),
            np.array([real for _, real, _ in found], bool),
            tuple(group for _, _, group in found),
        )
        for name, found in of_type.items()
    }


def _log_odds(one: Judged) -> float | None:
    value = one.row.get("log_odds")
    return None if value is None else float(value)


def _method_for(examples: Examples) -> Literal["platt", "isotonic"]:
    return "isotonic" if len(examples.real) >= ISOTONIC_FROM else "platt"


def _fit(examples: Examples, method: Literal["platt", "isotonic"]) -> dict[str, Any] | None:
    return _isotonic(examples) if method == "isotonic" else platt(examples.log_odds, examples.real)


def platt(log_odds: Floats, real: Bools) -> dict[str, float] | None:
    """Slope ``a`` and offset ``b`` of p = sigmoid(a x + b); ``None`` when the slope is not positive."""
    positives, negatives = int(real.sum()), int((~real).sum())
    target = np.where(real, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # The fit runs on standardised log-odds: the optimiser is then the same for every model's scale.
    middle, spread = float(log_odds.mean()), float(log_odds.std()) or 1.0
    x = (log_odds - middle) / spread

    def loss(parameters: Floats) -> tuple[float, Floats]:
        p = expit(parameters[0] * x + parameters[1])
        error = p - target
        value = -(xlogy(target, p) + xlog1py(1 - target, -p)).sum()
        return float(value), np.array([(error * x).sum(), error.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", tol=1e-12)
    a = float(found.x[0]) / spread
    if a <= 0:
        return None
    return {"a": rounded(a), "b": rounded(float(found.x[1]) - a * middle)}


def _isotonic(examples: Examples) -> dict[str, Any] | None:
    from sklearn.isotonic import IsotonicRegression

    # Values of 0 and 1 would claim certainty from a finite sample.
    edge = 1 / (len(examples.real) + 2)
    fit = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    fit.fit(examples.log_odds, examples.real.astype(float))
    x, y = fit.X_thresholds_, fit.y_thresholds_
    if len(x) < 2 or y[-1] <= y[0]:
        return None
    return {"x": [rounded(float(one)) for one in x], "y": [rounded(float(one)) for one in y]}


def _apply(fit: dict[str, Any], log_odds: Floats) -> Floats:
    if "a" in fit:
        return np.asarray(expit(fit["a"] * log_odds + fit["b"]), np.float64)
    return np.asarray(np.interp(log_odds, fit["x"], fit["y"]), np.float64)


def _operating_point(p: Floats, real: Bools, retention: float, precision: float) -> dict[str, float]:
    kept = np.sort(p[real])[::-1]
    dismiss_below = float(kept[int(np.ceil(retention * len(kept))) - 1])
    escalate_at = 1.0
    for threshold in np.unique(p[p >= dismiss_below]):
        if real[p >= threshold].mean() >= precision:
            escalate_at = float(threshold)
            break
    # Rounded down: rounding up would drop the very candidates the threshold was put at.
    return {"escalate_at": _down(escalate_at), "dismiss_below": _down(dismiss_below)}


def _down(value: float) -> float:
    return float(np.floor(value * 1e4) / 1e4)


def _quality(examples: Examples, method: Literal["platt", "isotonic"]) -> dict[str, float | int | None]:
    """Calibration error of the plain sigmoid and, cross-validated by group, of the fit."""
    names = sorted(set(examples.groups))
    order = np.random.default_rng(0).permutation(len(names))
    fold_of = {names[position]: place % FOLDS for place, position in enumerate(order)}
    fold = np.array([fold_of[group] for group in examples.groups])
    held_out = np.full(len(examples.real), np.nan)
    for number in range(FOLDS):
        rest, part = fold != number, fold == number
        kept = Examples(
            examples.log_odds[rest], examples.real[rest], _taken(examples.groups, rest.nonzero()[0].tolist())
        )
        fit = _fit(kept, method) if kept.real.any() and not kept.real.all() else None
        if fit is not None:
            held_out[part] = _apply(fit, examples.log_odds[part])
    known = ~np.isnan(held_out)
    after = _error(held_out[known], examples.real[known]) if known.any() else None
    return {
        "real": int(examples.real.sum()),
        "groups": len(names),
        "ece_before": _error(np.asarray(expit(examples.log_odds), np.float64), examples.real),
        "ece_cross_validated": after,
    }


def _taken(values: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(values[place] for place in places)


def _error(p: Floats, real: Bools) -> float:
    surplus = np.bincount(bin_of(p), p - real, minlength=BINS)
    return rounded(float(np.abs(surplus).sum() / len(p)))
