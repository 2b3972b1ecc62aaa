"""The report: one file, complete, faces hidden."""

from __future__ import annotations

import base64
import dataclasses
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.report import ClipNote, ReportRow, render_report, write_report
from pipeline.report.rows import summarise


def jpeg(seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def scan(clip: str, decision: str | None = "escalate", **more: Any) -> dict[str, Any]:
    row = {
        "clip": f"/somewhere/{clip}",
        "camera": clip,
        "event_type": "fall",
        "start_s": 1.0,
        "end_s": 3.0,
        "zone": None,
        "trigger": {"name": "fall_rule", "score": 0.8},
        "decision": decision,
        "priority": "high" if decision else None,
        "verdict": "confirmed" if decision else None,
        "score": 0.91 if decision else None,
        "thresholds": {"dismiss_below": 0.2, "escalate_at": 0.6},
        "title": "A person has fallen",
        "summary": "One person lies on the floor.",
        "narrative": "A person falls and stays down.",
        "observations": ["one person"],
        "recommended_action": "Send help.",
        "reason": "The score is high.",
        "grounds": "The body is flat.",
        "criteria": [{"name": "stays still", "passed": True, "evidence": "3 s", "frame": None}],
        "grounded": True,
        "language": "en",
        "model": "embedded:x",
        "prompt": "incident@1.0.0",
        "timings_ms": {"queued": 10.0, "verdict": 300.0, "narrative": None},
        "frames": [
            {
                "sha256": "a",
                "view": "full",
                "moment": "peak",
                "t_s": 2.0,
                "width": 160,
                "height": 120,
                "box": None,
            }
        ],
        "evidence": {
            "note": "A box became flat.",
            "counts": {"person": 1},
            "facts": {"still_s": 3.0},
            "objects": [
                {"label": "person", "score": 0.9, "box": [0.2, 0.1, 0.5, 0.9], "t_s": 2.0, "track_id": 1}
            ],
        },
        "error_source": None,
        "error": None,
    }
    return {**row, **more}


def test_report_is_one_file_that_says_everything(tmp_path: Path) -> None:
    rows = [
        ReportRow(scan("quiet.mp4", "dismiss", title="Nobody falls", score=0.03), {"a": jpeg()}),
        ReportRow(scan("fall.mp4"), {"a": jpeg()}),
    ]
    clips = [
        ClipNote("fall.mp4", "CC BY 4.0, Somebody", "github:x/y", "walks in", "fall", True, 12.0, 840.0),
        ClipNote("quiet.mp4", "CC0", label="benign", incident=False, detect_ms=400.0),
        ClipNote("broken.mp4", error="no video stream"),
    ]
    path = write_report(tmp_path / "new" / "demo.html", rows, clips=clips, elapsed_s=42.0)
    page = path.read_text(encoding="utf-8")
    for words in (
        "A person has fallen",
        "The score is high.",
        "A box became flat.",
        "The body is flat.",
        "Send help.",
        "91 %",
        "check from 20 %, act from 60 %",
        "CC BY 4.0, Somebody",
        "840 ms",
        "300 ms",
        "Agrees with what is known",
        "1 of 1</b> false alarms stopped",
        "1 of 1</b> incidents reached a person",
        "no video stream",
        "42.0 s",
        "incident@1.0.0",
    ):
        assert words in page, words
    assert page.index("A person has fallen") < page.index("Nobody falls"), "what needs a person comes first"
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert [one.name for one in path.parent.iterdir()] == ["demo.html"]


def test_faces_are_hidden_unless_asked_for() -> None:
    sharp = jpeg()
    row = ReportRow(scan("fall.mp4"), {"a": sharp})

    def head(page: str) -> float:
        found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
        assert found is not None
        image = cv2.imdecode(np.frombuffer(base64.b64decode(found[1]), np.uint8), cv2.IMREAD_GRAYSCALE)
        return float(cv2.Laplacian(image[14:34, 34:78], cv2.CV_64F).std())

    assert head(render_report([row])) < 0.1 * head(render_report([row], blur=False))


def test_damaged_and_missing_pictures_leave_the_rest_readable() -> None:
    page = render_report([ReportRow(scan("a.mp4"), {"a": b"not an image"}), ReportRow(scan("b.mp4"))])
    assert "Picture is gone" in page
    assert "No pictures were stored." in page
    assert page.count("A person falls and stays down.") == 2


def test_detections_without_verdict_and_failures() -> None:
    bare = scan(
        "a.mp4",
        None,
        title=None,
        summary=None,
        narrative=None,
        reason=None,
        grounds=None,
        language=None,
        model=None,
        prompt=None,
    )
    failed = scan(
        "b.mp4",
        "review",
        score=None,
        narrative=None,
        error_source="reply",
        error="<b>bad</b>",
        grounded=False,
    )
    page = render_report([ReportRow(bare), ReportRow(failed)])
    assert "Not judged" in page
    assert "Fall at 0:01.0" in page
    assert "No verdict (reply: &lt;b&gt;bad&lt;/b&gt;)" in page
    assert "no score" in page


def test_an_alarm_of_another_type_is_neither_right_nor_wrong() -> None:
    clips = [ClipNote("fall.mp4", label="fall", incident=True)]
    page = render_report([ReportRow(scan("fall.mp4", "dismiss", event_type="fire"))], clips=clips)
    assert "Known: Fall" in page
    page = render_report([ReportRow(scan("fall.mp4", "dismiss"))], clips=clips)
    assert "Differs from what is known: Fall" in page


def test_empty_report_says_so() -> None:
    assert "No alarm was raised." in render_report([])


def test_summary_counts_clips() -> None:
    rows = [
        ReportRow(scan("x/fall.mp4", "dismiss")),
        ReportRow(scan("fall.mp4", "review")),
        ReportRow(scan("walk.mp4", "dismiss")),
        ReportRow(scan("walk.mp4", "escalate")),
        ReportRow(scan("sit.mp4", "dismiss")),
        ReportRow(scan("new.mp4", "escalate")),
    ]
    clips = [
        ClipNote("fall.mp4", incident=True),
        ClipNote("fire.mp4", incident=True),
        ClipNote("walk.mp4", incident=False),
        ClipNote("sit.mp4", incident=False),
        ClipNote("still.mp4", incident=False),
    ]
    total = summarise(rows, clips)
    assert dataclasses.astuple(total) == (6, 6, 2, 1, 3, 2, 1, 1, 1, 1, 1)


def test_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(tmp_path / "file" / "demo.html", [])
