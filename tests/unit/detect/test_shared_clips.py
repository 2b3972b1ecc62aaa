from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.command import share_converted

from pipeline.detect.report import main

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("SITREP_SHARED_DATA", ROOT.parent / "shared" / "data"))
WANTED = {
    "fall": "person_down/urfd_fall-02.mp4",
    "violence": "fight/survfight_fi081.mp4",
    "fire": "fire/ai-crisis-response_fire2.mp4",
    "smoke": "smoke/hpwren_smoke_962b80ae.jpg",
    "traffic_accident": "vehicle_accident/cctvaccident_test26_30.jpg",
}


@pytest.mark.slow
@pytest.mark.shared_data
def test_development_incidents_are_flagged_under_their_own_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {kind: SHARED / "clips" / name for kind, name in WANTED.items()}
    if not all(clip.is_file() for clip in clips.values()):
        pytest.skip("the shared development footage is not on this machine")
    monkeypatch.setenv("SITREP_DATA_DIR", str(share_converted(tmp_path)))
    out = tmp_path / "found.jsonl"
    assert main(["--quiet", "--json", str(out), *map(str, clips.values())]) == 0
    found = {
        row["clip"]: {item[0] for item in row["found"]}
        for row in map(json.loads, out.read_text().splitlines())
    }
    missed = [kind for kind, clip in clips.items() if kind not in found[str(clip)]]
    assert missed == []
