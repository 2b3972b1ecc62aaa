"""Scenes that training reads: as they are stored, by what tells of them, and at places that are known."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.embedded.vision_scene import OBJECT_CHANNELS, SCENE_CHANNELS
from models.train import data, scene_features, vision_scene
from models.train.data import Row
from models.train.mined_candidates import Item
from pipeline.types import Image

SHARED = Path(os.environ.get("SITREP_SHARED_DATA", data.ROOT.parent / "shared" / "data"))


class Encoder:
    """Keeps the pictures it is shown."""

    features_id = "scene-1"
    shown: Sequence[Image] = ()

    def __init__(self, *arguments: object) -> None:
        pass

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        Encoder.shown = [*Encoder.shown, *images]
        return np.full((len(images), SCENE_CHANNELS), images[0].mean(), np.float32)


def test_features_are_of_pictures_as_the_frame_store_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus").mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "corpus" / "1.png"), picture)
    row = Row("1.png", "fire", "train", "scene", "source", (), "")
    for name, value in {"SceneEncoder": Encoder, "FOLDER": tmp_path / "scene", "keep_memory": int}.items():
        monkeypatch.setattr(scene_features, name, value)
    monkeypatch.setattr(data, "WORK", tmp_path)
    monkeypatch.setattr(data, "shared_data", lambda: tmp_path)
    monkeypatch.setattr(data, "read_rows", lambda: [row])
    monkeypatch.setattr("sys.argv", ["scene_features"])
    scene_features.main()
    (shown,) = Encoder.shown
    assert np.array_equal(shown, data.as_stored(picture)) and not np.array_equal(shown, picture)
    assert scene_features.of_rows([row]).shape == (1, SCENE_CHANNELS)
    scene_features.main()
    assert len(Encoder.shown) == 1


def test_traffic_is_told_by_contrast_and_crashes_by_both() -> None:
    """Given roads that object features tell and contrast features tell too, then only contrast is read."""
    random = np.random.default_rng(0)
    road = np.arange(60) % 2 == 0
    crash = road & (np.arange(60) % 4 == 0)
    x = np.zeros((60, SCENE_CHANNELS))
    for column, truth in ((0, road), (1, crash), (OBJECT_CHANNELS, road), (OBJECT_CHANNELS + 1, crash)):
        x[:, column] = truth + random.normal(0, 0.2, 60)
    (crash_weights, _), (road_weights, _) = vision_scene.fit_both(x, crash, road)
    assert not road_weights[:OBJECT_CHANNELS].any() and road_weights[OBJECT_CHANNELS] > 0
    assert crash_weights[1] > 0 and crash_weights[OBJECT_CHANNELS + 1] > 0


def test_each_picture_is_judged_by_probes_that_saw_nearly_all_scenes_but_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught: list[set[float]] = []

    def fit(x: np.ndarray, crash: np.ndarray, road: np.ndarray) -> None:
        taught.append(set(x[:, 0]))

    def told(x: np.ndarray, lines: None) -> np.ndarray:
        assert not set(x[:, 0]) & taught[-1]
        return x[:, 0]

    monkeypatch.setattr(vision_scene, "fit_both", fit)
    monkeypatch.setattr(vision_scene, "both_log_odds", told)
    scene = np.repeat(np.arange(100), 3)
    truth = np.zeros(300, bool)
    odds = vision_scene.unseen_log_odds(scene[:, None].astype(float), truth, truth, scene)
    assert np.array_equal(odds, scene) and min(map(len, taught)) >= 95


def test_a_picture_of_a_collection_weighs_as_a_scene() -> None:
    (collection,) = data.COLLECTIONS
    of_collection = [Item("p", name, "crowd", "train", collection, "s") for name in ("1.jpg", "2.jpg")]
    of_scene = [Item("p", name, "crowd", "train", "s:1", "s") for name in ("1.jpg", "2.jpg")]
    assert len({item.scene for item in of_collection}) == 2 and {item.group for item in of_collection} == {
        collection
    }
    assert {item.scene for item in of_scene} == {"s:1"}


def test_places_that_are_known_are_named_after_one_of_their_scenes() -> None:
    with data.PLACES.open(newline="") as lines:
        listed = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    scenes = Counter(row["group"] for row in listed)
    assert len(listed) > 300 and max(scenes.values()) == 1
    members = Counter(row["place"] for row in listed)
    assert min(members.values()) >= 2 and set(members) <= set(scenes)


@pytest.mark.shared_data
def test_nothing_of_the_corpus_is_learned_from_and_measured_at_one_place() -> None:
    if not (SHARED / "corpus" / "index.tsv").is_file():
        pytest.skip("the corpus is not here (SITREP_SHARED_DATA)")
    rows = data.read_rows(SHARED)
    learned = {row.group for row in rows if row.split in data.LEARNED}
    measured = {row.group for row in rows if row.split == "test"} | data.development_places()
    assert len(learned) > 1000 and len(measured) > 100 and not learned & measured
    assert any(row.group in data.COLLECTIONS for row in rows)


def test_processes_share_a_list_between_them() -> None:
    parts = [list(range(7))[data.shard(text)] for text in ("0/2", "1/2")]
    assert parts == [[0, 2, 4, 6], [1, 3, 5]] and list(range(7))[data.shard("0/1")] == list(range(7))


@pytest.mark.parametrize("text", ["2/2", "0/0", "-1/2", "half", "1"])
def test_a_shard_that_is_none_is_refused_with_an_example(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scene_features, "keep_memory", int)
    monkeypatch.setattr("sys.argv", ["scene_features", f"--shard={text}"])
    with pytest.raises(SystemExit):
        scene_features.main()
    assert "such as 0/2" in capsys.readouterr().err
