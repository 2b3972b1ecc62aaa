"""Cameras in the store and in the metrics: state, counters, gaps, clips that were read."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from pipeline.desk.metrics import camera_metrics
from pipeline.ingest.live import Gap, Health
from pipeline.store import cameras
from pipeline.store.engine import read, write
from pipeline.store.schema import utcnow
from pipeline.watch.group import CameraReport
from pipeline.watch.process import camera_row, gap_rows

HEALTH = Health(
    state="away", reason="no frame for 4 s", received=90, sampled=30, dropped=2, reconnects=3, gaps=1
)
REPORT = CameraReport("gate", "rtsp://nvr/1", HEALTH, 12, 4, 0.2, 7.0, ((Gap(3.0, 8.0, "it broke"), 1.0),))


def test_a_report_becomes_a_row_and_its_gaps_rows_of_their_own(store: Engine) -> None:
    """Given a report, when it is written twice, then there is one camera, and each gap at its clock time."""
    for _ in range(2):
        with write(store) as connection:
            cameras.put(connection, [camera_row(REPORT, "run-1")])
    with write(store) as connection:
        cameras.add_gaps(connection, gap_rows(REPORT, "run-1"))
        cameras.add_gaps(connection, [])
    with read(store) as connection:
        rows, gaps = cameras.listing(connection), cameras.gaps(connection, "gate")
        assert cameras.gaps(connection, "gate", utcnow() + timedelta(hours=1)) == []
    assert [(row["camera"], row["state"], row["skipped"]) for row in rows] == [("gate", "away", 4)]
    assert [gap["reason"] for gap in gaps] == ["it broke"]
    assert gaps[0]["end_at"] - gaps[0]["start_at"] == timedelta(seconds=5)
    assert timedelta(0) < utcnow() - gaps[0]["end_at"] < timedelta(seconds=30)


def test_metrics_say_what_is_up_and_what_was_left_out(store: Engine) -> None:
    """Given a camera that is away, when metrics are read, then it is down and its counters are told."""
    with write(store) as connection:
        cameras.put(connection, [camera_row(REPORT, "run-1")])
    with read(store) as connection:
        families = list(camera_metrics(cameras.listing(connection)))
    told = {sample.name: sample.value for family in families for sample in family.samples}
    assert told["sitrep_camera_up"] == 0.0
    assert told["sitrep_camera_skipped_total"] == 4
    assert told["sitrep_camera_dropped_total"] == 2
    assert told["sitrep_camera_gaps_total"] == 1


def test_a_clip_is_known_by_its_content_once_it_was_read(store: Engine) -> None:
    """Given a followed clip, when it was read, then it is known, also under another name."""
    assert not cameras.clip_known(store, "c0ffee")
    cameras.clip_done(store, "c0ffee", "/in/a.mp4", "run-1")
    cameras.clip_done(store, "c0ffee", "/in/b.mp4", "run-2")
    assert cameras.clip_known(store, "c0ffee")
