"""Dataset files: what is accepted, and what a faulty one is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from eval_rows import truth

from evaluation.dataset import DatasetError, load_dataset
from evaluation.importers import import_folders, import_kisa, import_ucf_crime
from evaluation.truth import candidate_truth, compatible

ROOT = Path(__file__).parents[3]
EVENTS = ROOT / "evaluation" / "data" / "dev_events.jsonl"


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_good_file_loads(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    data = load_dataset(write(tmp_path / "val.jsonl", [truth("a.mp4", "fall", kind="person_down", note="n")]))
    assert data.split == "val"
    assert data.clip_path(data.rows[0]) == tmp_path / "a.mp4"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"clip": "a.mp4"', "not one JSON object"),
        (json.dumps({**truth("a"), "colour": 1}), "unknown key 'colour'"),
        (json.dumps({k: v for k, v in truth("a").items() if k != "group"}), "'group' is missing"),
        (json.dumps(truth("a", "benign", escalate=True)), "contradict"),
        (json.dumps(truth("a", events=[{"type": "fall", "start_s": 0, "end_s": 1}])), "cannot have events"),
        (
            json.dumps(truth("a", "fall", events=[{"type": "fal", "start_s": 0, "end_s": 1}])),
            "write one of fall",
        ),
        (
            json.dumps(truth("a", "fall", events=[{"type": "fall", "start_s": 3, "end_s": 1}])),
            "before start_s",
        ),
        (json.dumps(truth("a", "Fall down")), "label"),
    ],
)
def test_a_faulty_line_is_named_and_explained(tmp_path, row, said):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(truth("ok.mp4")) + "\n" + row + "\n")
    with pytest.raises(DatasetError) as error:
        load_dataset(path, check_files=False)
    assert "line 2" in error.value.message
    assert said in error.value.message
    assert "\n" not in error.value.one_line()


def test_twice_the_same_clip_missing_clips_and_empty_files(tmp_path):
    path = write(tmp_path / "d.jsonl", [truth("a.mp4"), truth("a.mp4")])
    with pytest.raises(DatasetError, match="already on line 1"):
        load_dataset(path, check_files=False)
    with pytest.raises(DatasetError, match="1 of 1 clips are not below"):
        load_dataset(write(path, [truth("gone.mp4")]))
    path.write_text("\n")
    with pytest.raises(DatasetError, match="holds no clip"):
        load_dataset(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        load_dataset(tmp_path / "absent.jsonl")


def test_the_hash_is_of_the_truth_not_of_the_file(tmp_path):
    a, b = truth("a.mp4", "fall"), truth("b.mp4")
    first = load_dataset(write(tmp_path / "1.jsonl", [a, b]), check_files=False)
    moved = load_dataset(write(tmp_path / "2.jsonl", [{**b, "note": "new"}, a]), check_files=False)
    other = load_dataset(write(tmp_path / "3.jsonl", [{**a, "group": "x"}, b]), check_files=False)
    assert first.sha256 == moved.sha256 != other.sha256


def test_the_annotated_events_of_the_development_clips():
    data = load_dataset(EVENTS, check_files=False)
    incidents = [row for row in data.rows if row.escalate]
    assert (len(data.rows), len(incidents), data.split) == (96, 42, "dev")
    for row in incidents:
        assert row.events, row.clip
        assert row.scored_type in {event.type for event in row.events}
        # Clip lengths are written to two digits, and containers round them either way.
        assert all(event.end_s <= (row.seconds or 0) + 0.3 for event in row.events), row.clip
        assert (row.seconds == 0) == all(event.end_s == 0 for event in row.events)


@pytest.mark.shared_data
def test_event_times_lie_over_the_shared_file():
    shared = Path(os.environ.get("SITREP_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (shared / "clips" / "dev.jsonl").is_file():
        pytest.skip("the development footage is not here (SITREP_SHARED_DATA)")
    own = load_dataset(EVENTS, clips=shared / "clips")
    laid_over = load_dataset(shared / "clips" / "dev.jsonl", events=EVENTS)
    assert own.sha256 == laid_over.sha256
    assert laid_over.split == "dev"


def test_truth_of_a_candidate():
    row = load_row(truth("a", "fire", events=[{"type": "fire", "start_s": 10, "end_s": 30}]))
    assert candidate_truth(row, "fire", 12, 14) is True
    assert candidate_truth(row, "smoke", 8, 9) is True  # two seconds early, and smoke goes with fire
    assert candidate_truth(row, "fire", 1, 3) is None
    assert candidate_truth(row, "fall", 12, 14) is None
    assert candidate_truth(load_row(truth("b")), "fire", 0, 1) is False
    assert candidate_truth(load_row(truth("c", "weapon")), "violence", 0, 1) is True
    assert candidate_truth(load_row(truth("c", "weapon")), "other", 0, 1) is True
    assert candidate_truth(load_row(truth("c", "weapon")), "smoke", 0, 1) is None, "nobody has labelled it"
    assert candidate_truth(load_row(truth("c", "paint_ball")), "smoke", 0, 1) is True
    assert not compatible("fall", "violence")


def load_row(row: dict):
    from evaluation.dataset import DatasetRow

    return DatasetRow.model_validate(row)


def test_folders_by_label(tmp_path):
    for name in (
        "fight/scene1_a.mp4",
        "benign/scene1_b.mp4",
        "Paint-Ball/c.mp4",
        "fall/notes.txt",
        "top.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    rows = {row.clip: row for row in import_folders(tmp_path, licence="own", group_pattern=r"(scene\d+)")}
    assert set(rows) == {"fight/scene1_a.mp4", "benign/scene1_b.mp4", "Paint-Ball/c.mp4"}
    assert rows["fight/scene1_a.mp4"].label == "violence"
    assert not rows["benign/scene1_b.mp4"].escalate
    assert rows["Paint-Ball/c.mp4"].label == "paint_ball"
    assert rows["Paint-Ball/c.mp4"].scored_type == "other"
    assert rows["fight/scene1_a.mp4"].group == rows["benign/scene1_b.mp4"].group
    with pytest.raises(DatasetError, match="exactly one"):
        import_folders(tmp_path, licence="own", group_pattern="scene")
    with pytest.raises(DatasetError, match="no clip"):
        import_folders(tmp_path / "fight", licence="own")


def test_ucf_crime_annotations(tmp_path):
    names = ("Abuse028_x264.mp4", "Normal_Videos_003_x264.mp4", "Shooting002_x264.mp4")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    text = tmp_path / "Temporal_Anomaly_Annotation.txt"
    text.write_text(
        "Abuse028_x264.mp4  Abuse  165  240  300  330\n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1\n"
        "Shooting002_x264.mp4  Shooting  30  60  -1  -1\n"
        "Arson001_x264.mp4  Arson  30  60  -1  -1\n"
    )
    abuse, normal, shooting = import_ucf_crime(text, tmp_path)
    assert [(event.type, event.start_s, event.end_s) for event in abuse.events] == [
        ("violence", 5.5, 8.0),
        ("violence", 10.0, 11.0),
    ]
    assert not normal.escalate
    assert (shooting.label, shooting.events[0].type) == ("shooting", "other")
    text.write_text("Abuse028_x264.mp4 Abuse 165\n")
    with pytest.raises(DatasetError, match="line 1: expected NAME CLASS"):
        import_ucf_crime(text, tmp_path)


KISA = """<?xml version="1.0" encoding="utf-8"?>
<KisaLibraryIndex><Library><Scenario>Loitering</Scenario><Dataset>A</Dataset><Libversion>1</Libversion>
<Clip><Header><Filename>C001_A1.mp4</Filename><Duration>00:05:00</Duration><AlarmEvents>2</AlarmEvents></Header>
<Alarms><Alarm><StartTime>00:01:10</StartTime><AlarmDescription>Loitering</AlarmDescription>
<AlarmDuration>00:00:30</AlarmDuration></Alarm><Alarm><StartTime>00:03:00.5</StartTime>
<AlarmDescription>FallDown</AlarmDescription><AlarmDuration>00:00:10</AlarmDuration></Alarm></Alarms>
</Clip></Library></KisaLibraryIndex>"""
AIHUB = """<annotation><filename>walk.mp4</filename><size><width>1</width></size></annotation>"""


def test_kisa_style_xml(tmp_path):
    for name in ("C001_A1.mp4", "walk.mp4"):
        (tmp_path / name).write_bytes(b"")
    notes = tmp_path / "xml"
    notes.mkdir()
    (notes / "C001_A1.xml").write_text(KISA)
    (notes / "walk.xml").write_text(AIHUB)
    loiter, walk = import_kisa(notes, tmp_path, licence="KISA terms")
    assert [(event.type, event.start_s, event.end_s) for event in loiter.events] == [
        ("loitering", 70.0, 100.0),
        ("fall", 180.5, 190.5),
    ]
    assert not walk.escalate
    (notes / "walk.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(DatasetError, match="declares entities"):
        import_kisa(notes, tmp_path, licence="KISA terms")
    (notes / "walk.xml").write_text("<x>")
    with pytest.raises(DatasetError, match="is not XML"):
        import_kisa(notes, tmp_path, licence="KISA terms")
