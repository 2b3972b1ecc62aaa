from __future__ import annotations

from pathlib import Path

import pytest
from prompt_files import write_pack
from typer.testing import CliRunner

from pipeline.cli.prompts import app
from pipeline.errors import PromptError
from prompts import PromptLibrary
from prompts.pack import SHIPPED
from prompts.release import check, is_released, lock, new_version, promote, read_lock, rollback


def test_the_shipped_packs_are_released_and_unchanged() -> None:
    assert check(SHIPPED) == []
    assert "incident@1.0.0" in read_lock(SHIPPED)


def test_an_edited_release_fails_with_the_way_to_mend_it(tmp_path: Path) -> None:
    write_pack(tmp_path)
    assert lock(tmp_path) == ["incident@1.0.0"]
    assert lock(tmp_path) == []
    path = write_pack(tmp_path, templates__system="You judge differently.")
    finding = check(tmp_path)[0]
    assert "was changed" in finding.problem
    assert "sitrep prompts new incident --from 1.0.0" in finding.hint
    with pytest.raises(PromptError, match="was changed"):
        lock(tmp_path)
    path.unlink()
    assert "gone" in check(tmp_path)[0].problem


def test_check_command_fails_on_an_edited_release(tmp_path: Path) -> None:
    write_pack(tmp_path)
    lock(tmp_path)
    good = CliRunner().invoke(app, ["check", "--root", str(tmp_path)])
    assert good.exit_code == 0
    write_pack(tmp_path, templates__system="You judge differently.")
    bad = CliRunner().invoke(app, ["check", "--root", str(tmp_path)])
    assert bad.exit_code == 1
    assert "sitrep prompts new" in " ".join(bad.output.split())


def test_a_new_version_is_a_draft_with_its_own_number(tmp_path: Path) -> None:
    library = PromptLibrary(tmp_path, SHIPPED)
    path = new_version(library, tmp_path, "incident", None, "minor")
    pack = library.load("incident", "1.1.0")
    assert path == tmp_path / "incident" / "1.1.0" / "pack.yaml"
    assert not is_released(pack)
    assert pack.file.changelog[0].startswith("1.1.0: from 1.0.0")
    assert "pays for" in path.read_text(), "comments are kept"
    with pytest.raises(PromptError, match="already exists"):
        new_version(library, tmp_path, "incident", "1.0.0", "minor")
    assert new_version(library, tmp_path, "incident", "1.1.0", "major").parent.name == "2.0.0"


def test_only_a_release_can_be_promoted_and_rolled_back(tmp_path: Path) -> None:
    library = PromptLibrary(tmp_path, SHIPPED)
    new_version(library, tmp_path, "incident", None, "patch")
    with pytest.raises(PromptError, match="is a draft"):
        promote(library, tmp_path, "incident", "1.0.1")
    lock(tmp_path)
    assert promote(library, tmp_path, "incident", "1.0.1", 0.2) == pytest.approx({"1.0.0": 0.8, "1.0.1": 0.2})
    assert promote(library, tmp_path, "incident", "1.0.1") == {"1.0.1": 1.0}
    assert library.choose("incident").pack.ref == "incident@1.0.1"
    assert rollback(tmp_path, "incident") == pytest.approx({"1.0.0": 0.8, "1.0.1": 0.2})
    assert rollback(tmp_path, "incident") == {"1.0.0": 1.0}
    assert library.choose("incident").pack.ref == "incident@1.0.0"
    with pytest.raises(PromptError, match="no promotion"):
        rollback(tmp_path, "incident")


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_bad_share_is_refused(tmp_path: Path, share: float) -> None:
    library = PromptLibrary(tmp_path, SHIPPED)
    with pytest.raises(PromptError, match="share"):
        promote(library, tmp_path, "incident", "1.0.0", share)


def test_render_command_shows_both_prompts() -> None:
    shown = CliRunner().invoke(app, ["render", "incident", "--type", "fire"])
    assert shown.exit_code == 0
    assert "Is there a real fire?" in shown.output
    assert "observations" in shown.output


@pytest.mark.parametrize("text", ["[]", "a: b", "incident@1.0.0: 12"])
def test_a_damaged_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts.lock").write_text(text)
    if text == "[]":
        assert read_lock(tmp_path) == {}
        return
    with pytest.raises(PromptError, match=r"prompts\.lock"):
        read_lock(tmp_path)
