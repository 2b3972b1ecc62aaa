"""Given a network, when it is made ready, it is converted once; a cache that fails costs no verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from models.cpu import cpu_options
from models.embedded.network import ready
from pipeline.errors import ModelMissing

SIDE = 64


def doubles() -> ov.Model:
    """A network of some size that doubles (1, 64)."""
    x = op.parameter([1, SIDE], np.float32)
    return ov.Model([op.matmul(x, op.constant(2 * np.eye(SIDE, dtype=np.float32)), False, False)], [x])


def told(network: ov.CompiledModel) -> np.ndarray:
    return np.asarray(network(np.ones((1, SIDE), np.float32))[0])


def test_is_converted_once_and_says_so(tmp_path: Path) -> None:
    built: list[int] = []
    said: list[str] = []

    def build() -> ov.Model:
        built.append(1)
        return doubles()

    for _ in range(2):
        network = ready(
            tmp_path, "net-1", build, what="small network", progress=lambda text, share: said.append(text)
        )
        assert (told(network) == 2).all()
    assert len(built) == 1 and set(said) == {"converting the small network"}


def test_another_key_is_another_network(tmp_path: Path) -> None:
    ready(tmp_path, "net-1", doubles, what="small network")
    ready(tmp_path, "net-2", doubles, what="small network")
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"net-1-float32", "net-2-float32"}


def test_cache_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert (told(ready(tmp_path / "file" / "cache", "net-1", doubles, what="small network")) == 2).all()


def test_cache_that_is_full_is_done_without(tmp_path: Path) -> None:
    """Given a system that lets no file grow, as a full disk does, then the network is used all the same."""
    code = (
        "import resource, signal, numpy as np\n"
        "from pathlib import Path\n"
        "from models.embedded.network import ready\n"
        "from tests.unit.models.test_network import doubles, told\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"assert (told(ready(Path({str(tmp_path)!r}), 'net-1', doubles, what='small network')) == 2).all()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_weights_that_are_missing_are_told(tmp_path: Path) -> None:
    def missing() -> ov.Model:
        raise ModelMissing("no weights")

    with pytest.raises(ModelMissing, match="no weights"):
        ready(tmp_path, "net-1", missing, what="small network")


def test_threads_are_capped_only_where_asked() -> None:
    assert "INFERENCE_NUM_THREADS" not in cpu_options()
    assert cpu_options(2, CACHE_DIR="x") == cpu_options() | {
        "INFERENCE_NUM_THREADS": 2,
        "ENABLE_CPU_PINNING": False,
        "CACHE_DIR": "x",
    }
