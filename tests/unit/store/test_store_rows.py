"""What goes into the store comes out again; what is old goes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, func, select, update
from support.queue_help import apart, candidate, verdict

from pipeline.errors import FrameStoreError
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.settings import Settings
from pipeline.store import candidates, feedback, retention, verdicts
from pipeline.store.codec import moment, plain, verdict_from, verdict_row
from pipeline.store.engine import read, write
from pipeline.store.frames import FileFrameStore, open_frame_store
from pipeline.store.schema import Answer, frames, incidents, jobs
from pipeline.store.schema import candidates as candidates_table
from pipeline.types import (
    Action,
    Criterion,
    EventType,
    Evidence,
    KeyFrame,
    Moment,
    SeenObject,
    VerdictState,
    View,
)

RICH = dataclasses.replace(
    candidate("c", zone="문 앞", wall_time="2026-03-01T09:00:00+09:00"),
    evidence=Evidence(
        objects=(SeenObject("person", 0.9, (0.1, 0.2, 0.3, 0.4), 1.5, 7),),
        counts={"person": 2},
        facts={"flow_peak": 1.25, "still_s": None, "night": True, "note": "x"},
        note="A person fell.",
    ),
    key_frames=(
        KeyFrame("a" * 64, View.FULL, Moment.PEAK, 1.0, 640, 360),
        KeyFrame("b" * 64, View.MOTION, Moment.PEAK, 1.0, 200, 200, (0.0, 0.1, 0.5, 0.6)),
    ),
)


def test_a_candidate_comes_back_the_same(store: Engine) -> None:
    with write(store) as connection:
        candidates.put(connection, RICH)
        candidates.put(connection, RICH)
    with read(store) as connection:
        assert candidates.get(connection, "c") == RICH
        assert candidates.get(connection, "nonsense") is None
        assert connection.execute(select(candidates_table.c.occurred_at)).scalar_one() == datetime(
            2026, 3, 1, tzinfo=UTC
        )
        assert connection.execute(select(func.count()).select_from(frames)).scalar_one() == 2


def test_a_verdict_comes_back_the_same() -> None:
    full = dataclasses.replace(
        verdict(), criteria=(Criterion("motion", True, "1.2", "a" * 64),), grounded=True, log_odds=2.2
    )
    assert verdict_from(verdict_row(full)) == full
    failed = verdict(Action.REVIEW, score=None, state=VerdictState.FAILED, error="away")
    assert verdict_from(verdict_row(failed)) == failed


def test_numpy_and_nan_become_plain_json() -> None:
    assert plain({"a": np.float32(0.5), "b": float("nan"), "c": np.int64(3), "d": (1, 2)}) == {
        "a": 0.5,
        "b": None,
        "c": 3,
        "d": [1, 2],
    }
    with pytest.raises(TypeError, match="object cannot be stored"):
        plain(object())


def test_what_a_model_says_may_hold_anything(store: Engine, store_settings: Settings) -> None:
    queue = Queue(store_settings, store)
    queue.sender.send = lambda *_: True  # type: ignore[method-assign]
    job = queue.submit(candidate("c"))
    claimed = work.claim(store, store_settings, job.job_id, "w/1")
    assert claimed is not None
    odd = dataclasses.replace(
        verdict(error="a\x00b", title="\x00\ud800"), raw_reply="\x00\ud800💥", reason="\udfff"
    )
    assert work.finish(store, *claimed, odd)
    stored = queue.verdict(job.job_id)
    assert stored is not None
    assert stored.raw_reply == "\ufffd?💥"
    assert stored.narrative is not None
    assert stored.narrative.title == "\ufffd?"
    assert (stored.error, stored.reason) == ("a\ufffdb", "?")
    assert verdicts.of_jobs(store, []) == {}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-03-01T00:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T00:00:00", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T09:00:00+09:00", datetime(2026, 3, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_wall_times(said: str | None, meant: datetime | None) -> None:
    assert moment(said) == meant


def test_candidates_are_found_page_by_page(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "PAGE", 2)
    day = datetime(2026, 3, 1, tzinfo=UTC)
    with write(store) as connection:
        for n in range(5):
            when = (day + timedelta(days=n)).isoformat()
            kind = EventType.FIRE if n == 4 else EventType.FALL
            candidates.put(connection, candidate(f"c{n}", wall_time=when, event=kind, camera=f"cam{n % 2}"))

    def names(**filters: object) -> list[str]:
        return [one.candidate_id for one in candidates.find(store, **filters)]  # type: ignore[arg-type]

    assert names() == ["c0", "c1", "c2", "c3", "c4"]
    assert names(since=day + timedelta(days=1), until=day + timedelta(days=3)) == ["c1", "c2"]
    assert names(camera="cam1") == ["c1", "c3"]
    assert names(event_types=[EventType.FIRE]) == ["c4"]
    assert names(run_id="nonsense") == []


def test_frames_are_found_by_their_hash(tmp_path: Path) -> None:
    kept = FileFrameStore(tmp_path / "frames")
    name = kept.put(b"bytes")
    assert kept.put(b"bytes") == name
    assert kept.get(name) == b"bytes"
    assert list(kept.stored()) == [name]
    assert kept.path(name) == tmp_path / "frames" / name[:2] / name
    assert kept.remove(name)
    assert not kept.remove(name)
    with pytest.raises(FrameStoreError, match="cannot be read"):
        kept.get(name)


def test_a_damaged_frame_is_refused_and_mended_by_storing_it_again(tmp_path: Path) -> None:
    kept = FileFrameStore(tmp_path)
    name = kept.put(b"bytes")
    kept.path(name).write_bytes(b"byt")
    with pytest.raises(FrameStoreError, match="damaged"):
        kept.get(name)
    assert kept.put(b"bytes") == name
    assert kept.get(name) == b"bytes"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_hashes_name_frames(tmp_path: Path, name: str) -> None:
    with pytest.raises(FrameStoreError, match="64 hex"):
        FileFrameStore(tmp_path).get(name)


def test_no_empty_frame(tmp_path: Path) -> None:
    with pytest.raises(FrameStoreError, match="empty"):
        FileFrameStore(tmp_path).put(b"")


def test_retention_removes_what_is_old_and_nobody_needs(store: Engine, store_settings: Settings) -> None:
    """Given old and young, confirmed and unfinished candidates, then only the right ones go."""
    queue = Queue(store_settings, store)
    queue.sender.send = lambda *_: True  # type: ignore[method-assign]
    kept = open_frame_store(store_settings)
    shared = kept.put(b"shared")

    def made(name: str, number: int, *, judged: bool = True) -> str:
        one = candidate(name, settings=store_settings, **apart(number))
        both = (*one.key_frames, KeyFrame(shared, View.FULL, Moment.BEFORE, 0.0, 64, 48))
        job = queue.submit(dataclasses.replace(one, key_frames=both))
        if judged:
            claimed = work.claim(store, store_settings, job.job_id, "w/1")
            assert claimed is not None
            work.finish(store, *claimed, verdict())
        return one.key_frames[0].sha256

    hashes = {
        "old": made("old", 1),
        "confirmed": made("confirmed", 2),
        "waiting": made("waiting", 3, judged=False),
        "young": made("young", 4),
    }
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with write(store) as connection:
        old = candidates_table.c.candidate_id != "young"
        connection.execute(update(candidates_table).where(old).values(created_at=long_ago))
        connection.execute(update(incidents).values(updated_at=long_ago))
        connection.execute(update(frames).values(created_at=long_ago))
        confirmed = connection.execute(
            select(candidates_table.c.incident_id).where(candidates_table.c.candidate_id == "confirmed")
        ).scalar_one()
    feedback.give(store, confirmed, Answer.CONFIRMED, operator="kim")

    removed = retention.sweep(store, kept, days=30)

    assert (removed.candidates, removed.incidents, removed.frames) == (1, 1, 1)
    assert sorted(kept.stored()) == sorted([shared, *(hashes[k] for k in ("confirmed", "waiting", "young"))])
    with read(store) as connection:
        left = set(connection.execute(select(candidates_table.c.candidate_id)).scalars())
        assert set(connection.execute(select(jobs.c.candidate_id)).scalars()) == left
    assert left == {"confirmed", "waiting", "young"}
    assert retention.sweep(store, kept, days=30) == retention.Removed()
    assert made("old", 1) == hashes["old"]
    assert kept.get(hashes["old"])
