"""What the choice of key frames does to verdicts: ``python -m evaluation.keyframe_choice RUN``.

Judges every candidate of a run again with some of its key frames only, nothing else changed, and says how
well the scores rank real above false, and what would reach a person. The heads were trained on all views
together; a choice that leaves some out meets them untrained, so this tells what each view is worth to the
model as it is, not what a model trained without it could do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation import lab
from evaluation.bootstrap import Figure, Resampling, ratio
from evaluation.outcomes import Clip, Judged
from evaluation.runs import Run
from evaluation.scores import roc_auc
from pipeline import settings as settings_module
from pipeline.interfaces import Reasoner
from pipeline.types import Action, KeyFrame, Moment, Verdict, View

Frames = tuple[KeyFrame, ...]
_BATCH = 8


def _first_peak(frames: Frames) -> Frames:
    return tuple(f for f in frames if f.moment is Moment.PEAK and f.view is View.FULL)[:1]


CHOICES: Mapping[str, Callable[[Frames], Frames]] = {
    "as stage 1 chooses": lambda frames: frames,
    "peak only": lambda frames: tuple(f for f in frames if f.moment is Moment.PEAK),
    "before and after, no peak": lambda frames: tuple(f for f in frames if f.moment is not Moment.PEAK),
    "no region crops": lambda frames: tuple(f for f in frames if f.view is not View.REGION),
    "no motion views": lambda frames: tuple(f for f in frames if f.view is not View.MOTION),
    "one full frame at the peak": _first_peak,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One choice, judged.

    Attributes:
        name: Of the choice.
        auc: Of the scores of candidates whose truth is known.
        cut: Benign clips with a candidate that no longer reach a person.
        retention: Incident clips with a candidate that still do.
        views: Key frames a candidate, on average.
    """

    name: str
    auc: Figure
    cut: Figure
    retention: Figure
    views: float


def measure(run: Run, reasoner: Reasoner, names: Sequence[str] = tuple(CHOICES)) -> Iterator[Outcome]:
    """Judge a run's moving candidates with each choice. A candidate a choice leaves bare keeps all its views.

    Args:
        run: Its frames must still be in the reasoner's store.
        reasoner: Judges.
        names: Which choices.
    """
    clips = [clip for clip in run.clips if any(_moves(one) for one in clip.candidates)]
    draws = Resampling.draw([clip.truth.group for clip in clips])
    pairs = [(clip, one) for clip in clips for one in clip.candidates if _moves(one)]
    for name in names:
        chosen = []
        for _, one in pairs:
            candidate = lab.candidate_of(dict(one.row))
            kept = CHOICES[name](candidate.key_frames)
            chosen.append(replace(candidate, key_frames=kept or candidate.key_frames))
        verdicts: list[Verdict] = []
        for first in range(0, len(chosen), _BATCH):
            verdicts += reasoner.judge(chosen[first : first + _BATCH])
            print(f"{name}: {len(verdicts)}/{len(chosen)}", file=sys.stderr)
        views = sum(len(candidate.key_frames) for candidate in chosen) / max(1, len(chosen))
        yield _outcome(name, draws, pairs, verdicts, views)


def _moves(one: Judged) -> bool:
    return any(frame["view"] == View.MOTION for frame in one.row["frames"])


def _outcome(
    name: str,
    draws: Resampling,
    pairs: Sequence[tuple[Clip, Judged]],
    verdicts: Sequence[Verdict],
    views: float,
) -> Outcome:
    column = draws.index()
    known = [
        (verdict.score, one.real, column[clip.truth.group])
        for (clip, one), verdict in zip(pairs, verdicts, strict=True)
        if one.real is not None and verdict.score is not None
    ]
    scores, real, group = (np.array([row[i] for row in known]) for i in range(3))
    reached: dict[str, bool] = {}
    truths = {}
    for (clip, _), verdict in zip(pairs, verdicts, strict=True):
        truths[clip.truth.clip] = clip.truth
        reached[clip.truth.clip] = reached.get(clip.truth.clip, False) or verdict.action is not Action.DISMISS
    sums = np.zeros((4, len(draws.groups)))
    for name_of_clip, truth in truths.items():
        row = 0 if truth.escalate else 2
        sums[row, column[truth.group]] += reached[name_of_clip]
        sums[row + 1, column[truth.group]] += 1
    return Outcome(
        name,
        roc_auc(draws, scores.astype(np.float64), real.astype(bool), group.astype(np.int64)),
        ratio(draws, sums[2], sums[3], complement=True),
        ratio(draws, sums[0], sums[1]),
        views,
    )


def lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The table, as Markdown."""
    yield "| key frames | views | AUC | false alarm cut | incident retention |"
    yield "|---|---|---|---|---|"
    for one in outcomes:
        shown = " | ".join(_shown(figure) for figure in (one.auc, one.cut, one.retention))
        yield f"| {one.name} | {one.views:.1f} | {shown} |"


def _shown(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    between = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.value:.2f}{between}"


def main(arguments: list[str] | None = None) -> int:
    """Judge and print."""
    from pipeline.reason import build_reasoner
    from pipeline.store.frames import open_frame_store

    parser = argparse.ArgumentParser(description="What the choice of key frames does to verdicts.")
    parser.add_argument(
        "run", type=Path, help="folder of a sitrep eval run whose key frames are still stored"
    )
    options = parser.parse_args(arguments)
    run = Run.load(options.run)
    settings = settings_module.load(
        data_dir=Path(run.manifest["settings"]["data_dir"]), model=run.manifest["model"], narrate="on_demand"
    )
    reasoner = build_reasoner(settings, open_frame_store(settings))
    try:
        print("\n".join(lines(list(measure(run, reasoner)))))
    finally:
        reasoner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
