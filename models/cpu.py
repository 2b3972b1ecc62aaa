"""How every network here runs on the CPU by OpenVINO."""

from __future__ import annotations

from typing import Any


def cpu_options(threads: int = 0, **more: Any) -> dict[str, Any]:
    """Options to compile a network with.

    Args:
        threads: CPU threads, 0 for all cores.
        more: Further options of OpenVINO.
    """
    # bfloat16 would be twice as fast where the CPU has it, but then a verdict would depend on the machine.
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        # Pinned, the threads of several processes all sit on the first cores and leave the others idle.
        options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return options | more
