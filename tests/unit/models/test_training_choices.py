"""What training refuses to mix, and what it reads off alarms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from models.embedded.heads import DecisionHead
from models.embedded.heads_evidence import read_additive
from models.embedded.vision import ATTRIBUTES, VisionFeatures
from models.embedded.vision_clip import CLIP_CHANNELS
from models.embedded.vision_motion import MOTION_STATISTICS
from models.embedded.vision_scene import OBJECT_CHANNELS, SCENE_CHANNELS
from models.train import (
    data,
    mined_candidates,
    vision_calibrate,
    vision_clip_views,
    vision_finetune,
    vision_scene,
    vision_seen,
)
from models.train.data import Row, claim, fold_of_groups
from models.train.mined_candidates import Eyes, Item, Mined, mine
from models.train.vision_calibrate import LEARN, rows_of
from models.train.vision_candidates import TASKS
from models.train.vision_evidence_model import fit_additive, stored
from models.train.vision_heads import alarms_of, choose_region, evidence_model, unseen_evidence
from models.train.vision_measure import auc, by_scene, calibration_error, error_by_chance
from models.train.vision_unseen import EVIDENCE, Unseen
from pipeline.detect import Stage1
from pipeline.detect.triggers.fire import FireTrigger
from pipeline.types import Candidate, EventType, Evidence, KeyFrame, Moment, TriggerScore, View
from tests.unit.detect.test_stage import Nobody

FALL = next(task for task in TASKS if task.name == "fall")
DOWN = ATTRIBUTES.index("person_down")


def frame(view: View) -> KeyFrame:
    return KeyFrame("0" * 64, view, Moment.PEAK, 1.0, 640, 360)


def seen(views: list[View], logits: np.ndarray, clip: np.ndarray | None = None) -> VisionFeatures:
    count = len(views)
    return VisionFeatures(
        np.zeros((count, 0, 0), np.float32),
        np.zeros((count, 1280), np.float32),
        logits.astype(np.float32),
        np.full((count, len(MOTION_STATISTICS)), np.nan, np.float32),
        clip=clip,
    )


def alarm(number: int, label: str, full: float, region: float, split: str = "val") -> Mined:
    views = [View.FULL, View.REGION]
    logits = np.zeros((2, len(ATTRIBUTES)))
    logits[:, DOWN] = full, region
    candidate = Candidate(
        f"c{number}",
        "camera",
        "clip",
        EventType.FALL,
        0.0,
        0.0,
        TriggerScore("t", 0.5),
        Evidence(),
        tuple(frame(view) for view in views),
    )
    item = Item("p", f"picture {number}", label, split, f"scene {number}", "source")
    return Mined(item, [candidate], [seen(views, logits)])


def alarms(told_by: str, count: int = 24) -> list[Mined]:
    """Alarms in which only one kind of view tells real from false."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        real = number % 2 == 0
        tells, noise = (3.0 if real else -3.0), float(random.normal(0, 3))
        full, region = {"region": (noise, tells), "full": (tells, noise), "both": (tells, tells)}[told_by]
        made.append(alarm(number, "fall" if real else "normal_person", full, region))
    return made


def test_regions_weigh_what_they_tell_on_alarms() -> None:
    """Given alarms that only the region tells apart, then it weighs most; where neither is better, half."""
    assert choose_region(FALL, alarms_of(FALL, alarms("region"))) == 0.75
    assert choose_region(FALL, alarms_of(FALL, alarms("full"))) <= 0.25
    assert choose_region(FALL, alarms_of(FALL, alarms("both"))) == 0.5


def test_one_alarm_in_hundreds_does_not_move_how_much_a_region_weighs() -> None:
    """Given one picture of 300 that only its region saves, then what half and more of it tell is alike."""
    many = alarms("both", 600)
    many[0].features[0].logits[0, DOWN] = -20.0
    assert choose_region(FALL, alarms_of(FALL, many)) == 0.5
    few = alarms("both", 60)
    few[0].features[0].logits[0, DOWN] = -20.0
    assert choose_region(FALL, alarms_of(FALL, few)) == 0.75


