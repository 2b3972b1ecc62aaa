"""Recount a run from its row file alone, in plain Python, apart from the code that made the figures.

    python -m evaluation.recompute out/eval

Shares no line with ``evaluation.metrics``: no numpy, no pydantic, no common helper. It prints the
figures of the whole, by type, by light and by camera and, when ``metrics.json`` is there, every figure
that differs in its last digit; the exit status is the number of differences, at most 100.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Entry = dict[str, float | int | None]
Weights = list[tuple[str, float]]
Clips = list[tuple[Record, list[Record]]]

TYPES = ("fall", "fire", "smoke", "violence", "intrusion", "loitering", "crowding", "abandoned_object",
         "traffic_accident", "other")  # fmt: skip
OF_A_CAMERA = ("flag_recall", "false_alarms_before", "false_alarms_after", "false_alarm_cut",
               "incident_retention", "review_rate")  # fmt: skip


def goes_with(a: str, b: str) -> bool:
    """Fire with smoke, intrusion with loitering, other with all."""
    return a == b or "other" in (a, b) or {a, b} in ({"fire", "smoke"}, {"intrusion", "loitering"})


def six(value: float) -> float:
    """Six decimals, halves made equal by twelve first."""
    return round(round(value, 12), 6)


def quantile(ordered: list[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    share = place - low
    step = ordered[high] - ordered[low]
    # As numpy does it, so that the last digit agrees on either side of the middle.
    return ordered[high] - step * (1 - share) if share >= 0.5 else ordered[low] + step * share


def label_type(truth: Record) -> str | None:
    """Type an incident clip is counted under."""
    if not truth["escalate"]:
        return None
    return truth["label"] if truth["label"] in TYPES else "other"


def is_real(truth: Record, row: Record) -> bool | None:
    """Truth of a candidate; None when nobody labelled it."""
    if not truth["escalate"]:
        return False
    events = truth.get("events") or []
    if not events:
        about = "violence" if truth["label"] == "weapon" else label_type(truth) or ""
        return True if goes_with(row["event_type"], about) else None
    for event in events:
        in_time = (
            row["start_s"] <= max(event["end_s"], event["start_s"] + 10)
            and row["end_s"] >= event["start_s"] - 2
        )
        if in_time and goes_with(row["event_type"], event["type"]):
            return True
    return None


class Recount:
    """Holds the clips and the group draws."""

    def __init__(self, rows: list[Record], resamples: int, seed: int) -> None:
        self.clips: dict[str, list[Record]] = {}
        for row in rows:
            self.clips.setdefault(row["truth"]["clip"], []).append(row)
        self.groups = sorted({row["truth"]["group"] for row in rows})
        source = random.Random(seed)
        size = len(self.groups)
        self.draws = []
        for _ in range(resamples):
            times: dict[str, int] = {}
            for position in source.choices(range(size), k=size):
                times[self.groups[position]] = times.get(self.groups[position], 0) + 1
            self.draws.append(times)

    def interval(self, samples: list[float]) -> tuple[float, float]:
        """2.5th and 97.5th percentile."""
        samples.sort()
        return six(quantile(samples, 0.025)), six(quantile(samples, 0.975))

    def ratio(self, top: Weights, bottom: Weights, *, minus: bool = False) -> Entry:
        """A ratio of sums of (group, weight)."""
        tops, bottoms = by_group(top), by_group(bottom)
        whole = math.fsum(bottoms.values())
        if whole == 0:
            return {"value": None, "low": None, "high": None, "n": 0}
        value = math.fsum(tops.values()) / whole
        value = 1 - value if minus else value
        groups = sum(1 for weight in bottoms.values() if weight > 0)
        if value in (0.0, 1.0):
            edge = 0.025 ** (1 / groups)
            low, high = (edge, 1.0) if value == 1.0 else (0.0, 1 - edge)
            return {"value": six(value), "low": six(low), "high": six(high), "n": round(whole)}
        if groups < 2:
            return {"value": six(value), "low": None, "high": None, "n": round(whole)}
        samples = []
        for times in self.draws:
            below = math.fsum(weight * times.get(group, 0) for group, weight in bottoms.items())
            if below > 0:
                above = math.fsum(weight * times.get(group, 0) for group, weight in tops.items())
                samples.append(1 - above / below if minus else above / below)
        low, high = self.interval(samples)
        return {"value": six(value), "low": low, "high": high, "n": round(whole)}

    def count(self, hits: Weights, out_of: Weights) -> Entry:
        """A number of clips."""
        share, clips = self.ratio(hits, out_of), len(out_of)
        low, high = (None if end is None else six(clips * end) for end in (share["low"], share["high"]))
        return {"value": float(len(hits)), "low": low, "high": high, "n": clips}

    def figures(self, only: str | None) -> dict[str, Entry]:
        """The clip, candidate and event figures of all types or of one."""
        incidents, benign = [], []
        candidates: list[Record] = []
        for rows in self.clips.values():
            truth = rows[0]["truth"]
            found = [row for row in rows if row["candidate_id"] is not None]
            about = [row for row in found if only is None or row["event_type"] == only]
            candidates += about
            if not truth["escalate"]:
                benign.append((truth["group"], about))
            elif only is None or label_type(truth) == only:
                incidents.append((truth, found))
        flagged = [(truth, found) for truth, found in incidents if found]

        def holds(clips: list[tuple[Record, list[Record]]], test: Callable[[Record], bool]) -> Weights:
            return [(truth["group"], 1.0) for truth, found in clips if any(test(row) for row in found)]

        def clips_of(clips: list[tuple[Record, list[Record]]]) -> Weights:
            return [(truth["group"], 1.0) for truth, _ in clips]

        def alarms(test: Callable[[Record], bool]) -> Weights:
            return [(group, 1.0) for group, about in benign if any(test(row) for row in about)]

        all_benign = [(group, 1.0) for group, _ in benign]
        before = alarms(lambda row: True)
        after = alarms(lambda row: row["decision"] != "dismiss")
        called = alarms(lambda row: row["decision"] == "escalate")
        matched = []
        for truth, found in incidents:
            wanted = {event["type"] for event in truth.get("events") or []} or {label_type(truth) or ""}
            fitting = [row for row in found if any(goes_with(row["event_type"], kind) for kind in wanted)]
            if fitting:
                matched.append((truth, fitting))
        group = {id(row): row["truth"]["group"] for row in candidates}

        def part(rows: list[Record], test: Callable[[Record], bool]) -> Entry:
            return self.ratio(
                [(group[id(r)], 1.0) for r in rows if test(r)], [(group[id(r)], 1.0) for r in rows]
            )

        decided = [row for row in candidates if row["decision"] is not None]
        checked = [row for row in candidates if row.get("grounded") is not None]
        labelled = [
            row
            for row in candidates
            if row.get("score") is not None and is_real(row["truth"], row) is not None
        ]
        found_figures = {
            "flag_recall": self.ratio(clips_of(flagged), clips_of(incidents)),
            "flag_recall_matched": self.ratio(clips_of(matched), clips_of(incidents)),
            "false_alarms_before": self.count(before, all_benign),
            "false_alarms_after": self.count(after, all_benign),
            "false_alarms_escalated": self.count(called, all_benign),
            "false_alarm_cut": self.ratio(after, before, minus=True),
            "incident_retention": self.ratio(
                holds(flagged, lambda row: row["decision"] != "dismiss"), clips_of(flagged)
            ),
            "incident_retention_matched": self.ratio(
                holds(matched, lambda row: row["decision"] != "dismiss"), clips_of(matched)
            ),
            "incident_escalation": self.ratio(
                holds(flagged, lambda row: row["decision"] == "escalate"), clips_of(flagged)
            ),
            "review_rate": part(decided, lambda row: row["decision"] == "review"),
            "failed_rate": part(candidates, lambda row: row.get("verdict") == "failed"),
            "unjudged_rate": part(candidates, lambda row: row["decision"] is None),
            "groundedness": part(checked, lambda row: bool(row["grounded"])),
            "calibration_error": self.calibration(labelled),
            "brier": self.ratio(
                [(group[id(r)], (r["score"] - float(bool(is_real(r["truth"], r)))) ** 2) for r in labelled],
                [(group[id(r)], 1.0) for r in labelled],
            ),
        }  # fmt: skip
        worked = [row for row in candidates if (row.get("timings_ms") or {}).get("verdict") is not None]
        found_figures["model_seconds_mean"] = self.ratio(
            [
                (
                    group[id(r)],
                    (r["timings_ms"]["verdict"] + (r["timings_ms"].get("narrative") or 0.0)) / 1000,
                )
                for r in worked
            ],
            [(group[id(r)], 1.0) for r in worked],
        )
        found_figures["model_seconds_mean"]["n"] = len(worked)
        if only is None:
            clips = [(rows[0]["truth"]["group"], rows[0].get("clip_error")) for rows in self.clips.values()]
            found_figures["unreadable_rate"] = self.ratio(
                [(name, 1.0) for name, error in clips if error], [(name, 1.0) for name, _ in clips]
            )
        return {**found_figures, **self.ranking(labelled), **self.times(candidates), **self.events(only)}

    def ranking(self, rows: list[Record]) -> dict[str, Entry]:
        """ROC area and average precision, equal scores taken as one step."""
        steps: dict[float, list[tuple[str, bool]]] = {}
        for row in rows:
            here = (row["truth"]["group"], bool(is_real(row["truth"], row)))
            steps.setdefault(row["score"], []).append(here)
        ladder = [steps[score] for score in sorted(steps, reverse=True)]

        def areas(times: dict[str, int] | None) -> tuple[float | None, float | None]:
            sums = []
            for step in ladder:
                hits = sum(1 if times is None else times.get(name, 0) for name, real in step if real)
                falses = sum(1 if times is None else times.get(name, 0) for name, real in step if not real)
                sums.append((hits, falses))
            positives, negatives = sum(hit for hit, _ in sums), sum(false for _, false in sums)
            seen_hits = seen_falses = 0
            roc, precision = 0.0, 0.0
            for hits, falses in sums:
                roc += falses * (seen_hits + hits / 2)
                seen_hits, seen_falses = seen_hits + hits, seen_falses + falses
                if hits:
                    precision += hits * seen_hits / (seen_hits + seen_falses)
            return (
                roc / (positives * negatives) if positives and negatives else None,
                precision / positives if positives else None,
            )

        found: dict[str, Entry] = {}
        drawn = [areas(times) for times in self.draws]
        groups = len({row["truth"]["group"] for row in rows})
        for name, place in (("roc_auc", 0), ("average_precision", 1)):
            value = areas(None)[place]
            if value is None:
                found[name] = {"value": None, "low": None, "high": None, "n": len(rows)}
                continue
            low: float | None
            high: float | None
            if value in (0.0, 1.0):
                edge = 0.025 ** (1 / groups)
                low, high = (six(edge), 1.0) if value == 1.0 else (0.0, six(1 - edge))
            elif groups < 2:
                low = high = None
            else:
                low, high = self.interval([pair[place] for pair in drawn if pair[place] is not None])  # type: ignore[misc]
            found[name] = {"value": six(value), "low": low, "high": high, "n": len(rows)}
        return found

    def calibration(self, rows: list[Record]) -> Entry:
        """Expected calibration error over ten bins."""
        if not rows:
            return {"value": None, "low": None, "high": None, "n": 0}
        items = [
            (
                row["truth"]["group"],
                min(int(row["score"] * 10), 9),
                row["score"] - float(bool(is_real(row["truth"], row))),
            )
            for row in rows
        ]

        def error(times: dict[str, int] | None) -> float | None:
            number, surplus = 0, [0.0] * 10
            for name, slot, gap in items:
                weight = 1 if times is None else times.get(name, 0)
                number += weight
                surplus[slot] += weight * gap
            return math.fsum(abs(gap) for gap in surplus) / number if number else None

        samples = [value for times in self.draws if (value := error(times)) is not None]
        low, high = self.interval(samples)
        return {"value": six(error(None) or 0.0), "low": low, "high": high, "n": len(rows)}

    def times(self, rows: list[Record]) -> dict[str, Entry]:
        """Quantiles of the seconds to the verdict."""
        timed = []
        for row in rows:
            times = row.get("timings_ms") or {}
            if times.get("verdict") is not None:
                timed.append(
                    (((times.get("queued") or 0.0) + times["verdict"]) / 1000, row["truth"]["group"])
                )
        timed.sort(key=lambda pair: pair[0])
        found: dict[str, Entry] = {}
        for name, q in (("seconds_to_verdict_p50", 0.5), ("seconds_to_verdict_p95", 0.95)):
            if not timed:
                found[name] = {"value": None, "low": None, "high": None, "n": 0}
                continue
            samples = []
            for draw in self.draws:
                drawn = [value for value, name_ in timed for _ in range(draw.get(name_, 0))]
                if drawn:
                    samples.append(quantile(drawn, q))
            low, high = self.interval(samples)
            value = six(quantile([value for value, _ in timed], q))
            found[name] = {"value": value, "low": low, "high": high, "n": len(timed)}
        return found

    def events(self, only: str | None) -> dict[str, Entry]:
        """Event recall, precision and F1, of what reaches a person and of stage 1 alone."""
        figures: dict[str, Entry] = {}
        for prefix, everything in (("", False), ("flag_", True)):
            right: Weights = []
            missed: Weights = []
            false: Weights = []
            for rows in self.clips.values():
                truth = rows[0]["truth"]
                events = list(truth.get("events") or [])
                if truth["escalate"] and not events:
                    continue
                alarms = [
                    row
                    for row in rows
                    if row["candidate_id"] and (everything or row["decision"] != "dismiss")
                ]
                alarms.sort(key=lambda row: (row["start_s"], row["end_s"], row["event_type"]))
                taken: list[Record] = []
                spare: list[Record] = []
                for alarm in alarms:
                    open_events = [
                        event
                        for event in events
                        if event not in taken
                        and goes_with(alarm["event_type"], event["type"])
                        and event["start_s"] - 2 <= alarm["start_s"] <= event["start_s"] + 10
                    ]
                    if open_events:
                        kind = alarm["event_type"]
                        taken.append(
                            min(open_events, key=lambda e: (e["type"] != kind, e["start_s"], e["end_s"]))
                        )
                    else:
                        spare.append(alarm)
                here = truth["group"]
                right += [(here, 1.0) for event in taken if only in (None, event["type"])]
                missed += [
                    (here, 1.0) for event in events if event not in taken and only in (None, event["type"])
                ]
                for alarm in spare:
                    again = any(
                        goes_with(alarm["event_type"], event["type"])
                        and alarm["start_s"] <= max(event["end_s"], event["start_s"] + 10)
                        and alarm["end_s"] >= event["start_s"] - 2
                        for event in taken
                    )
                    if not again and only in (None, alarm["event_type"]):
                        false.append((here, 1.0))
            figures[f"{prefix}event_recall"] = self.ratio(right, right + missed)
            figures[f"{prefix}event_precision"] = self.ratio(right, right + false)
            if not everything:
                both = self.ratio(right + right, right + right + missed + false)
                figures["event_f1"] = {**both, "n": len(right) + len(missed)}
        return figures


def by_group(pairs: Weights) -> dict[str, float]:
    """Sums of weights a group."""
    sums: dict[str, float] = {}
    for group, weight in pairs:
        sums[group] = sums.get(group, 0.0) + weight
    return sums


def light_of(row: Record) -> str | None:
    """Day or night: as labelled, else night when the key frames are darker than 0.27 on average."""
    if row["truth"].get("light"):
        return str(row["truth"]["light"])
    brightness = row.get("brightness")
    return None if brightness is None else "night" if brightness < 0.27 else "day"


def camera_of(row: Record) -> str:
    """Camera a clip counts under."""
    return str(row["truth"].get("camera") or row.get("camera") or row["truth"]["clip"])


def recompute(rows: list[Record], *, resamples: int = 2000, seed: int = 20_261_122) -> dict[str, Any]:
    """Recount rows: ``{"total": {...}, "by_type": {...}, "by_light": {...}, "by_camera": {...}}``."""
    recount = Recount(rows, resamples, seed)
    types = {row["event_type"] for row in rows if row["candidate_id"]}
    types |= {kind for row in rows if (kind := label_type(row["truth"]))}
    whole = recount.clips
    parts: dict[str, dict[str, dict[str, Entry]]] = {"by_light": {}, "by_camera": {}}
    for name, key in (("by_light", light_of), ("by_camera", camera_of)):
        for part in sorted({label for found in whole.values() if (label := key(found[0])) is not None}):
            # The draws stay those of the whole run.
            recount.clips = {clip: found for clip, found in whole.items() if key(found[0]) == part}
            figures = recount.figures(None)
            kept = figures if name == "by_light" else {metric: figures[metric] for metric in OF_A_CAMERA}
            parts[name][part] = kept
    recount.clips = whole
    return {
        "total": recount.figures(None),
        "by_type": {kind: recount.figures(kind) for kind in sorted(types)},
        **parts,
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Every figure of ours that is not the same number in theirs."""
    pairs = [("total", ours["total"], theirs["total"])]
    for report in ("by_type", "by_light", "by_camera"):
        pairs += [(kind, part, theirs[report].get(kind, {})) for kind, part in ours[report].items()]
    return [
        f"{where}.{name}: recomputed {entry}, metrics.json {there.get(name)}"
        for where, part, there in pairs
        for name, entry in part.items()
        if there.get(name) != entry
    ]


def main() -> int:
    """Recount the run named on the command line."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    folder = Path(sys.argv[1])
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    found = recompute(rows)
    print(json.dumps(found, indent=1))
    if not (folder / "metrics.json").exists():
        return 0
    wrong = differences(found, json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(wrong)} figures differ from metrics.json", file=sys.stderr)
    return min(len(wrong), 100)


if __name__ == "__main__":
    sys.exit(main())
