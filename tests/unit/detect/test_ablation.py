from __future__ import annotations

from pathlib import Path

from pipeline.detect.ablation import SHIPPED, Variant, all_variants, lines, look, variants
from pipeline.detect.catalog import KINDS
from pipeline.detect.scenes import SceneReader
from pipeline.detect.triggers.fire import FireParams
from pipeline.types import EventType
from tests.media import write_video
from tests.unit.detect.test_stage import Nobody, burning

STRICT = Variant(EventType.FIRE, "min_pixels = 0.5", FireParams(min_pixels=0.5))


def test_every_trigger_is_there_as_shipped_and_changed() -> None:
    made = all_variants()
    for kind in KINDS:
        changes = [variant.change for variant in made if variant.event_type is kind.event_type]
        assert changes[0] == SHIPPED and len(changes) > 2 and len(set(changes)) == len(changes)


def test_a_variant_changes_one_threshold_only() -> None:
    for variant in variants(FireParams(), EventType.FIRE):
        name = variant.change.split(" = ")[0]
        for field in FireParams.__slots__:
            same = getattr(variant.params, field) == getattr(FireParams(), field)
            assert same is (field != name)


def test_what_a_changed_threshold_loses_is_told(tmp_path: Path) -> None:
    write_video(tmp_path / "fire.avi", frames=90, fps=15, paint=burning)
    nobody = Nobody()
    chosen = [*(Variant(kind.event_type, SHIPPED, kind.params()) for kind in KINDS), STRICT]
    row = {"clip": "fire.avi", "path": str(tmp_path / "fire.avi"), "label": "fire", "escalate": True}
    seen = [look(row, SceneReader(nobody, nobody), chosen, 5.0)]
    assert EventType.FIRE in seen[0].flagged()
    assert EventType.FIRE not in seen[0].flagged(STRICT)
    assert EventType.FIRE not in seen[0].flagged(without=EventType.FIRE)
    told = list(lines(seen, chosen))
    assert any(line.startswith("| fire | as shipped | 1 | 1 of 1") for line in told)
    (strict,) = (line for line in told if line.startswith("| fire | min_pixels = 0.5 |"))
    assert "| 0 of 1 |" in strict