def test_only_alarms_that_are_real_or_harmless_and_not_of_test_count() -> None:
    few = alarms("region", 14)
    assert alarms_of(FALL, few) == [] and choose_region(FALL, []) == 0.5
    others = [alarm(number, "fight", 9.0, 9.0) for number in range(30, 50)]
    others += [alarm(number, "fall", 9.0, 9.0, split="test") for number in range(50, 70)]
    assert len(alarms_of(FALL, alarms("region") + others)) == 24


def test_evidence_reads_the_same_once_it_is_stored() -> None:
    """Given measurements that are 0, 1 or a count, a stored model has each in the bin it was fitted in."""
    random = np.random.default_rng(1)
    truth = random.random(400) < 0.5
    numbers = [
        {"head_below_hip": float(random.random() < 0.2 + 0.6 * real), "person_count": float(real + index % 3)}
        for index, real in enumerate(truth)
    ]
    fitted = fit_additive(numbers, truth, ["head_below_hip", "person_count"], np.ones(400))
    read = read_additive(json.loads(json.dumps(stored(fitted))))
    assert read is not None and len(read.edges["person_count"]) > 1
    for row in numbers[:20]:
        assert read.log_odds(row) == pytest.approx(fitted.log_odds(row), abs=2e-4)
    down = read.log_odds({"head_below_hip": 1.0}) - read.log_odds({"head_below_hip": 0.0})
    assert down > 0.5


@pytest.mark.parametrize("tells", [True, False])
def test_evidence_is_learnt_from_alarms(tells: bool) -> None:
    """Given alarms whose torsos tell real from false, then the model says what those alarms say."""
    made = []
    for one in alarms("both", 80):
        real = one.item.label == "fall"
        angle = 90.0 if real == tells else 5.0
        facts = {"torso_angle_deg": angle, "person_count": 1}
        candidates = [replace(found, evidence=Evidence(facts=facts)) for found in one.candidates]
        made.append(replace(one, item=replace(one.item, split="train"), candidates=candidates))
    model = evidence_model(FALL, alarms_of(FALL, made))
    assert model is not None
    lying = model.log_odds({"torso_angle_deg": 90.0}) - model.log_odds({"torso_angle_deg": 5.0})
    assert lying > 0.5 if tells else lying < -0.5


def test_evidence_is_weighed_by_models_that_have_not_seen_the_scene() -> None:
    """Given poses that tell scenes apart but not real from false, then they say nothing of new ones."""
    made = []
    for one in alarms("both", 120):
        number = int(one.item.name.split()[-1])
        facts = {"torso_angle_deg": float(number % 60), "person_count": 1}
        candidates = [replace(found, evidence=Evidence(facts=facts)) for found in one.candidates]
        made.append(replace(one, candidates=candidates))
    found = alarms_of(FALL, made)
    truth = np.array([one.real for one in found])
    model = evidence_model(FALL, found)
    assert model is not None
    seen_odds = np.array([model.log_odds(one.numbers()) for one in found])
    unseen_odds = unseen_evidence(FALL, found)
    assert unseen_odds is not None and auc(truth, unseen_odds) < auc(truth, seen_odds) - 0.1


def test_pictures_are_seen_by_networks_that_were_not_taught_them() -> None:
    rows = [
        Row(f"{number}.jpg", label, "train", f"scene {number // 3}", "source", (), "")
        for number, label in enumerate(["fire", "fall", "general"] * 30)
    ]
    fold_of = fold_of_groups([*rows, replace(rows[0], split="test", group="scene of test")], 3)
    assert set(fold_of) == {row.group for row in rows} and set(fold_of.values()) == {0, 1, 2}
    taught, other, scene, clip = (cast("Any", name) for name in ("taught", "other", "scene", "clip"))
    eyes = Eyes(taught, scene, clip, {"scene 1": other})
    seen_by = [eyes.unspoilt(alarm(number, "fall", 0, 0).item).encoder for number in (1, 2)]
    assert seen_by == [other, taught]


