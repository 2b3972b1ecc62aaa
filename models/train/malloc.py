"""Process settings that make training on few shared cores two to three times as fast.

glibc keeps the memory it has (freed tensors are otherwise given back and faulted in again each step), and
OpenMP threads sleep while they wait instead of burning a core that another process wants.
"""

from __future__ import annotations

import os
import sys

_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
    "MALLOC_TOP_PAD_": "67108864",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def keep_memory() -> None:
    """Start this process again with the settings in place, once; call it first thing in ``main``.

    Measured on two virtual cores: 2.7 s a fine-tuning step without (half of it in the kernel), 0.95 s with.
    """
    if sys.platform == "linux" and any(os.environ.get(name) != value for name, value in _SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **_SETTINGS})
