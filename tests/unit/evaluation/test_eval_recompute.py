"""Two programs that share no code must publish the same numbers, to the last digit."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest
from eval_rows import quiet, row, truth

from evaluation.bootstrap import Resampling
from evaluation.metrics import evaluate
from evaluation.outcomes import read_clips
from evaluation.recompute import differences, recompute

TYPES = ["fall", "fire", "smoke", "violence", "intrusion", "loitering", "other"]


def random_rows(seed: int, clips: int) -> list[dict]:
    source = random.Random(seed)
    rows = []
    for number in range(clips):
        label = source.choice([*TYPES[:5], "weapon", *["benign"] * 5])
        about = truth(f"clip-{number}.mp4", label, group=f"scene-{source.randrange(max(1, clips // 2))}")
        if about["escalate"] and source.random() < 0.8:
            kinds = [label if label in TYPES else "other", *source.sample(TYPES, source.randrange(2))]
            starts = [round(source.uniform(0, 30), 2) for _ in kinds]
            about["events"] = [
                {"type": kind, "start_s": start, "end_s": round(start + source.uniform(0, 20), 2)}
                for kind, start in zip(kinds, starts, strict=True)
            ]
        if source.random() < 0.3:
            about["light"] = source.choice(["day", "night"])
        if source.random() < 0.5:
            about["camera"] = f"camera-{number % 4}"
        seen = {"brightness": source.choice([None, 0.1, 0.27, 0.6])}
        if source.random() < 0.2:
            rows.append(quiet(about, clip_error=source.choice([None, "broken"]), **seen))
            continue
        for _ in range(source.randrange(1, 6)):
            decision = source.choice(["escalate", "review", "dismiss", "dismiss", None])
            rows.append(
                row(
                    about,
                    source.choice(TYPES),
                    decision,
                    start_s=round(source.uniform(0, 40), 2),
                    **seen,
                    score=source.choice([None, round(source.random(), 2), source.random()]),
                    grounded=source.choice([None, True, False]),
                    timings_ms={
                        "queued": round(source.uniform(0, 500), 1),
                        "verdict": source.choice([None, round(source.uniform(50, 900), 1)]),
                        "narrative": source.choice([None, round(source.uniform(50, 900), 1)]),
                    },
                )
            )
    return rows


@pytest.mark.parametrize(("seed", "clips"), [(1, 40), (2, 3), (3, 120)])
def test_recount_agrees_to_the_last_digit(seed, clips):
    rows = random_rows(seed, clips)
    read = read_clips(rows)
    draws = Resampling.draw([clip.truth.group for clip in read], resamples=200)
    written = json.loads(json.dumps(evaluate(read, draws=draws).as_json()))
    recounted = recompute(json.loads(json.dumps(rows)), resamples=200)
    assert differences(recounted, written) == []
    assert set(recounted["total"]) == set(written["total"])
    for report in ("by_type", "by_light", "by_camera"):
        assert set(recounted[report]) == set(written[report])
        for name, part in written[report].items():
            assert set(recounted[report][name]) == set(part), (report, name)


def test_command_names_what_differs(tmp_path):
    rows = random_rows(4, 12)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    figures = evaluate(read_clips(rows)).as_json()
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    command = [sys.executable, "-m", "evaluation.recompute", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    figures["total"]["flag_recall"]["value"] += 1e-6
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "total.flag_recall" in done.stderr