def test_alarms_of_train_are_judged_like_those_of_val() -> None:
    """Given alarms of train, val and test, then the first two are learnt from, by what has not seen them."""
    made = [alarm(number, "fall", 2.0, 2.0, split) for number, split in enumerate(["train", "val", "test"])]
    plain = rows_of(made, DecisionHead(), Unseen())
    assert [row["split"] for row in plain] == [LEARN, LEARN, "test"]
    told = rows_of(made, DecisionHead(), Unseen({"fall": {"picture 0": 3.0}}))
    assert told[0]["log_odds"] != plain[0]["log_odds"] and told[1]["log_odds"] == plain[1]["log_odds"]


def test_calibration_rests_on_what_has_not_seen_an_alarm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given evidence that tells alarms apart, or takes one for the other, calibration is as good as that."""
    made = alarms("both", 60)
    errors = []
    for name, strength in (("sure", 4.0), ("against", -4.0)):
        folder = tmp_path / name
        folder.mkdir()
        odds = {one.item.name: strength * (1 if one.item.label == "fall" else -1) for one in made}
        (folder / EVIDENCE).write_text(json.dumps({"fall": odds}))
        monkeypatch.setattr(data, "WORK", folder)
        monkeypatch.setattr(vision_calibrate, "SCENE_ROWS", folder / "none.json")
        monkeypatch.setattr(mined_candidates, "load", lambda: made)
        monkeypatch.setattr("sys.argv", ["vision_calibrate", "--out", str(folder / "calibration.json")])
        vision_calibrate.main()
        errors.append(json.loads((folder / "calibration.json").read_text())["types"]["fall"]["ece_learn"])
    assert errors[0] < errors[1] - 0.1


def test_without_its_evidence_nothing_is_calibrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "WORK", tmp_path)
    with pytest.raises(SystemExit, match="vision_heads"):
        Unseen.read()


def test_a_fold_is_not_taught_by_the_scenes_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given views of nine scenes, then each network learns from six, and between them they leave out all."""
    rows = [Row(f"{i}.jpg", "fire", "train", f"scene {i % 9}", "source", (), "") for i in range(36)]
    group = np.array([row.group for row in rows])
    learnt_from, written = [], []

    def learn(maps: Any, target: Any, mask: Any, config: Any, order: np.ndarray, *, checkpoint: Path) -> Any:
        learnt_from.append(set(group[order]))
        return torch.nn.Linear(1, 1)

    monkeypatch.setattr(data, "read_rows", lambda: rows)
    monkeypatch.setattr(data, "FOLDS_DIR", tmp_path)
    monkeypatch.setattr(vision_finetune, "train", learn)
    monkeypatch.setattr(vision_finetune, "export", lambda state, stream, out: written.append(out))
    labels = {"group": group, "target": None, "mask": None}
    vision_finetune.train_folds(np.zeros(36), labels, {"seed": 0, "passes": 2.0})
    fold_of = fold_of_groups(rows, data.FOLDS)
    assert [out.name for out in written] == ["0", "1", "2"]
    for fold, scenes in enumerate(learnt_from):
        assert scenes == {scene for scene, its in fold_of.items() if its != fold}


