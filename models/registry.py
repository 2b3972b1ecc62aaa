"""Makes a chat model from ``BACKEND[:NAME]``; concrete back ends are imported only when asked for.

Packages add their own under the entry-point group ``sitrep.models``: a callable
``create(name: str, settings: Settings) -> SitrepChatModel``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from models.base import SitrepChatModel
from pipeline.errors import ConfigError, ModelMissing
from pipeline.settings import Settings

ENTRY_POINTS = "sitrep.models"
Factory = Callable[[str, Settings], SitrepChatModel]

_BUILT_IN = {
    "embedded": ("models.embedded.model:create", "the small model Sitrep ships; no download, no GPU"),
    "transformers": ("models.hf.model:create", "NAME: a folder or hub id of an image-text-to-text model"),
    "openai": ("models.openai.model:create", "NAME: URL#MODEL of an OpenAI-compatible server"),
    "fake": ("models.fake:create", "scores from a hash of the frames; for tests of everything around"),
    "noop": ("models.fake:create_noop", "answers at once; for measuring the queue"),
}


def back_ends() -> dict[str, str]:
    """Name of every known back end and one line about it."""
    found = {name: about for name, (_, about) in _BUILT_IN.items()}
    for entry in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.name, f"from {entry.value}")
    return found


def check(model_ref: str) -> None:
    """See whether the back end of ``BACKEND[:NAME]`` exists, without loading it.

    Raises:
        ConfigError: There is no such back end.
    """
    backend = model_ref.partition(":")[0]
    if backend not in back_ends():
        raise _unknown(backend)


def create(model_ref: str, settings: Settings) -> SitrepChatModel:
    """Make the model that ``BACKEND[:NAME]`` names. Loading its weights may wait until it is first used.

    Raises:
        ConfigError: There is no such back end.
        ModelMissing: Its package or weights are not there.
    """
    # LangChain would send every prompt and image to its tracing service when one variable is set.
    for variable in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ[variable] = "false"
    backend, _, name = model_ref.partition(":")
    return _factory(backend)(name, settings)


def _factory(backend: str) -> Factory:
    if backend in _BUILT_IN:
        module_name, _, function = _BUILT_IN[backend][0].partition(":")
        try:
            return cast(Factory, getattr(import_module(module_name), function))
        except ImportError as error:
            raise ModelMissing(
                f"model back end '{backend}' cannot be imported: {error}", hint="install its packages"
            ) from error
    for entry in entry_points(group=ENTRY_POINTS, name=backend):
        try:
            return cast(Factory, entry.load())
        except (ImportError, AttributeError) as error:
            raise ModelMissing(f"model plug-in '{entry.value}' cannot be loaded: {error}") from error
    raise _unknown(backend)


def _unknown(backend: str) -> ConfigError:
    known = ", ".join(sorted(back_ends()))
    return ConfigError(f"there is no model back end '{backend}'", hint=f"there are: {known}")
