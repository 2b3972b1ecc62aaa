"""MOT measures on cases worked out by hand, and the bundled annotation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.mot import measure
from evaluation.tracking import ANNOTATION, load_annotation, read_tracks
from pipeline.errors import ConfigError

LEFT, RIGHT, AWAY = (0.0, 0.0, 10.0, 20.0), (50.0, 0.0, 60.0, 20.0), (200.0, 0.0, 210.0, 20.0)
FRAMES = range(4)
TRUTH = {frame: {1: LEFT, 2: RIGHT} for frame in FRAMES}


def test_perfect_tracks() -> None:
    found = measure(TRUTH, {frame: {7: RIGHT, 9: LEFT} for frame in FRAMES}, FRAMES)
    assert (found.mota, found.idf1, found.motp, found.switches, found.fragments) == (1.0, 1.0, 1.0, 0, 0)


def test_swapped_ids_cost_two_switches_and_half_the_identities() -> None:
    tracks = {frame: ({1: LEFT, 2: RIGHT} if frame < 2 else {2: LEFT, 1: RIGHT}) for frame in FRAMES}
    found = measure(TRUTH, tracks, FRAMES)
    assert found.switches == 2
    assert found.mota == pytest.approx(1 - 2 / 8)
    assert found.idf1 == pytest.approx(0.5)


def test_misses_false_positives_and_an_interruption() -> None:
    """Given a track that pauses a frame and one where nobody is, then one miss, one fragment, four false."""
    tracks = {frame: {1: LEFT, 2: RIGHT, 3: AWAY} for frame in FRAMES}
    tracks[1] = {2: RIGHT, 3: AWAY}
    found = measure(TRUTH, tracks, FRAMES)
    assert (found.misses, found.false_positives, found.switches, found.fragments) == (1, 4, 0, 1)
    assert found.mota == pytest.approx(1 - 5 / 8)
    # True identities 7, of 8 annotated and 11 tracked boxes
    assert found.idf1 == pytest.approx(2 * 7 / 19)


def test_a_held_match_stays_though_another_box_fits_better() -> None:
    near = (1.0, 0.0, 11.0, 20.0)
    truth = {0: {1: LEFT}, 1: {1: LEFT}}
    found = measure(truth, {0: {5: near}, 1: {5: near, 6: LEFT}}, range(2))
    assert (found.switches, found.false_positives) == (0, 1)


def test_nothing_annotated_is_an_error() -> None:
    with pytest.raises(ValueError, match="no annotated box"):
        measure({}, {0: {1: LEFT}}, FRAMES)


def test_the_bundled_annotation_is_whole(tmp_path: Path) -> None:
    about, boxes = load_annotation(ANNOTATION)
    assert set(boxes) == set(range(about["frames"]))
    assert {track for frame in boxes.values() for track in frame} == set(range(1, 9))
    for frame in boxes.values():
        for x1, y1, x2, y2 in frame.values():
            assert 0 <= x1 < x2 <= about["width"] and 0 <= y1 < y2 <= about["height"]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"clip": "x"}))
    with pytest.raises(ConfigError):
        load_annotation(broken)
    tracks = tmp_path / "tracks.csv"
    tracks.write_text("1,4,10,20,5,6,1\n")
    assert read_tracks(tracks) == {0: {4: (10.0, 20.0, 15.0, 26.0)}}
