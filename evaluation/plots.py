"""The plots of reports and notebooks, as matplotlib figures and as SVG text."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from typing import Any

from evaluation.curves import calibration_bins, labelled, precision_recall, threshold_sweep
from evaluation.metrics import Evaluation
from evaluation.outcomes import Clip

INK, PAPER, FALSE, REAL, SOFT = "#1c2430", "#ffffff", "#c2571a", "#1f6f8b", "#9aa5b1"
SIZE = (4.6, 3.4)

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "sitrep",
    "legend.frameon": False,
}


def plot_precision_recall(clips: Sequence[Clip]) -> Any:
    """Precision over recall, the share of real candidates as the line of no skill; ``None`` without data."""
    curve = precision_recall(clips)
    if curve is None:
        return None
    figure, axes = _axes("Precision and recall of the score", "recall", "precision")
    axes.step([0, *curve.x], [curve.y[0], *curve.y], where="pre", color=REAL, linewidth=1.8, label="score")
    base = float(labelled(clips)[1].mean())
    axes.axhline(base, color=SOFT, linewidth=1, linestyle="--", label=f"no judgement: {base:.2f}")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
    axes.legend(loc="best", frameon=False)
    return figure


def plot_calibration(clips: Sequence[Clip]) -> Any:
    """Share of real candidates over the mean score of each bin, with the number in it."""
    bins = calibration_bins(clips)
    if not bins:
        return None
    figure, axes = _axes("Calibration: does 0.8 mean 80 %?", "mean score of the bin", "share that is real")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    axes.plot([one.score for one in bins], [one.real for one in bins], color=REAL, linewidth=1.2, zorder=2)
    axes.scatter(
        [one.score for one in bins],
        [one.real for one in bins],
        s=[18 + 6 * one.n**0.5 * 3 for one in bins],
        color=REAL,
        edgecolor=PAPER,
        zorder=3,
    )
    for one in bins:
        below = one.real > 0.85
        axes.annotate(
            str(one.n),
            (one.score, one.real),
            xytext=(0, -15 if below else 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.06, 1.1))
    return figure


def plot_sweep(clips: Sequence[Clip]) -> Any:
    """False-alarm cut and incident retention over one threshold for all, and where the run was."""
    sweep = threshold_sweep(clips)
    if sweep is None:
        return None
    figure, axes = _axes("What another threshold would do", "a person sees scores from", "share of clips")
    axes.plot(sweep.thresholds, sweep.retention, color=REAL, linewidth=1.8, label="incident retention")
    axes.plot(sweep.thresholds, sweep.cut, color=FALSE, linewidth=1.8, label="false-alarm cut")
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.05))
    if sweep.point:
        cut, retention = sweep.point
        # Lines, not points: a policy has a threshold for each type, so it lies at no one place on this axis.
        for share, colour, name in ((retention, REAL, "retention"), (cut, FALSE, "cut")):
            said = f"{name} of this run: {share:.2f}"
            axes.axhline(share, color=colour, linewidth=1.2, linestyle=":", label=said)
    axes.legend(loc="best", fontsize=8, frameon=False)
    return figure


def plot_operating(clips: Sequence[Clip]) -> Any:
    """Retention over cut for every threshold, the run's operating point marked."""
    sweep = threshold_sweep(clips)
    if sweep is None:
        return None
    figure, axes = _axes("Trade-off", "false-alarm cut", "incident retention")
    axes.plot(sweep.cut, sweep.retention, color=INK, linewidth=1.6)
    axes.axhline(0.95, color=SOFT, linewidth=1, linestyle="--")
    axes.annotate("0.95", (0.0, 0.95), xytext=(2, 3), textcoords="offset points", fontsize=8, color=SOFT)
    if sweep.point:
        cut, retention = sweep.point
        said = f"this run: cut {cut:.2f}, retention {retention:.2f}"
        axes.plot([cut], [retention], marker="D", color=FALSE, markersize=8, linestyle="", label=said)
        axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.05))
    return figure


def plot_types(evaluation: Evaluation) -> Any:
    """False alarms before and after judgement, by event type."""
    before = {name: part["false_alarms_before"].value or 0 for name, part in evaluation.by_type.items()}
    names = [name for name in sorted(before, key=lambda name: before[name]) if before[name]]
    if not names:
        return None
    figure, axes = _axes("False alarms by suspected type", "benign clips", "", height=1.2 + 0.34 * len(names))
    after = [evaluation.by_type[name]["false_alarms_after"].value or 0 for name in names]
    axes.barh(names, [before[name] for name in names], color=SOFT, height=0.66, label="detectors alone")
    axes.barh(names, after, color=FALSE, height=0.42, label="reaching a person")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def as_svg(figure: Any) -> str:
    """A figure as an ``<svg>`` element for a page; the figure is closed."""
    if figure is None:
        return ""
    from matplotlib import pyplot

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    # Fixed sizes and the XML prologue have no place inside a page; ids must not repeat across plots.
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text[text.index("<svg") :], count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    unique = f"p{zlib.crc32(text.encode())}_"
    text = re.sub(r'\bid="', f'id="{unique}', text)
    return re.sub(r'(xlink:href="|url\()#', rf"\1#{unique}", text)


def _axes(title: str, x: str, y: str, *, height: float = SIZE[1]) -> tuple[Any, Any]:
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(SIZE[0], height), layout="constrained")
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return figure, axes
