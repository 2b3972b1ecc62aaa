"""What stage 1 makes of a set of clips: ``python -m pipeline.detect.report CLIPS_OR_JSONL...``.

For a dataset file it also says how many incidents were flagged and how many benign clips were, by type.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline import settings as settings_module
from pipeline.detect.stage import Stage1, build_stage1
from pipeline.errors import SitrepError
from pipeline.ingest import find_clips, open_source
from pipeline.types import Candidate

Row = dict[str, Any]


class Discard:
    """A frame store that keeps nothing."""

    def put(self, encoded: bytes) -> str:
        """A name that stands for nothing."""
        return f"{len(encoded):064x}"

    def get(self, sha256: str) -> bytes:
        """Nothing was kept."""
        raise KeyError(sha256)


def rows_of(names: Iterable[str]) -> Iterator[Row]:
    """Dataset rows; bare clips and folders become rows without a label."""
    for name in names:
        if name.endswith(".jsonl"):
            folder = Path(name).parent
            for line in Path(name).read_text(encoding="utf-8").splitlines():
                row: Row = json.loads(line)
                yield row | {"path": str(folder / row["clip"])}
        else:
            for clip in find_clips(name):
                yield {"clip": clip, "path": clip}


def look(stage1: Stage1, row: Row, fps: float) -> tuple[list[Candidate], float, str]:
    """Candidates, stream seconds and the error, if any, of one clip."""
    found: list[Candidate] = []
    reached = 0.0

    def advance(done_s: float, total_s: float) -> None:
        nonlocal reached
        reached = max(reached, done_s)

    try:
        source = open_source(row["path"], fps=fps)
        for candidate in stage1.run(source, camera=Path(row["path"]).name, on_progress=advance):
            found.append(candidate)
    except SitrepError as error:
        return found, reached, error.one_line()
    return found, reached, ""


def describe(candidate: Candidate) -> str:
    """One line about a candidate."""
    facts = " ".join(f"{name}={value}" for name, value in candidate.evidence.facts.items())
    return (
        f"    {candidate.event_type:<17}{candidate.start_s:7.1f} -{candidate.end_s:6.1f} s  "
        f"{candidate.trigger.score:.2f}  {len(candidate.key_frames)} views  {facts}"
    )


def summary(results: list[tuple[Row, list[Candidate], float]]) -> Iterator[str]:
    """Flag recall by label, and what benign clips raised, moving clips and stills apart."""
    for kind, moving in (("moving", True), ("stills", False)):
        chosen = [item for item in results if "label" in item[0] and (item[2] > 0) is moving]
        incidents = [item for item in chosen if item[0].get("escalate")]
        by_label: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for row, found, _ in incidents:
            types = {candidate.event_type.value for candidate in found}
            by_label[row["label"]].append((bool(types), row["label"] in types))
        for label, flags in sorted(by_label.items()):
            anyhow, right = (sum(flag[i] for flag in flags) for i in range(2))
            yield f"{kind} {label}: {anyhow}/{len(flags)} flagged, {right} under their own type"
        total = sum(bool(found) for _, found, _ in incidents)
        if incidents:
            yield f"{kind} flag_recall {total / len(incidents):.3f} ({total}/{len(incidents)})"
        benign = [item for item in chosen if not item[0].get("escalate")]
        hours = sum(item[2] for item in benign) / 3600
        counts: dict[str, int] = defaultdict(int)
        for _, found, _ in benign:
            for candidate in found:
                counts[candidate.event_type.value] += 1
        flagged = sum(bool(found) for _, found, _ in benign)
        if benign:
            rate = {name: round(count / hours) if hours else count for name, count in sorted(counts.items())}
            per = "an hour" if hours else "in all"
            yield f"{kind} benign: {flagged}/{len(benign)} flagged; candidates {per}: {rate}"


def main(arguments: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description="What stage 1 makes of clips.")
    parser.add_argument("clips", nargs="+", help="clips, folders or dataset .jsonl files")
    parser.add_argument("--kind", help="only dataset rows whose kind or label contains this")
    parser.add_argument("--moving", action="store_true", help="leave out stills")
    parser.add_argument("--quiet", action="store_true", help="print the summary only")
    parser.add_argument("--json", help="also write candidates as JSON lines to this file")
    options = parser.parse_args(arguments)
    settings = settings_module.load()
    stage1 = build_stage1(settings, Discard())
    results: list[tuple[Row, list[Candidate], float]] = []
    wall = stream = 0.0
    for row in rows_of(options.clips):
        if options.kind and options.kind not in f"{row.get('kind')} {row.get('label')} {row['clip']}":
            continue
        if options.moving and row.get("seconds", 1.0) == 0.0:
            continue
        started = time.perf_counter()
        found, reached, error = look(stage1, row, settings.detect_fps)
        took = time.perf_counter() - started
        wall, stream = wall + took, stream + reached
        results.append((row, found, reached))
        if not options.quiet:
            print(f"{row.get('label', '')} {row['clip']}: {reached:.1f} s in {took:.1f} s {error}")
            for candidate in found:
                print(describe(candidate))
    rate = stream / max(wall, 1e-9)
    print(f"{len(results)} clips, {stream:.0f} s of video in {wall:.0f} s: {rate:.1f} x real time")
    print("\n".join(summary(results)))
    if options.json:
        with Path(options.json).open("w", encoding="utf-8") as stream_out:
            for row, found, reached in results:
                types = [[c.event_type.value, c.start_s, c.end_s, c.trigger.score] for c in found]
                stream_out.write(json.dumps({"clip": row["clip"], "seconds": reached, "found": types}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
