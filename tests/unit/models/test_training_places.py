"""Which scenes show one place, and that nothing is learned at a place that others are measured at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.train import data, mined_candidates, places, vision_clip_views, vision_finetune
from models.train.places import described, joined, pairs_to_compare, same_place
from pipeline.types import Image


def street(seed: int) -> Image:
    """Something with corners everywhere."""
    random = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), 90, np.uint8)
    for _ in range(120):
        x, y = (int(v) for v in random.integers(0, (300, 220)))
        colour = tuple(int(v) for v in random.integers(0, 255, 3))
        cv2.rectangle(
            picture, (x, y), (x + int(random.integers(6, 40)), y + int(random.integers(6, 40))), colour, -1
        )
    return picture


def are_same(one: Image, other: Image) -> bool:
    first, second = described(one), described(other)
    return first is not None and second is not None and same_place(first, second)


def test_a_place_is_known_again_from_nearby_in_other_light_and_with_somebody_in_front() -> None:
    before = street(1)
    turned = cv2.warpAffine(before, np.array([[1.04, 0.02, -12.0], [-0.02, 1.04, 5.0]]), (320, 240))
    later = np.clip(turned * 0.7 + 20, 0, 255).astype(np.uint8)
    cv2.rectangle(later, (120, 60), (180, 230), (30, 30, 160), -1)
    assert are_same(before, later)


def test_other_places_are_other_places_even_under_the_same_logo() -> None:
    one, other = street(1), street(2)
    assert not are_same(one, other)
    logo = street(3)[:60, :80]
    one[:60, :80] = other[:60, :80] = logo
    assert not are_same(one, other)
    assert described(np.full((240, 320, 3), 90, np.uint8)) is None


def test_places_hang_together_and_are_named_after_their_first_scene() -> None:
    found = joined(["c", "a", "b", "d"], [("b", "c"), ("a", "b")])
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_pictures_are_compared_across_the_scenes_of_one_collection_only() -> None:
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    pairs = pairs_to_compare(x, ["fires:a", "fires:a", "fires:b", "falls:a", "office"])
    assert pairs == [(0, 2), (1, 2)]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Scene 1 and 2 show one place, scene 3 and a development clip another, scene 4 and 5 a third."""
    folder = tmp_path / "data"
    for part in ("corpus", "clips", "train_clips"):
        (folder / part).mkdir(parents=True)
    listed = [("s:1.mp4", "train"), ("s:2", "test"), ("s:3", "val"), ("s:4", "train"), ("s:5", "val")]
    lines = ["file\tlabel\tsplit\tgroup\tboxes\tcaption\tsource\tlicence"]
    lines += [f"{n}.jpg\tfight\t{split}\t{group}\t\t\ts\t-" for n, (group, split) in enumerate(listed, 1)]
    (folder / "corpus" / "index.tsv").write_text("\n".join(lines) + "\n")
    (folder / "clips" / "dev.jsonl").write_text(json.dumps({"clip": "a.mp4", "group": "s:dev"}) + "\n")
    clips = [{"clip": f"{n}.mp4", "label": "violence", "split": "train", "group": f"s:{n}"} for n in (3, 4)]
    (folder / "train_clips" / "train.jsonl").write_text("\n".join(map(json.dumps, clips)) + "\n")
    table = tmp_path / "places.tsv"
    places.write(
        {"s:1": "s:1", "s:2": "s:1", "s:3": "s:3", "s:dev": "s:3", "s:4": "s:4", "s:5": "s:4"}, table
    )
    monkeypatch.setenv("SITREP_SHARED_DATA", str(folder))
    monkeypatch.setattr(data, "PLACES", table)
    data.places.cache_clear()
    data.development_places.cache_clear()
    yield folder
    data.places.cache_clear()
    data.development_places.cache_clear()


def test_nothing_is_learned_at_a_place_of_test_or_of_a_development_clip(corpus: Path) -> None:
    rows = data.read_rows()
    assert [row.split for row in rows] == [data.HELD, "test", data.HELD, "train", "val"]
    assert [row.group for row in rows] == ["s:1", "s:1", "s:3", "s:4", "s:4"]
    filed = data.read_rows(filed=True)
    assert [(row.group, row.split) for row in filed[:3]] == [
        ("s:1", "train"),
        ("s:2", "test"),
        ("s:3", "val"),
    ]
    assert data.taught_places() == {"s:1", "s:4"}
    assert [item.split for item in mined_candidates.items()[5:]] == [data.HELD, "train"]


def test_networks_of_folds_see_no_place_of_test(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given cached views as the corpus files them, then none of a held place is learned from in any fold."""
    learnt: list[set[int]] = []
    monkeypatch.setattr(
        vision_finetune, "train", lambda *args, **more: learnt.append(set(args[4])) or Upper()
    )
    monkeypatch.setattr(vision_finetune, "export", lambda *args: None)
    monkeypatch.setattr(data, "FOLDS_DIR", corpus / "folds")
    monkeypatch.setattr(data, "fold_of_groups", lambda rows, count: {"s:4": 1})
    labels = {"group": np.array(["s:1", "s:4", "s:1.mp4"]), "target": None, "mask": None}
    vision_finetune.train_folds(np.zeros(3), labels, {"seed": 0, "passes": 1.0})
    assert learnt == [{1}, set(), {1}]


def test_clips_at_places_of_development_clips_are_measured_but_not_learned_from(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = corpus / "clip-views.npz"
    monkeypatch.setattr(vision_clip_views, "VIEWS", stored)
    clip, group = np.array(["3.mp4", "4.mp4", ""]), np.array(["s:3", "s:4", "s:3"])
    np.savez(stored, x=np.zeros((3, 4)), truth=np.array([True, False, False]), clip=clip, group=group)
    every = vision_clip_views.Views.read()
    assert list(every.names) == ["3.mp4", "4.mp4"] and list(every.place) == ["s:3", "s:4", "s:3"]
    assert list(every.unmeasured().clip) == ["4.mp4", ""]


class Upper:
    """Stands for a trained network."""

    def state_dict(self) -> dict[str, object]:
        return {}
