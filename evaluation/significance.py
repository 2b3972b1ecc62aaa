"""Exact paired tests: does run B judge differently from run A, or is it noise?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test (McNemar 1947; binomial form).

    Args:
        only_a: Clips that A alone judged rightly.
        only_b: Clips that B alone judged rightly.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, float(2 * tail / 2**n))


def sign_flip_exact(differences: Iterable[int]) -> float:
    """Two-sided exact p of the sign-flip test over groups.

    Under "no difference" the sign of every group's net difference is a fair coin. With one clip a
    group this is McNemar's exact test; with several it does not count one scene as many. The
    distribution of the sum is built exactly, by adding one group after another.

    Args:
        differences: For each group, clips that B alone got right minus those that A alone got right.
    """
    net = [difference for difference in differences if difference]
    observed = abs(sum(net))
    ways: Counter[int] = Counter({0: 1})
    for step in net:
        grown: Counter[int] = Counter()
        for reached, count in ways.items():
            grown[reached + step] += count
            grown[reached - step] += count
        ways = grown
    extreme = sum(count for reached, count in ways.items() if abs(reached) >= observed)
    return float(extreme / 2 ** len(net))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment (1979) of several p values, in their order."""
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = running
    return adjusted
