"""What each trigger and each threshold buys: ``python -m pipeline.detect.ablation DATASET.jsonl``.

Detectors look at each clip once. Beside the triggers as they are shipped run variants of each of them, one
threshold halved or doubled (a switch: turned over), so that all see the same scenes. For every variant it
says how many incidents are still flagged, at all and under their own type, and how many candidates benign
footage raises. No threshold is chosen here: clips that are used for figures are not for tuning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline import settings as settings_module
from pipeline.detect.catalog import KINDS
from pipeline.detect.events import EventBuilder
from pipeline.detect.keyframes import FrameRing
from pipeline.detect.registry import make_appearance_scorer, make_detector, make_pose_estimator
from pipeline.detect.report import Row, rows_of
from pipeline.detect.scenes import SceneReader
from pipeline.errors import SitrepError
from pipeline.ingest import open_source
from pipeline.settings import Settings
from pipeline.types import EventType

SHIPPED = "as shipped"


@dataclass(frozen=True, slots=True)
class Variant:
    """One trigger with one threshold changed.

    Attributes:
        event_type: The trigger's.
        change: What is changed, or ``as shipped``.
        params: The trigger's thresholds.
    """

    event_type: EventType
    change: str
    params: Any


@dataclass(frozen=True, slots=True)
class Seen:
    """What all variants made of one clip: ``events`` by (type, change)."""

    row: Row
    seconds: float
    events: Mapping[tuple[EventType, str], int]

    def flagged(self, changed: Variant | None = None, *, without: EventType | None = None) -> set[EventType]:
        """Types raised, with one trigger changed or left out."""
        raised = set()
        for kind in KINDS:
            own = changed is not None and changed.event_type is kind.event_type
            change = changed.change if changed is not None and own else SHIPPED
            if kind.event_type is not without and self.events.get((kind.event_type, change)):
                raised.add(kind.event_type)
        return raised


def variants(params: Any, event_type: EventType) -> Iterator[Variant]:
    """The trigger as shipped, then one variant for each change of each threshold."""
    yield Variant(event_type, SHIPPED, params)
    for field in fields(params):
        value = getattr(params, field.name)
        if isinstance(value, bool):
            yield Variant(
                event_type, f"{field.name} = {not value}", replace(params, **{field.name: not value})
            )
        elif isinstance(value, (int, float)) and value:
            for factor in (0.5, 2.0):
                other = max(1, round(value * factor)) if isinstance(value, int) else value * factor
                if other != value:
                    changed = replace(params, **{field.name: other})
                    yield Variant(event_type, f"{field.name} = {other:g}", changed)


def all_variants() -> list[Variant]:
    """Those of every trigger Sitrep ships."""
    return [variant for kind in KINDS for variant in variants(kind.params(), kind.event_type)]


def look(row: Row, reader: SceneReader, chosen: Iterable[Variant], fps: float) -> Seen:
    """Run all variants over one clip. One that is broken off counts up to there."""
    ring = FrameRing()
    kinds = {kind.event_type: kind.trigger for kind in KINDS}
    builders = [
        (variant, EventBuilder(kinds[variant.event_type](variant.params), ring)) for variant in chosen
    ]
    counts: dict[tuple[EventType, str], int] = {}
    seconds = 0.0

    def count(variant: Variant, events: int) -> None:
        key = (variant.event_type, variant.change)
        counts[key] = counts.get(key, 0) + events

    try:
        source = open_source(row["path"], fps=fps)
        for frame in source.frames():
            scene = reader.read(frame, is_still=source.info.is_still)
            kept = ring.push(frame)
            seconds = frame.t_s
            for variant, builder in builders:
                count(variant, len(builder.update(scene, kept)))
    except SitrepError as error:
        print(error.one_line(), file=sys.stderr)
    for variant, builder in builders:
        count(variant, len(builder.finish()))
    return Seen(row, seconds, counts)


def lines(seen: list[Seen], chosen: Iterable[Variant]) -> Iterator[str]:
    """The two tables, as Markdown."""
    incidents = [one for one in seen if one.row.get("escalate")]
    benign = [one for one in seen if not one.row.get("escalate")]
    hours = sum(one.seconds for one in benign) / 3600
    stills = [one for one in benign if not one.seconds]
    everything = sum(bool(one.flagged()) for one in incidents)
    yield (
        f"{len(incidents)} incidents, {everything} of them flagged; {len(benign)} benign clips: "
        f"{60 * hours:.0f} minutes of video and {len(stills)} stills. Candidates are counted on benign "
        "clips: by the hour of video, and as the number of stills that raise one."
    )
    yield "\n## Without a trigger\n"
    yield "| left out | incidents flagged | lost under their own type | benign: an hour | benign stills |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        event = kind.event_type
        labelled = [one for one in incidents if one.row["label"] == event.value]
        own = sum(event in one.flagged() for one in labelled)
        kept = sum(bool(one.flagged(without=event)) for one in incidents)
        raised = sum(one.events.get((event, SHIPPED), 0) for one in benign if one.seconds)
        on_stills = sum(bool(one.events.get((event, SHIPPED))) for one in stills)
        yield (
            f"| {event.value} | {kept} ({kept - everything:+d}) | {own} of {len(labelled)} "
            f"| {-raised / max(hours, 1e-9):+.0f} | {-on_stills:+d} |"
        )
    yield "\n## With one threshold changed\n"
    yield "| trigger | threshold | incidents flagged | own type | benign: an hour | benign stills |"
    yield "|---|---|---|---|---|---|"
    for variant in chosen:
        yield _row(variant, incidents, benign, hours)


def _row(variant: Variant, incidents: list[Seen], benign: list[Seen], hours: float) -> str:
    event, key = variant.event_type, (variant.event_type, variant.change)
    labelled = [one for one in incidents if one.row["label"] == event.value]
    flagged = sum(bool(one.flagged(variant)) for one in incidents)
    own = sum(bool(one.events.get(key)) for one in labelled)
    raised = sum(one.events.get(key, 0) for one in benign if one.seconds)
    on_stills = sum(bool(one.events.get(key)) for one in benign if not one.seconds)
    return (
        f"| {event.value} | {variant.change} | {flagged} | {own} of {len(labelled)} "
        f"| {raised / max(hours, 1e-9):.0f} | {on_stills} |"
    )


def reader_of(settings: Settings) -> SceneReader:
    """A reader for one clip with the detectors Sitrep ships."""
    threads = settings.detect_threads
    return SceneReader(
        make_detector(settings.detector, settings.data_dir, threads=threads),
        make_pose_estimator("movenet", settings.data_dir, threads=threads),
        make_appearance_scorer("eyes", settings.data_dir, threads=threads),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description="What each trigger and threshold buys.")
    parser.add_argument("clips", nargs="+", help="dataset .jsonl files")
    parser.add_argument("--out", type=Path, help="write the tables here instead")
    parser.add_argument("--moving", action="store_true", help="leave out stills")
    options = parser.parse_args(arguments)
    settings = settings_module.load()
    first = reader_of(settings)
    chosen = all_variants()
    seen = []
    rows = [row for row in rows_of(options.clips) if not (options.moving and row.get("seconds", 1) == 0)]
    for number, row in enumerate(rows, start=1):
        reader = SceneReader(first.detector, first.pose, first.appearance)
        seen.append(look(row, reader, chosen, settings.detect_fps))
        print(f"{number}/{len(rows)} {row['clip']}: {seen[-1].seconds:.1f} s", file=sys.stderr)
    text = "\n".join(lines(seen, chosen)) + "\n"
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
