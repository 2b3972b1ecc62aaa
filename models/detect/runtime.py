"""OpenVINO on the CPU, the way every detector here uses it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.cpu import cpu_options
from models.wheelfiles import file_sha256
from pipeline.errors import ModelError, ModelMissing


def compile_model(
    file: Path,
    shape: Sequence[int],
    *,
    cache_dir: Path,
    threads: int,
    second: Sequence[int] | None = None,
    prepare: Callable[[Any], Any] | None = None,
) -> Any:
    """Read, reshape and compile a model for the CPU.

    Importing a TensorFlow graph and compiling it takes ten seconds; both results are kept in
    ``cache_dir`` and read back in one. Precision is pinned to float32 so that scores do not depend on
    the machine.

    Args:
        file: Frozen graph, TFLite or ONNX file.
        shape: Fixed shape of the (first) input.
        cache_dir: Folder for compiled models.
        threads: CPU threads; 0 for all cores.
        second: Fixed shape of the second input, where the model has one.
        prepare: Changes the imported ``openvino.Model`` before it is kept; named functions only, the name is
            part of the key it is kept under.

    Returns:
        A compiled model; call it with one array.

    Raises:
        ModelMissing: OpenVINO is not installed.
        ModelError: The file cannot be compiled.
    """
    try:
        import openvino as ov
    except ImportError as error:
        raise ModelMissing(f"OpenVINO cannot be loaded: {error}", hint="pip install openvino") from error
    cache_dir.mkdir(parents=True, exist_ok=True)
    options = cpu_options(threads, CACHE_DIR=str(cache_dir))
    try:
        core = ov.Core()
        made = _imported(ov, core, file, shape, cache_dir, second=second, prepare=prepare)
        return core.compile_model(made, "CPU", options)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot compile {file.name}: {str(error).splitlines()[0]}") from error


def _imported(
    ov: Any,
    core: Any,
    file: Path,
    shape: Sequence[int],
    cache_dir: Path,
    *,
    second: Sequence[int] | None,
    prepare: Callable[[Any], Any] | None,
) -> Any:
    release = ov.__version__.split("-")[0]
    digest = file_sha256(file)[:16]
    variant = "" if prepare is None else f"-{prepare.__name__}"
    kept = cache_dir / f"{digest}-{'x'.join(map(str, shape))}-{release}{variant}.xml"
    if kept.is_file() and kept.with_suffix(".bin").is_file():
        return core.read_model(kept)
    model = core.read_model(file)
    if second is not None and len(model.inputs) > 1:
        model.reshape({model.inputs[0]: list(shape), model.inputs[1]: list(second)})
    else:
        model.reshape(list(shape))
    if prepare is not None:
        model = prepare(model)
    with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
        made = Path(folder) / kept.name
        ov.save_model(model, made, compress_to_fp16=False)
        # The weights first: a reader that finds the description must find them too.
        for suffix in (".bin", ".xml"):
            made.with_suffix(suffix).replace(kept.with_suffix(suffix))
    # Read back so that the compiled form is cached under the key that later processes will ask for.
    return core.read_model(kept)
