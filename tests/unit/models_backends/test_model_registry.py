from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.base import SitrepChatModel
from models.fake import FakeChatModel
from pipeline.cli.models import list_models
from pipeline.errors import ConfigError, ModelMissing
from pipeline.reason.builtin import builtin_inquiry
from pipeline.reason.examine import examine
from pipeline.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model="fake")


def test_tracing_to_a_foreign_service_is_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
    registry.create("fake", settings)
    from langsmith.utils import tracing_is_enabled

    assert os.environ["LANGSMITH_TRACING"] == "false"
    assert not tracing_is_enabled()


def test_unknown_back_ends_name_the_known(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="there are: embedded, fake, noop, openai, transformers"):
        try:
            registry.create("smolvlm:x", settings)
        except ConfigError as error:
            raise ConfigError(error.one_line()) from error


def test_plug_ins_come_by_entry_point(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    good = importlib.metadata.EntryPoint("mine", "models.fake:create", registry.ENTRY_POINTS)
    bad = importlib.metadata.EntryPoint("broken", "no.such.module:create", registry.ENTRY_POINTS)

    def entry_points(**chosen: str) -> Any:
        return importlib.metadata.EntryPoints([good, bad]).select(**chosen)

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert isinstance(registry.create("mine:score=0.9", settings), SitrepChatModel)
    assert "mine" in registry.back_ends()
    with pytest.raises(ModelMissing, match=r"no\.such\.module"):
        registry.create("broken", settings)


@pytest.mark.parametrize("name", ["sleeep=1", "sleep=soon", "garbage=1", "score"])
def test_unknown_options_of_the_fake_are_refused(name: str, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="has no option"):
        registry.create(f"fake:{name}", settings)


def test_the_fake_is_deterministic_and_spread(settings: Settings) -> None:
    from dataclasses import replace

    inquiry = builtin_inquiry(settings)
    frame = inquiry.key_frames[0]
    model = registry.create("fake", settings)
    others = [replace(inquiry, key_frames=(replace(frame, sha256=f"{n:064x}"),)) for n in range(200)]
    odds = [score.log_odds for score in model.score(others)]
    assert odds == [score.log_odds for score in registry.create("fake", settings).score(others)]
    assert min(odds) < -3 < 3 < max(odds)
    assert all(-4 <= value <= 4 for value in odds)


def test_every_nth_call_misbehaves(settings: Settings) -> None:
    model = registry.create("fake:nan,every=3", settings)
    inquiry = builtin_inquiry(settings)
    odds = [model.score([inquiry])[0].log_odds for _ in range(6)]
    assert [value != value for value in odds] == [False, False, True, False, False, True]


def test_a_fatal_fault_ends_the_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from models import registry;"
        "from pipeline.settings import Settings; from pipeline.reason.builtin import builtin_inquiry;"
        "settings = Settings(data_dir=Path(sys.argv[1]));"
        "registry.create('fake:segfault', settings).score([builtin_inquiry(settings)])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -11


def test_the_doctor_reads_score_and_report(settings: Settings) -> None:
    found = examine(settings, "fake:score=0.9")
    assert found.model == "fake:score=0.9"
    assert found.log_odds == pytest.approx(2.197, abs=1e-3)
    assert found.title


@pytest.mark.parametrize(
    "ref", ["fake:nan", "fake:garbage", "fake:timeout", "transformers:/nowhere", "openai:x#y"]
)
def test_the_doctor_says_what_is_wrong_in_one_line(ref: str, settings: Settings) -> None:
    from pipeline.errors import SitrepError

    with pytest.raises(SitrepError) as caught:
        examine(settings, ref)
    assert "\n" not in caught.value.one_line()


def test_light_commands_import_no_back_end() -> None:
    code = (
        "import sys; import pipeline.cli.prompts, pipeline.cli.models, models.registry, prompts;"
        "heavy = {'torch', 'transformers', 'openvino', 'langchain_openai', 'openai'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert callable(list_models)


def test_fake_options_do_not_leak_between_models() -> None:
    first, second = FakeChatModel(), FakeChatModel()
    first.options["nan"] = None
    assert second.options == {}
