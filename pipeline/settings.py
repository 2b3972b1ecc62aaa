"""Settings: environment (``SITREP_*``, ``REDIS_URL``, ``DATABASE_URL``), ``sitrep.toml``, defaults."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pipeline.errors import ConfigError

CONFIG_FILE_VARIABLE = "SITREP_CONFIG"
ENVIRONMENT_PREFIX = "SITREP_"
REDIS_SCHEMES = ("redis://", "rediss://")
SHARED_DATA_VARIABLE = "SITREP_SHARED_DATA"
"""Where the tests look for the development footage; no setting."""


class Narrate(StrEnum):
    """Which candidates get a narrative at once; the others get it when somebody asks."""

    ALL = "all"
    ESCALATED = "escalated"
    ON_DEMAND = "on_demand"


class Settings(BaseSettings):
    """All settings of one Sitrep installation. An unknown key is an error."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(Path(".sitrep"), description="Frames, database, broker files and model cache.")
    frames_dir: Path | None = Field(
        None, description="Key frames; unset: in the data directory. With several machines: a path all see."
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("redis_url", "REDIS_URL", "SITREP_REDIS_URL"),
        description="Redis or Valkey server; unset: Sitrep runs its own in the data directory.",
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL", "SITREP_DATABASE_URL"),
        description="SQLAlchemy address; unset: SQLite in the data directory.",
    )

    model: str = Field("embedded", description="BACKEND[:NAME], e.g. transformers:FOLDER, openai:URL#MODEL.")
    model_api_key: SecretStr | None = Field(None, description="Key for an OpenAI-compatible model server.")
    model_timeout_s: float = Field(60.0, gt=0, description="Longest wait for one model call.")
    model_threads: int = Field(0, ge=0, description="CPU threads of the model; 0: all cores.")
    prompt: str = Field("incident", description="Prompt pack, ID or ID@VERSION.")
    policy: Path | None = Field(None, description="Policy file; unset: the one Sitrep ships.")
    language: str = Field("en", pattern="^(en|ko)$", description="Language of narratives.")
    narrate: Narrate = Field(Narrate.ALL, description="Which candidates get a narrative at once.")
    site_context: str = Field("", max_length=500, description="What the site wants the model to know.")

    detect_fps: float = Field(5.0, gt=0, le=60, description="Frames a second that stage 1 looks at.")
    cameras: Path | None = Field(None, description="Camera file: zones and thresholds; unset: the defaults.")
    camera_groups: int = Field(0, ge=0, le=64, description="Processes that watch cameras; 0: one for eight.")
    detect_threads: int = Field(0, ge=0, description="CPU threads of the detectors; 0: all cores.")
    detector: str = Field(
        "ssd", description="Object detector: ssd, or an ONNX file with its layout beside it."
    )

    detector_token: SecretStr | None = Field(
        None, description="Token that detectors send their events with; unset: one is made."
    )
    detection_max_mb: int = Field(
        64, ge=1, le=2048, description="Largest detection, or clip it names, in MB."
    )
    clip_hosts: str = Field(
        "", description="Hosts (HOST[:PORT], by comma) detections may name clips on; empty: none."
    )
    clip_folder: Path | None = Field(None, description="Folder detections may name clips in; unset: none.")
    mqtt_user: str = Field("", description="User at the MQTT broker that Frigate uses.")
    mqtt_password: SecretStr | None = Field(None, description="Password of that user.")
    frigate_token: SecretStr | None = Field(
        None, description="Bearer token of Frigate's API, where it asks for one."
    )

    workers: int = Field(1, ge=1, le=64, description="Worker processes that judge candidates.")
    lease_s: float = Field(30.0, gt=1, description="How long a claim holds without a heartbeat.")
    max_attempts: int = Field(3, ge=1, le=20, description="Attempts before a job is a dead letter.")
    task_time_limit_s: float = Field(180.0, gt=1, description="Hard limit of one judgement.")
    reconcile_every_s: float = Field(15.0, gt=0, description="How often lost messages are looked for.")
    max_pending: int = Field(20_000, ge=1, description="Jobs waiting in all before new ones are shed.")
    max_pending_per_camera: int = Field(2_000, ge=1, description="The same for one camera.")

    alert_webhook: SecretStr | None = Field(None, description="Address that gets each alert as a JSON POST.")
    retention_days: int = Field(30, ge=1, description="Frames and candidates older than this are removed.")
    host: str = Field("127.0.0.1", description="Address the incident page listens on.")
    port: int = Field(8421, ge=1, le=65535, description="Port of the incident page.")
    token: SecretStr | None = Field(None, description="Token of the incident page; unset: one is made.")
    log_level: str = Field(
        "WARNING", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log lines shown."
    )

    @field_validator("redis_url", "database_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        # What a compose file or a shell script makes of a variable that is not set.
        return None if value == "" else value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        # Said here, since the client would take any other address for a broker that is away.
        if value is not None and not value.get_secret_value().startswith(REDIS_SCHEMES):
            raise PydanticCustomError("redis_url", "Input should begin with " + " or ".join(REDIS_SCHEMES))
        return value

    @field_validator("data_dir", "frames_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())

    def sqlalchemy_url(self) -> str:
        """Address of the database, with its password: never log it."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'sitrep.db'}"
        url = self.database_url.get_secret_value()
        for scheme in ("postgresql://", "postgres://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url


def config_file() -> Path:
    """The settings file: ``SITREP_CONFIG``, else ``sitrep.toml`` in the working directory."""
    return Path(os.environ.get(CONFIG_FILE_VARIABLE, "sitrep.toml"))


def _unknown_environment() -> list[str]:
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
    known |= {CONFIG_FILE_VARIABLE, SHARED_DATA_VARIABLE}
    return sorted(key for key in os.environ if key.startswith(ENVIRONMENT_PREFIX) and key not in known)


def load(**overrides: Any) -> Settings:
    """Read the settings.

    Args:
        overrides: Values that win over environment and file; ``None`` values are ignored.

    Raises:
        ConfigError: A key is unknown, a value is out of range, or the file is not TOML.
    """
    chosen = os.environ.get(CONFIG_FILE_VARIABLE)
    if chosen and not Path(chosen).is_file():
        raise ConfigError(f"settings file {chosen} does not exist", hint=f"unset {CONFIG_FILE_VARIABLE}")
    if unknown := _unknown_environment():
        name = unknown[0].removeprefix(ENVIRONMENT_PREFIX).lower()
        raise ConfigError(
            f"unknown setting in the environment: {', '.join(unknown)}",
            hint=_meant(name, lambda near: ENVIRONMENT_PREFIX + near.upper()),
        )
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown setting '{key}' in {_origin(key, overrides)}", hint=_meant(key, str)
            ) from error
        field = Settings.model_fields.get(key.lower())
        raise ConfigError(
            f"setting '{key}' in {_origin(key, overrides)}: {first['msg']}",
            hint=field.description if field else None,
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"settings file {config_file()} is not valid TOML: {error}", hint="see: https://toml.io"
        ) from error


def _origin(name: str, overrides: Mapping[str, Any]) -> str:
    """Where the value of a setting comes from."""
    if overrides.get(name) is not None:
        return "the arguments"
    variables = [ENVIRONMENT_PREFIX + name.upper()]
    if name in ("redis_url", "database_url"):
        variables.insert(0, name.upper())
    return next((one for one in variables if one in os.environ), str(config_file()))


def _meant(name: str, written: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean {written(near[0])}?" if near else "remove it; sitrep config show lists those known"


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once."""
    return load()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for child processes. Holds secrets: never log it."""
    variables: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is None:
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        # The bare names win over the prefixed ones, so a child must be given those.
        key = name.upper() if name in ("redis_url", "database_url") else ENVIRONMENT_PREFIX + name.upper()
        variables[key] = plain
    return variables


def masked(settings: Settings) -> dict[str, Any]:
    """All settings as plain values, secrets shown as stars."""
    shown = settings.model_dump(mode="json")
    for name in Settings.model_fields:
        if isinstance(getattr(settings, name), SecretStr):
            shown[name] = "********"
    return shown
