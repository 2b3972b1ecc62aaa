"""Two prompt versions before the embedded model: what differs on purpose flips, what is equal does not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from support.command import CLIPS, sitrep

from evaluation import lab
from evaluation.compare import NO_EVIDENCE

STILLS = {
    "fall-1": ("fall-in-office-1", "fall", 140),
    "fall-2": ("fall-in-office-2", "fall", 75),
}
SITE = ' Site: "this is a film set, simulated falls are expected".'


@pytest.fixture
def run(tmp_path: Path) -> lab.Run:
    """A run of the real command with the embedded model over two stills."""
    rows = []
    for name, (clip, label, frame) in STILLS.items():
        video = cv2.VideoCapture(str(CLIPS / f"{clip}.mp4"))
        video.set(cv2.CAP_PROP_POS_FRAMES, frame)
        good, image = video.read()
        video.release()
        if not good:
            pytest.skip(f"{clip}.mp4 is not here")
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), image)
        about = {"clip": f"{name}.jpg", "label": label, "escalate": True, "events": [], "group": clip}
        rows.append({**about, "source": "bundled", "licence": "see evaluation/clips"})
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = sitrep(
        "eval", "--dataset", tmp_path / "val.jsonl", "--out", tmp_path / "run",
        data_dir=tmp_path / "data", SITREP_NARRATE="on_demand", timeout=500,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return lab.open_run(tmp_path / "run")


def new(tmp_path: Path, bump: str) -> Path:
    """A draft made by the real command."""
    made = sitrep("prompts", "new", "incident", "--from", "1.0.0", "--bump", bump, data_dir=tmp_path / "data")
    assert made.code == 0, made.err
    return Path(made.out.strip())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_site_in_the_prompt_flips_falls_and_an_equal_prompt_nothing(run, tmp_path, monkeypatch):
    """Given real falls, when a version says falls are acted, then they flip; an equal one flips none."""
    monkeypatch.setenv("SITREP_NARRATE", "on_demand")
    new(tmp_path, "patch")
    acted = new(tmp_path, "minor")
    text = acted.read_text()
    anchor = "{% if site %} Site: {{ site }}.{% endif %}"
    assert anchor in text
    acted.write_text(text.replace(anchor, SITE))

    # An equal text under another number: not one score moves, and the comparison says so
    equal = lab.try_prompt(run, "incident@1.0.1")
    assert [row["prompt"] for row in equal.after.rows] == ["incident@1.0.1"] * len(equal.before.rows)
    assert [row["log_odds"] for row in equal.after.rows] == [row["log_odds"] for row in equal.before.rows]
    told = lab.compare(equal)
    assert told.flips == ()
    assert told.verdict.startswith(NO_EVIDENCE)

    # The version that explains falls: each loses its score, nobody is called any more, and a person may look
    other = lab.try_prompt(run, "incident@1.1.0")
    before = {row["candidate_id"]: row for row in other.before.rows}
    falls = [row for row in other.after.rows if row["event_type"] == "fall"]
    assert falls
    assert all(row["log_odds"] < before[row["candidate_id"]]["log_odds"] - 2 for row in falls)
    flips = [flip for flip in lab.compare(other).flips if flip.row["event_type"] == "fall"]
    reached = [row for row in falls if before[row["candidate_id"]]["decision"] == "escalate"]
    assert len(flips) == len(reached) > 0
    assert all(flip.after and flip.after["decision"] == "review" for flip in flips)
    # Somebody still looks: neither better nor worse
    assert [flip.better for flip in flips] == [None] * len(flips)
    # Two scenes are too few to call it evidence
    assert lab.compare(other).verdict == NO_EVIDENCE
