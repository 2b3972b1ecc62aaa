"""The lower part of I3D as an OpenVINO graph: a short clip in, what moves how out.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", 2017, RGB
stream, trained on Kinetics-400 by its authors (Apache-2.0). Layers above ``Mixed_4f`` are left out: they know
Kinetics' own classes, and tell fights apart no better (``models/train/EXPERIMENTS.md``).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.embedded.vision_net import constant_i64

FRAMES = 8
"""Frames the network is given; it looks at each twice."""
SIDE_PX = 160
CHANNELS = 832
MOVING_CHANNELS = 2 * CHANNELS
_EPSILON = 1e-3
_REBUILDERS = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module that rebuilds arrays, before and since numpy 2."""
BLOCKS = ("Mixed_3b", "Mixed_3c", None, "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f")
"""Inception blocks in order; ``None`` is a pool that halves time and space."""
Weights = Mapping[str, Any]


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and plain containers; anything else in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _REBUILDERS and name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a weights file")


def read_weights(content: bytes) -> Weights:
    """Parameters and batch statistics of a pickled checkpoint of nothing but arrays.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        stored = _ArraysOnly(io.BytesIO(content)).load()
        return {"params": stored["params"], "stats": stored["batch_stats"]}
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a checkpoint of arrays: {error}") from error


def build(weights: Weights) -> Any:
    """The network as an ``openvino.Model``.

    Input ``clip`` uint8 (n, 8, 160, 160, 3) BGR, each frame as if shown twice. Output ``moving`` float32
    (n, 1664) of the last block's map: what is most so anywhere, mean over time (832); and how much the mean
    over space changes from one step in time to the next, mean over time (832; not 0 for what rests, as time
    is padded with zeros).
    """
    import openvino as ov
    from openvino import opset13 as op

    def constant(array: NDArray[Any]) -> Any:
        return op.constant(np.ascontiguousarray(array, dtype=np.float32))

    def convolve(x: Any, *path: str) -> Any:
        kernel, bias = folded(weights, path)
        x = op.convolution(x, constant(kernel), [1] * 3, [0] * 3, [0] * 3, [1] * 3, "same_upper")
        return op.relu(op.add(x, constant(bias.reshape(1, -1, 1, 1, 1))))

    def convolve_first(x: Any) -> Any:
        kernel, bias = folded(weights, ("Conv3d_1a_7x7",))
        x = op.convolution(
            x, constant(of_pairs(kernel)), [1, 2, 2], [1, 2, 2], [2, 3, 3], [1] * 3, "explicit"
        )
        return op.relu(op.add(x, constant(bias.reshape(1, -1, 1, 1, 1))))

    def pool(x: Any, size: list[int], stride: list[int]) -> Any:
        zero = [0, 0, 0]
        return op.max_pool(x, stride, [1, 1, 1], zero, zero, size, "floor", "same_upper").output(0)

    def inception(x: Any, name: str) -> Any:
        branches = [convolve(x, name, "Branch_0/Conv3d_0a_1x1")]
        for branch in ("Branch_1", "Branch_2"):
            reduced = convolve(x, name, f"{branch}/Conv3d_0a_1x1")
            branches.append(convolve(reduced, name, f"{branch}/Conv3d_0b_3x3"))
        branches.append(convolve(pool(x, [3] * 3, [1] * 3), name, "Branch_3/Conv3d_0b_1x1"))
        return op.concat(branches, 1)

    clip = op.parameter([-1, FRAMES, SIDE_PX, SIDE_PX, 3], ov.Type.u8, name="clip")
    clip.get_output_tensor(0).set_names({"clip"})
    x = op.transpose(op.convert(clip, "f32"), constant_i64([0, 4, 1, 2, 3]))
    x = op.gather(x, constant_i64([2, 1, 0]), constant_i64(1))
    x = op.subtract(op.multiply(x, constant(np.array([2 / 255]))), constant(np.array([1.0])))
    x = pool(convolve_first(x), [1, 3, 3], [1, 2, 2])
    x = convolve(convolve(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
    x = pool(x, [1, 3, 3], [1, 2, 2])
    for name in BLOCKS:
        x = pool(x, [3] * 3, [2] * 3) if name is None else inception(x, name)
    space, time = constant_i64([3, 4]), constant_i64([2])
    level, ones = op.reduce_mean(x, space, False), constant_i64([1])
    later = op.slice(level, ones, constant_i64([FRAMES]), ones, time)
    sooner = op.slice(level, constant_i64([0]), constant_i64([-1]), ones, time)
    peaks = op.reduce_mean(op.reduce_max(x, space, False), time, False)
    changes = op.reduce_mean(op.abs(op.subtract(later, sooner)), time, False)
    result = op.result(op.concat([peaks, changes], 1))
    result.get_output_tensor(0).set_names({"moving"})
    return ov.Model([result], [clip], "sitrep-clip")


def of_pairs(kernel: NDArray[Any]) -> NDArray[Any]:
    """The first kernel for frames that come in pairs of the same: (out, in, 7, y, x) to (out, in, 4, y, x).

    Over frames shown twice it moves on by two, from two before: what falls on the same frame is added up,
    and half of the work is saved without a change of the result.
    """
    taps = [kernel[:, :, first : first + 2].sum(axis=2) for first in (0, 2, 4, 6)]
    return np.stack(taps, axis=2)


def folded(weights: Weights, path: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Kernel (out, in, t, y, x) and bias of one unit with its batch norm folded in."""
    params, stats = weights["params"], weights["stats"]
    for name in path:
        params, stats = params[name], stats[name]
    mean, variance = (np.asarray(stats["BatchNorm_0"][key]).ravel() for key in ("mean", "var"))
    gain = 1.0 / np.sqrt(variance + _EPSILON)
    kernel = np.asarray(params["Conv_0"]["kernel"]) * gain
    return kernel.transpose(4, 3, 0, 1, 2), np.asarray(params["BatchNorm_0"]["bias"]).ravel() - mean * gain
