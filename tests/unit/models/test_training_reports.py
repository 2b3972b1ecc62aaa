"""Steps leave what later ones and readers need: opinions on weapons, and every column of the report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.embedded.heads import HEADS_FILE
from models.embedded.vision import WEIGHTS_DIR
from models.embedded.vision_scene import SCENE_CHANNELS
from models.train import alarm_report, data, mined_candidates, scene_features, vision_weapons
from models.train.data import Row
from models.train.mined_candidates import Mined
from models.train.vision_unseen import ARMED, EVIDENCE, Unseen
from pipeline.types import EventType
from tests.unit.models.test_training_choices import alarm


def violence(number: int, armed: bool, split: str) -> Mined:
    """An alarm of violence on a still of somebody armed, or of nobody who is."""
    made = alarm(number, "weapon" if armed else "normal_person", 0.0, 0.0, split)
    features = made.features[0]
    candidate = replace(made.candidates[0], event_type=EventType.VIOLENCE)
    return Mined(made.item, [candidate], [features])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty alarms of violence, half of armed people, on pictures that scene features tell apart."""
    random = np.random.default_rng(0)
    made = [violence(n, n % 2 == 0, ("train", "val", "test")[n % 3]) for n in range(60)]
    rows = [
        Row(one.item.name, one.item.label, one.item.split, one.item.group, "source", (), "") for one in made
    ]
    x = {
        row.file: (random.normal(0, 1, SCENE_CHANNELS) + (row.label == "weapon")).astype(np.float16)
        for row in rows
    }
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(WEIGHTS_DIR / HEADS_FILE, weights / HEADS_FILE)
    shutil.copy(WEIGHTS_DIR / "calibration.json", weights / "calibration.json")
    (tmp_path / EVIDENCE).write_text("{}")
    (tmp_path / "scene-rows.json").write_text("[]")
    monkeypatch.setattr(data, "WORK", tmp_path)
    monkeypatch.setattr(data, "read_rows", lambda: rows)
    monkeypatch.setattr(data, "taught_places", lambda: frozenset({"scene 2"}))
    monkeypatch.setattr(scene_features, "load", lambda: x)
    monkeypatch.setattr(mined_candidates, "load", lambda: made)
    for module in (vision_weapons, alarm_report):
        monkeypatch.setattr(module, "WEIGHTS_DIR", weights)
    monkeypatch.setattr(alarm_report, "SCENE_ROWS", tmp_path / "scene-rows.json")
    monkeypatch.setattr(alarm_report, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr("sys.argv", ["step"])
    return tmp_path


def test_opinions_on_weapons_are_left_for_calibration_by_what_has_not_seen_them(workplace: Path) -> None:
    vision_weapons.main()
    stored = json.loads((workplace / ARMED).read_text())
    assert len(stored["pictures"]) == 60 and len(stored["train"]["weights"]) == SCENE_CHANNELS
    opinions = Unseen.read().armed
    assert opinions is not None
    shipped = json.loads((workplace / "weights" / HEADS_FILE).read_text())["types"]["violence"]["also"]
    line = np.array(shipped["scene"]["weights"]), shipped["scene"]["bias"]
    x = scene_features.load()
    said = [opinions["pictures"][name] for name in x]
    seen = [float(value @ line[0] + line[1]) for value in x.values()]
    # What ships was fitted on these very pictures, and is surer of them.
    assert np.abs(said).mean() < np.abs(seen).mean()


def test_the_report_tells_of_new_places_and_of_chance(workplace: Path) -> None:
    vision_weapons.main()
    alarm_report.main()
    found = json.loads((workplace / "reports" / "alarms.json").read_text())["violence"]
    assert found["auc"]["n_real"] == 10 and found["auc_new_places"]["n_real"] == 9
    median, bound = found["calibration_error_by_chance"]
    assert 0 < median < bound
    head, _, row = (workplace / "reports" / "alarms.md").read_text().splitlines()[-3:]
    assert [cell.strip() for cell in head.split("|")[4:5]] == ["new places"]
    assert row.split("|")[-2].strip() == f"{median:.3f} to {bound:.3f}"
