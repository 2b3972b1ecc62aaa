"""Vision networks made ready: converted once, kept as OpenVINO IR, compiled for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.cpu import cpu_options
from models.embedded.assets import Progress, prepared
from models.embedded.int8 import Recipe, named, rounded
from pipeline.errors import ModelError, ModelMissing, ModelTimeout

_FILE = "network.xml"


def arithmetic_of(recipe: Recipe | None) -> str:
    """Name of the arithmetic a network runs in: its recipe's, or float32."""
    return recipe.recipe_id if recipe else "float32"


def ready(
    cache_dir: Path,
    key: str,
    build: Callable[[], Any],
    *,
    what: str,
    recipe: Recipe | None = None,
    threads: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Any:
    """A compiled network, from the cache when the copy there is whole, else built and stored.

    A cache that cannot be written costs a conversion at each start, not the verdict.

    Args:
        cache_dir: Folder of all converted networks; made when absent.
        key: Name of the weights and of how they are put together; the arithmetic is added to it.
        build: Makes the ``openvino.Model``.
        what: Name of the network in what ``progress`` is told.
        recipe: Where it is rounded to 8 bits; ``None`` for nowhere.
        threads: CPU threads, 0 for all cores.
        progress: Told how far a conversion is.
        options: Further options to compile it with.

    Raises:
        ModelMissing: Its weights are absent or damaged.
        ModelTimeout: Another process has been converting it for too long.
    """
    import openvino as ov

    def made() -> Any:
        model = named(build())
        return model if recipe is None else rounded(model, recipe)

    def convert(folder: Path, progress: Progress) -> None:
        progress(f"converting the {what}", 0.1)
        model = made()
        try:
            ov.save_model(model, str(folder / _FILE), compress_to_fp16=True)
        except RuntimeError as error:
            # What the system says of a full disk does not come through OpenVINO as an OSError.
            raise OSError(str(error).splitlines()[0]) from error
        progress(f"converting the {what}", 1.0)

    core = ov.Core()
    try:
        folder = prepared(cache_dir, f"{key}-{arithmetic_of(recipe)}", convert, progress)
        model = core.read_model(folder / _FILE)
    except (ModelMissing, ModelTimeout):
        raise
    except ModelError:
        model = made()
    return core.compile_model(model, "CPU", cpu_options(threads, **options))
