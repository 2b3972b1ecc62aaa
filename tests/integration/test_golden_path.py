"""The whole way of one candidate with the embedded model: two bundled clips in, the right reports out."""

from __future__ import annotations

from pathlib import Path

from support.command import CLIPS, read_rows, servers_of, sitrep

from pipeline.settings import Settings

FIRE, CALM = CLIPS / "doll-house-fire.mp4", CLIPS / "three-people-pause.mp4"
REACHED = ("escalate", "review")


def test_a_fire_reaches_a_person_and_an_ordinary_scene_does_not(tmp_path: Path, backend: Settings) -> None:
    # Given a real fire and three people who stop and look, and the model that Sitrep ships
    rows_file = tmp_path / "rows.jsonl"

    # When both go through stage 1, broker, worker and model
    ran = sitrep("scan", FIRE, CALM, "--out", rows_file, data_dir=tmp_path / "data", **servers_of(backend))

    # Then the fire calls somebody, and nothing in the other clip does
    assert ran.code == 0, ran.err
    rows = read_rows(rows_file)
    burning = [row for row in rows if Path(row["clip"]) == FIRE and row["event_type"] == "fire"]
    assert [row for row in burning if row["decision"] == "escalate"], burning
    calm = [row for row in rows if Path(row["clip"]) == CALM]
    assert not [row for row in calm if row["decision"] == "escalate"], calm

    # And every report can be replayed and says something whole
    for row in rows:
        assert row["verdict"] in ("confirmed", "rejected", "uncertain"), row["error"]
        assert 0 <= row["score"] <= 1
        assert row["model"].startswith("embedded")
        assert row["prompt"] == "incident@1.0.0"
        assert len(row["prompt_sha256"]) == 64
        assert row["title"] and len(row["title"]) <= 80
        assert row["narrative"].rstrip().endswith((".", "!", "?"))
        assert row["reason"]
        assert all(row["timings_ms"][name] is not None for name in ("queued", "verdict", "narrative"))


def test_korean_is_written_when_asked_for(tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.jsonl"

    ran = sitrep(
        "scan",
        CLIPS / "fall-in-office-2.mp4",
        "--language",
        "ko",
        "--out",
        rows_file,
        data_dir=tmp_path / "data",
    )

    assert ran.code == 0, ran.err
    rows = read_rows(rows_file)
    assert rows
    for row in rows:
        letters = [letter for letter in row["narrative"] if letter.isalpha()]
        hangul = [letter for letter in letters if "\uac00" <= letter <= "\ud7a3"]
        assert row["language"] == "ko"
        assert len(hangul) > 0.8 * len(letters), row["narrative"]
