"""Settings that are wrong: one line that says what, where and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.settings import environment, load, masked


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "DATABASE_URL", "SITREP_CONFIG", "SITREP_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wrokers = 2", "unknown setting 'wrokers' in sitrep.toml (did you mean workers?)"),
        ("zzz = 1", "unknown setting 'zzz' in sitrep.toml (remove it; sitrep config show lists those known)"),
        ("lease_s = 0", "setting 'lease_s' in sitrep.toml: Input should be greater than 1 (How long a claim"),
        ("model = = 1", "settings file sitrep.toml is not valid TOML: "),
    ],
)
def test_a_wrong_line_in_the_file_is_named(text: str, said: str) -> None:
    Path("sitrep.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.one_line().startswith(said)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SITREP_WORKERS", "many", "setting 'workers' in SITREP_WORKERS: Input should be a valid integer"),
        (
            "SITREP_WORKER",
            "2",
            "unknown setting in the environment: SITREP_WORKER (did you mean SITREP_WORKERS?",
        ),
        ("REDIS_URL", "http://x", "setting 'redis_url' in REDIS_URL: Input should begin with redis://"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """Given a variable and a file, then the one that holds the fault is named."""
    Path("sitrep.toml").write_text("workers = 3")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.one_line().startswith(said)


def test_a_secret_that_is_wrong_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "amqp://user:geheim@host")
    with pytest.raises(ConfigError) as caught:
        load()
    assert "geheim" not in caught.value.one_line()


@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Given a variable that a compose file left empty, then Sitrep uses what it brings along."""
    monkeypatch.setenv(variable, "")
    settings = load()
    assert getattr(settings, variable.lower()) is None
    assert masked(settings)[variable.lower()] is None
    assert variable not in environment(settings)
