"""A sample over seeds, of scores or of paired differences: its typical value with exact interval and test, the mean beside it.

A verdict rests on the typical value, the pseudomedian: the middle of the averages of all pairs of values. Its test (Wilcoxon's
signed-rank) and its interval (Tukey's, of the same averages) invert each other, so they never disagree. The mean says what is
gained or lost on average; with values so few and so skewed as training runs give no test of it keeps its level
(docs/statistics.md).

Sources: Wilcoxon 1945, "Individual comparisons by ranking methods"; Hodges and Lehmann 1963, "Estimates of location based on rank
tests" (the estimate); Hollander, Wolfe and Chicken 2014, "Nonparametric statistical methods", section 3 (test, interval, ties).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence.pairs import Pairs
from gradclip_cli.evidence.stats import LEVEL, half_p

ROUNDING = 1e-12
"""Share of the values' size below which an average of two is rounding."""
EXACT_SEEDS = 500
"""Up to so many seeds the null distribution is exact; beyond it is the normal one with a correction for continuity."""
TIED = 0.2
"""Share of the seeds above which zeros leave the signed-rank test little to decide by."""
FEW = 0.1
"""Share of the seeds that counts as few, where these alone give half of the mean."""


@dataclass(frozen=True)
class Sample:
    """Values over seeds (n,), in any unit, and what follows from them."""

    values: FloatArray
    averages: Pairs
    """Of all pairs, each value with itself among them."""

    @classmethod
    def of(cls, values: FloatArray) -> Sample:
        """Raises ValueError for no or non-finite values."""
        values = np.asarray(values, dtype=float)
        if not values.size or not np.isfinite(values).all():
            raise ValueError("values must be finite, and at least one")
        return cls(values, Pairs.averages(values, ROUNDING * float(np.abs(values).max())))

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def typical(self) -> float:
        """The pseudomedian (Hodges and Lehmann's estimate)."""
        return self.averages.median

    @property
    def mean(self) -> float:
        """Zero where the values cancel but for rounding."""
        mean = float(self.values.mean())
        return mean if abs(mean) > ROUNDING * float(np.abs(self.values).mean()) else 0.0

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def positive(self) -> int:
        """How many values are above zero."""
        return int((self.values > 0).sum())

    @property
    def negative(self) -> int:
        """How many values are below zero."""
        return int((self.values < 0).sum())

    @property
    def zero(self) -> int:
        """How many values are zero."""
        return self.seeds - self.positive - self.negative

    @property
    def p(self) -> float:
        """Two-sided p of Wilcoxon's signed-rank test that the values are spread about zero evenly.

        The statistic is the number of averages above (or below) zero; those at zero speak for neither side, so that ties
        count against a verdict, never for one.
        """
        one_side = max(self.averages.positive, self.averages.negative)
        return min(1.0, 2 * rank_sum_below(self.seeds, len(self.averages) - one_side))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The shifts that the test at this level does not reject; infinite where so few seeds can reject none."""
        outside = averages_outside(self.seeds, level)
        if not outside:
            return -math.inf, math.inf
        return self.averages[outside - 1], self.averages[-outside]

    @property
    def much_tied(self) -> bool:
        """Whether so many values are exactly zero that the signed-rank test can hardly decide, though not all are."""
        return TIED * self.seeds < self.zero < self.seeds

    @property
    def sign_p(self) -> float:
        """Exact two-sided p of the sign test: whether values above zero are as frequent as those below; zeros are left out."""
        return half_p(self.positive, self.positive + self.negative)

    @property
    def carriers(self) -> int:
        """The fewest seeds that together give at least half of the mean; 0 where it is zero."""
        if not self.mean:
            return 0
        towards = np.sort(self.values * np.sign(self.mean))[::-1]
        return 1 + int(np.searchsorted(np.cumsum(towards), abs(self.mean) * self.seeds / 2 * (1 - ROUNDING)))

    @property
    def carried_by_few(self) -> bool:
        """Whether few seeds give half of the mean, so that it is typical of none; a mean within its own error is nobody's."""
        error = float(self.values.std(ddof=1)) / math.sqrt(self.seeds) if self.seeds > 1 else 0.0
        return 0 < self.carriers <= FEW * self.seeds and abs(self.mean) > error

    @property
    def opposed(self) -> bool:
        """Whether the typical value and the mean point in opposite directions."""
        return self.typical * self.mean < 0


def rank_sum_below(seeds: int, count: int) -> float:
    """Chance that the signed-rank statistic of so many seeds is at most `count` where no seed prefers a side."""
    if seeds <= EXACT_SEEDS:
        return float(_null_distribution(seeds)[count])
    pairs = seeds * (seeds + 1) / 2
    deviation = math.sqrt(pairs * (2 * seeds + 1) / 12)
    return float(special.ndtr((count + 0.5 - pairs / 2) / deviation))


@functools.cache
def _null_distribution(seeds: int) -> FloatArray:
    """Cumulative chances of the signed-rank statistic, exact, (n (n + 1) / 2 + 1,): each rank counts or not, evenly."""
    chances = np.ones(1)
    for rank in range(1, seeds + 1):
        counted, left_out = np.zeros((2, len(chances) + rank))
        counted[rank:], left_out[: len(chances)] = chances / 2, chances / 2
        chances = counted + left_out
    return np.minimum(np.cumsum(chances), 1.0)


def averages_outside(seeds: int, level: float) -> int:
    """How many averages lie outside the interval at each end, for so many seeds; none where so few can reject nothing."""
    low, high = 0, seeds * (seeds + 1) // 2
    while low < high:  # the chance grows with the count
        middle = (low + high + 1) // 2
        low, high = (middle, high) if rank_sum_below(seeds, middle - 1) <= level / 2 else (low, middle - 1)
    return low


def smallest_p(seeds: int, tests: int) -> float:
    """The smallest adjusted p that so many seeds can give to the best of so many tests."""
    return min(1.0, 2 * tests * rank_sum_below(seeds, 0))


def seeds_for_a_verdict(tests: int) -> int:
    """The fewest seeds with which a test among so many can fall below 5%."""
    return next(seeds for seeds in range(1, EXACT_SEEDS) if smallest_p(seeds, tests) < LEVEL)


def typical_curve(curves: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The typical value at each epoch with its 95% interval's ends, three (epochs,), for curves (seeds, epochs).

    Both ends are NaN where so few seeds allow no interval.
    """
    samples = [Sample.of(values) for values in curves.T]
    low, high = np.array([sample.interval() for sample in samples]).T
    unknown = ~np.isfinite(low)
    low[unknown], high[unknown] = np.nan, np.nan
    return np.array([sample.typical for sample in samples]), low, high
