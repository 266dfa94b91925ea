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
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats

from gradclip_cli.arrays import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
POWER = 0.8
EXACT_SEEDS = 14
RESAMPLES = 99_999
ROUNDING = 1e-12  # share of the values' size below which a sum of them is rounding
BLOCK = 10_000  # resamples drawn at a time, which bounds the memory for many seeds


@dataclass(frozen=True)
class PairedComparison:
    """Differences over shared seeds: mean, 95% interval (infinite where so few seeds allow none), p, and their signs."""

    seeds: int
    mean: float
    low: float
    high: float
    p: float
    positive: int
    negative: int
    zero: int


def compare_pairs(differences: FloatArray, *, n_resamples: int = RESAMPLES, seed: int = 0) -> PairedComparison:
    """Test and estimate the mean of paired differences (seeds,) by flipping their signs.

    The null hypothesis is that the differences are symmetric about zero; the statistic is their mean; p is two-sided,
    exact up to 14 seeds and from `n_resamples` random sign flips beyond. The interval holds exactly the shifts that the
    test at 5% does not reject: its ends are order statistics of the subset means. Raises ValueError for no or non-finite
    differences.
    """
    differences = np.asarray(differences, dtype=float)
    if not differences.size or not np.isfinite(differences).all():
        raise ValueError("paired differences must be finite, and at least one")
    means, flips = _subset_means(differences, n_resamples, seed)
    mean = float(differences.mean())
    if abs(mean) <= ROUNDING * float(np.abs(differences).mean()):
        mean = 0.0
    tail = math.floor(LEVEL / 2 * flips * (1 + 1e-12))
    low, high = (float(means[tail - 1]), float(means[-tail])) if tail else (-math.inf, math.inf)
    return PairedComparison(
        seeds=len(differences),
        mean=mean,
        low=low,
        high=high,
        p=_sign_flip_p(means, flips),
        positive=int((differences > 0).sum()),
        negative=int((differences < 0).sum()),
        zero=int((differences == 0).sum()),
    )


def _subset_means(differences: FloatArray, n_resamples: int, seed: int) -> tuple[FloatArray, int]:
    """Sorted means of the subsets whose signs are flipped (all, or random ones), without the empty one; how many flips.

    The empty subset flips nothing: it is the observation itself, which a valid test counts along.
    """
    seeds = len(differences)
    if seeds <= EXACT_SEEDS:
        means = _means_of(differences, (np.arange(1, 2**seeds)[:, None] >> np.arange(seeds)) & 1)
    else:
        generator = np.random.default_rng(seed)
        blocks = (min(BLOCK, n_resamples - start) for start in range(0, n_resamples, BLOCK))
        means = np.concatenate([_means_of(differences, generator.integers(0, 2, (size, seeds))) for size in blocks])
    means.sort()
    if np.ptp(differences) == 0:
        means[:] = differences[0]
    return means, len(means) + 1


def _means_of(differences: FloatArray, chosen: IntArray) -> FloatArray:
    """Mean of each subset, from rows of zeros and ones, (subsets, seeds); empty ones are left out."""
    chosen = chosen[chosen.any(axis=1)]
    sums = chosen @ differences
    # Sums that cancel exactly must not be told from zero by rounding.
    sums[np.abs(sums) <= ROUNDING * np.abs(differences).sum()] = 0
    means: FloatArray = sums / chosen.sum(axis=1)
    return means