def test_mining_shows_a_picture_to_the_network_that_was_not_taught_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given two pictures with flames, one of a scene of train, then each is read by the right network."""
    picture = np.full((240, 320, 3), 60, np.uint8)
    picture[100:180, 120:220] = (40, 140, 250)
    items = []
    for number in (1, 2):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), picture)
        items.append(Item(str(path), path.name, "fire", "train", f"scene {number}", "source"))
    taught, other, scene, clip = (cast("Any", name) for name in ("taught", "other", "scene", "clip"))
    eyes = Eyes(taught, scene, clip, {"scene 1": other})
    nobody = Nobody()
    monkeypatch.setattr(data, "WORK", tmp_path)
    monkeypatch.setattr(mined_candidates, "features_of", lambda _candidate, _store, one: one.encoder)
    monkeypatch.setattr(
        mined_candidates,
        "build_stage1",
        lambda settings, store: Stage1(settings, store, nobody, nobody, triggers=[FireTrigger]),
    )
    read_by = {mined.item.name: set(mined.features) for mined in mine(items, eyes, 1)}
    assert read_by == {"1.png": {other}, "2.png": {taught}}


def test_what_a_network_was_taught_by_is_not_learnt_from() -> None:
    """Given a clip that taught the motion network, then its fight alarm without clip view is left out."""
    one = alarm(0, "normal_person", 0.0, 0.0)
    item = Item("p", "clip.mp4", "normal_person", "train", "scene", "train_clips")
    fight = [replace(found, event_type=EventType.VIOLENCE) for found in one.candidates]
    assert rows_of([Mined(item, fight, one.features)], DecisionHead(), Unseen()) == []
    assert len(rows_of([Mined(item, one.candidates, one.features)], DecisionHead(), Unseen())) == 1


def test_accidents_are_calibrated_on_what_their_trigger_fires_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given pictures of which the accident trigger flags some, then the others are not calibrated on."""
    labels = ["accident", "normal_traffic", "normal_person", "accident"]
    rows = [Row(f"{i}.jpg", label, "val", f"scene {i}", "source", (), "") for i, label in enumerate(labels)]
    made = []
    for row, event in zip(rows, [EventType.TRAFFIC_ACCIDENT] * 2 + [EventType.FALL] * 2, strict=True):
        one = alarm(0, row.label, 0.0, 0.0)
        candidates = [replace(found, event_type=event) for found in one.candidates]
        made.append(replace(one, item=replace(one.item, name=row.file), candidates=candidates))
    monkeypatch.setattr(mined_candidates, "load", lambda: made)
    found = vision_scene.calibration_rows(rows, np.array([2.0, -1.0, -3.0, 4.0]))
    assert [(row["name"], row["truth"], row["log_odds"]) for row in found] == [
        ("0.jpg", True, 2.0),
        ("1.jpg", False, -1.0),
    ]


def test_a_scene_seen_often_weighs_no_more() -> None:
    truth = np.array([True] * 5 + [False] * 3)
    weight = by_scene(truth, ["a", "a", "a", "a", "b", "c", "d", "d"])
    assert weight[:4].sum() == pytest.approx(weight[4]) == pytest.approx(2.0)
    assert weight[5] == pytest.approx(weight[6:].sum()) and weight[:5].sum() == pytest.approx(
        weight[5:].sum()
    )


def test_calibration_error_is_told_beside_what_chance_gives() -> None:
    """Given probabilities that are right, then their error is what chance gives; given wrong ones, more."""
    random = np.random.default_rng(2)
    right = random.uniform(0.02, 0.98, 150)
    truth = random.random(150) < right
    wrong = np.where(truth, 0.6, 0.55)
    median, high = error_by_chance(truth, right)
    assert median < calibration_error(truth, right) * 2 and calibration_error(truth, right) < high
    assert calibration_error(truth, wrong) > error_by_chance(truth, wrong)[1]
    assert error_by_chance(np.tile(truth, 20), np.tile(right, 20))[0] < median / 2


def test_a_scene_seen_often_does_not_decide_calibration() -> None:
    truth = np.array([True] * 41 + [False] * 20)
    probability = np.array([*[0.95] * 20, *[0.05] * 21, *[0.05] * 20])
    scenes = [*(f"scene {i}" for i in range(20)), *["video"] * 21, *(f"other {i}" for i in range(20))]
    by_picture, scene = (
        calibration_error(truth, probability),
        calibration_error(truth, probability, group=scenes),
    )
    assert by_picture > 0.2 > 0.12 > scene


