"""Several tests at once, and shares of runs. Pure functions; imports nothing of ours.

Sources: Holm 1979, "A simple sequentially rejective multiple test procedure"; Clopper and Pearson 1934, McNemar 1947 and Fisher
1935, "The logic of inductive inference" (shares).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from gradclip_cli.arrays import BoolArray

LEVEL = 0.05
"""Of all tests and intervals, unless another is given."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being one of several tests (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """The level at which Holm's procedure judges each test, in the order given: where it stops, it stops for all that follow.

    The interval at this level excludes zero exactly where the adjusted p is below 5%. Each covers at least 95% by itself, all
    together less. Equal p have one level, the strictest of theirs.
    """
    tests, rejected = len(p_values), sum(p < LEVEL for p in holm(p_values))
    ranks = [sum(other < p for other in p_values) for p in p_values]
    return [LEVEL / (tests - min(rank, rejected)) for rank in ranks]


def share_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a share, at 95% unless another level is given."""
    low = special.betaincinv(count, total - count + 1, level / 2) if count else 0.0
    high = special.betaincinv(count + 1, total - count, 1 - level / 2) if count < total else 1.0
    return float(low), float(high)


def half_p(count: int, total: int) -> float:
    """Exact two-sided binomial p of `count` in `total` where the share is one half."""
    return min(1.0, 2 * float(special.bdtr(min(count, total - count), total, 0.5)))


def mcnemar_p(one: BoolArray, other: BoolArray) -> float:
    """Exact McNemar test of two paired shares, (seeds,) each: p over the pairs that disagree; 1 where none does."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    return half_p(only_one, only_one + only_other)


def fisher_p(one: BoolArray, other: BoolArray) -> float:
    """Exact Fisher test of two shares that nothing pairs, (n,) and (m,): two-sided p; 1 where it happened in none or all."""
    from scipy.stats import fisher_exact  # which takes a second to import

    table = [[int(happened.sum()), int((~happened).sum())] for happened in (one, other)]
    return min(1.0, float(fisher_exact(table).pvalue))