def _sign_flip_p(means: FloatArray, flips: int) -> float:
    below = 1 + int(np.searchsorted(means, 0, side="right"))
    above = 1 + len(means) - int(np.searchsorted(means, 0, side="left"))
    return min(1.0, 2 * min(below, above) / flips)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being one of several tests (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def smallest_p(seeds: int, tests: int, *, n_resamples: int = RESAMPLES) -> float:
    """The smallest adjusted p that so many seeds can give to the best of so many tests."""
    flips = 2**seeds if seeds <= EXACT_SEEDS else n_resamples + 1
    return min(1.0, 2 * tests / flips)


def seeds_for_a_verdict(tests: int) -> int:
    """The fewest seeds with which a test among so many can fall below 5%."""
    return next(seeds for seeds in range(1, EXACT_SEEDS + 2) if smallest_p(seeds, tests) < LEVEL)


def is_equivalent(comparison: PairedComparison, margin: float) -> bool:
    """Whether the whole interval lies inside plus or minus `margin`."""
    return -margin < comparison.low and comparison.high < margin


def mean_interval(values: FloatArray) -> tuple[float, float]:
    """Student's 95% interval of a mean over seeds (seeds,); infinite for one seed, a point where all agree."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return -math.inf, math.inf
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    low, high = scipy.stats.t.interval(CONFIDENCE, len(values) - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    return float(low), float(high)


def mean_band(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Student's 95% interval of the mean at each epoch, two (epochs,), for curves (seeds, epochs); NaN for one seed."""
    seeds = len(curves)
    if seeds < 2:
        return np.full(curves.shape[1], np.nan), np.full(curves.shape[1], np.nan)
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * scipy.stats.sem(curves, axis=0)
    middle = curves.mean(axis=0)
    return middle - half, middle + half


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95% interval of a share."""
    if total == 0:
        return 0.0, 1.0
    interval = scipy.stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def share_p(count: int, total: int, share: float) -> float:
    """Exact two-sided binomial p of `count` in `total` where the share is `share`."""
    return float(scipy.stats.binomtest(count, total, share).pvalue)


def mcnemar_p(one: BoolArray, other: BoolArray) -> float:
    """Exact McNemar test of two paired shares, (seeds,) each: p over the pairs that disagree; 1 where none does."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if only_one + only_other == 0:
        return 1.0
    return share_p(only_one, only_one + only_other, 0.5)


def deviation(differences: FloatArray) -> float:
    """Standard deviation (n - 1) of differences (seeds,); infinite for one seed, 0 where they agree but for rounding."""
    if len(differences) < 2:
        return math.inf
    spread = float(np.std(differences, ddof=1))
    return spread if spread > 1e3 * ROUNDING * float(np.abs(differences).max()) else 0.0


def power(effect: float, deviation: float, seeds: int, *, tests: int = 1) -> float:
    """Power of the two-sided paired t-test at 5% over `tests` to see an effect, given the differences' deviation."""
    freedom = seeds - 1
    critical = scipy.stats.t.ppf(1 - LEVEL / tests / 2, freedom)
    shift = abs(effect) / deviation * math.sqrt(seeds)
    found = scipy.stats.nct.sf(critical, freedom, shift) + scipy.stats.nct.cdf(-critical, freedom, shift)
    return 1.0 if np.isnan(found) else float(found)  # SciPy has no figure where the shift is huge


def detectable_effect(deviation: float, seeds: int, *, tests: int = 1) -> float:
    """The smallest mean difference that so many seeds detect with 80% power; infinite below two seeds, 0 without spread."""
    if seeds < 2:
        return math.inf
    if deviation == 0:
        return 0.0
    most = 2 * scipy.stats.t.ppf(1 - LEVEL / tests / 2, seeds - 1) + 5
    return float(deviation * scipy.optimize.brentq(lambda effect: power(effect, 1.0, seeds, tests=tests) - POWER, 0, most))


def seeds_needed(effect: float, deviation: float, *, tests: int = 1, most: int = 100_000) -> int:
    """The fewest seeds that detect `effect` with 80% power, and with which a verdict is possible; `most` at the most."""
    fewest = seeds_for_a_verdict(tests)
    if deviation == 0 or power(effect, deviation, fewest, tests=tests) >= POWER:
        return fewest
    low, high = fewest, fewest
    while high < most and power(effect, deviation, high, tests=tests) < POWER:
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, deviation, middle, tests=tests) >= POWER else (middle, high)
    return high
