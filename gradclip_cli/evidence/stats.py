"""Paired comparisons over seeds: estimates, intervals, tests, planning. Pure functions; imports nothing of ours.

Shapes: a curve array is (seeds, epochs), a row a run; a score array is (seeds,); differences are (seeds,), arm minus
baseline on the same seeds. Where a run has no value, a curve holds NaN.

Sources: Hartigan 1969, "Using subsample values as typical values" (the interval); Holm 1979 (several tests); Clopper and
Pearson 1934 and McNemar 1947 (shares); Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"
(pair by seed); Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice" (intervals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gradclip_cli.arrays import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95
LEVEL = 0.05


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

    The interval at this level excludes zero exactly where the adjusted p is below 5%, and covers at least as often as one at 95%.
    """
    tests, rejected = len(p_values), sum(p < LEVEL for p in holm(p_values))
    levels = np.empty(tests)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        levels[index] = LEVEL / (tests - min(rank, rejected))
    return [float(level) for level in levels]


def mean_interval(values: FloatArray) -> tuple[float, float]:
    """Student's 95% interval of a mean over seeds (seeds,); infinite for one seed, a point where all agree."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return -math.inf, math.inf
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    half = special.stdtrit(len(values) - 1, 1 - LEVEL / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def mean_band(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Student's 95% interval of the mean at each epoch, two (epochs,), for curves (seeds, epochs); NaN for one seed."""
    seeds = len(curves)
    if seeds < 2:
        return np.full(curves.shape[1], np.nan), np.full(curves.shape[1], np.nan)
    half = special.stdtrit(seeds - 1, 1 - LEVEL / 2) * curves.std(axis=0, ddof=1) / math.sqrt(seeds)
    middle = curves.mean(axis=0)
    return middle - half, middle + half


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95% interval of a share."""
    low = special.betaincinv(count, total - count + 1, LEVEL / 2) if count else 0.0
    high = special.betaincinv(count + 1, total - count, 1 - LEVEL / 2) if count < total else 1.0
    return float(low), float(high)


def half_p(count: int, total: int) -> float:
    """Exact two-sided binomial p of `count` in `total` where the share is one half."""
    return min(1.0, 2 * float(special.bdtr(min(count, total - count), total, 0.5)))


def mcnemar_p(one: BoolArray, other: BoolArray) -> float:
    """Exact McNemar test of two paired shares, (seeds,) each: p over the pairs that disagree; 1 where none does."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    return half_p(only_one, only_one + only_other)