def test_features_made_otherwise_are_not_mixed_in(tmp_path: Path) -> None:
    """Given a folder of features, when another arithmetic would add to it, then that is one clear line."""
    folder = tmp_path / "scene"
    claim(folder, "vision-1-int8-2")
    (folder / "1.npz").write_bytes(b"features")
    claim(folder, "vision-1-int8-2")
    with pytest.raises(SystemExit, match="made by vision-1-int8-2, not vision-1: move it away"):
        claim(folder, "vision-1")
    older = tmp_path / "mined"
    older.mkdir()
    (older / "1.pkl").write_bytes(b"features")
    with pytest.raises(SystemExit, match="something older"):
        claim(older, "vision-1")


def test_alarms_mined_with_another_reading_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = np.zeros((1, CLIP_CHANNELS // 2), np.float32)
    mined = alarm(0, "fight", 0.0, 0.0)
    features = seen([View.CLIP], np.zeros((1, len(ATTRIBUTES))), clip)
    item = Item("p", "clip.mp4", "fight", "train", "scene", "train_clips")
    monkeypatch.setattr(mined_candidates, "load", lambda: [Mined(item, mined.candidates, [features])])
    with pytest.raises(SystemExit, match="another reading"):
        vision_clip_views.of_alarms(np.array(["clip.mp4"]))


def test_both_clip_views_have_a_say() -> None:
    """Given one clip view that says fight and one that does not, then the alarm lies between the two."""
    head = DecisionHead()
    line = head._types[EventType.VIOLENCE].clip
    assert line is not None
    weights, bias = np.zeros(CLIP_CHANNELS), line.bias
    weights[line.columns] = line.weights
    views = [View.CLIP, View.CLIP]

    def odds(*values: float) -> float:
        clip = np.stack([weights * (value - bias) / (weights @ weights) for value in values])
        features = seen(views, np.full((2, len(ATTRIBUTES)), -3.0), clip.astype(np.float32))
        frames = [frame(view) for view in views]
        return head.log_odds(EventType.VIOLENCE, features, frames, Evidence())[0]

    assert odds(-3, -3) < odds(3, -3) < odds(3, 3)
    assert odds(3, -3) == pytest.approx(odds(-3, 3))


def test_what_is_seen_is_not_taught_by_pictures_whose_label_leaves_it_open() -> None:
    """Given smoke above flames that no label names, when what is seen is fitted, then flames are flames."""
    random = np.random.default_rng(0)
    labels = ["fire", "smoke", "normal_empty", "fight", "fall", "accident", "crowd", "weapon"] * 10
    rows = [Row(f"{n}.jpg", label, "train", f"scene {n}", "s", (), "") for n, label in enumerate(labels)]
    rows += [replace(row, file=f"t-{row.file}", split="test", group=f"t-{row.group}") for row in rows]
    x = np.zeros((len(rows), SCENE_CHANNELS))
    x[:, OBJECT_CHANNELS : OBJECT_CHANNELS + 4] = random.normal(0, 0.1, (len(rows), 4))
    burns = np.array([row.label in ("fire", "smoke") for row in rows])
    x[:, OBJECT_CHANNELS] += burns
    # Only a line that reads contrast features is right: here objects say the contrary.
    x[:, 0] -= 5 * burns
    lines = vision_seen.seen_lines(rows, x)
    assert set(lines) == set(vision_seen.INCIDENTS)
    line = lines["fire"]
    odds = x[:, OBJECT_CHANNELS:] @ np.array(line["weights"]) + line["bias"]
    assert (odds[burns] > 0).all() and (odds[~burns] < 0).all()


def test_pictures_of_a_collection_weigh_each_for_itself_where_alarms_are_calibrated() -> None:
    """Given a collection filed as one scene, when its alarms are weighed, then none is part of another."""
    (collection,) = data.COLLECTIONS
    made = [alarm(number, "fall", 1.0, 1.0) for number in range(2)]
    for group, scenes in ((collection, 2), ("street:1", 1)):
        filed = [replace(one, item=replace(one.item, group=group)) for one in made]
        assert len({row["group"] for row in rows_of(filed, DecisionHead(), Unseen())}) == scenes
