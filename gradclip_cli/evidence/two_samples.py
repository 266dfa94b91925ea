"""Two independent samples, of scores of runs that nothing pairs: their typical difference with exact interval and test.

The typical difference is the middle of the differences of all pairs, one value of each sample. Its test (Mann and Whitney's, or
Wilcoxon's of the rank sum) and its interval (Moses's, of the same differences) invert each other, so they never disagree, as in
`samples`. The test is exact where both samples come from one law, whatever that is; docs/statistics.md says how it does where
one is wider than the other.

Sources: Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the other" (test
and recursion); Hodges and Lehmann 1963, "Estimates of location based on rank tests" (the estimate); Hollander, Wolfe and Chicken
2014, "Nonparametric statistical methods", chapter 4 (test, interval, ties).
"""

from __future__ import annotations

import bisect
import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence.pairs import Pairs
from gradclip_cli.evidence.samples import ROUNDING, TIED
from gradclip_cli.evidence.stats import LEVEL

EXACT_PAIRS = 10_000
"""Up to so many pairs of values the null distribution is exact; beyond it is the normal one with a correction for continuity."""


@dataclass(frozen=True)
class TwoSamples:
    """Values of two samples, (n,) and (m,), in one unit, and what follows from them of the first minus the second."""

    ours: FloatArray
    theirs: FloatArray
    gaps: Pairs
    """Each of ours minus each of theirs."""

    @classmethod
    def of(cls, ours: FloatArray, theirs: FloatArray) -> TwoSamples:
        """Raises ValueError for no or non-finite values."""
        ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        values = np.concatenate([ours, theirs])
        if not ours.size or not theirs.size or not np.isfinite(values).all():
            raise ValueError("values must be finite, and at least one in each sample")
        return cls(ours, theirs, Pairs.differences(ours, theirs, ROUNDING * float(np.abs(values).max())))

    @property
    def sizes(self) -> tuple[int, int]:
        """How many values each sample has: ours, theirs."""
        return len(self.ours), len(self.theirs)

    @property
    def typical(self) -> float:
        """The median of all pairs' differences (Hodges and Lehmann's estimate of a shift)."""
        return self.gaps.median

    @property
    def mean(self) -> float:
        """The difference of the means; zero where they agree but for rounding."""
        mean = float(self.ours.mean() - self.theirs.mean())
        largest = max(float(np.abs(values).max()) for values in (self.ours, self.theirs))
        return mean if abs(mean) > ROUNDING * largest else 0.0

    @property
    def opposed(self) -> bool:
        """Whether the typical difference and that of the means point in opposite directions."""
        return self.typical * self.mean < 0

    @property
    def positive(self) -> int:
        """In how many pairs ours is higher."""
        return self.gaps.positive

    @property
    def negative(self) -> int:
        """In how many pairs ours is lower."""
        return self.gaps.negative

    @property
    def zero(self) -> int:
        """How many pairs are tied."""
        return len(self.gaps) - self.positive - self.negative

    @property
    def much_tied(self) -> bool:
        """Whether so many pairs are tied that the test can hardly decide, though not all are."""
        return TIED * len(self.gaps) < self.zero < len(self.gaps)

    @property
    def p(self) -> float:
        """Two-sided p of Mann and Whitney's test that both samples come from one law.

        The statistic is the number of pairs in which ours is higher (or lower); ties speak for neither side. Broken at random
        they would give it its null distribution, so that leaving them out counts against a verdict, never for one.
        """
        one_side = max(self.positive, self.negative)
        return min(1.0, 2 * pairs_below(*self.sizes, len(self.gaps) - one_side))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The shifts that the test at this level does not reject; infinite where so few values can reject none."""
        outside = pairs_outside(self.sizes, level)
        if not outside:
            return -math.inf, math.inf
        return self.gaps[outside - 1], self.gaps[-outside]

    def level_of_interval(self, level: float = LEVEL) -> float:
        """The level that the interval really has, below that which was asked for; 0 where it is infinite."""
        outside = pairs_outside(self.sizes, level)
        return 2 * pairs_below(*self.sizes, outside - 1) if outside else 0.0


def pairs_outside(sizes: tuple[int, int], level: float) -> int:
    """How many pairs' differences lie outside the interval at each end; none where so few values can reject nothing."""
    counts = range(math.prod(sizes) + 1)
    return bisect.bisect_left(counts, level / 2, key=lambda count: pairs_below(*sizes, count))


def pairs_below(ours: int, theirs: int, count: int) -> float:
    """Chance that at most `count` of all pairs favour one side where both samples come from one law."""
    pairs = ours * theirs
    if pairs <= EXACT_PAIRS:
        return float(_null_distribution(ours, theirs)[count])
    deviation = math.sqrt(pairs * (ours + theirs + 1) / 12)
    return float(special.ndtr((count + 0.5 - pairs / 2) / deviation))


@functools.cache
def _null_distribution(ours: int, theirs: int) -> FloatArray:
    """The chances of all counts, exact, (n m + 1,)."""
    pairs = ours * theirs
    orders = np.zeros(pairs + 1, dtype=object)  # whole numbers without bound: of all orders, those with each count
    orders[0] = 1
    for size in range(1, ours + 1):
        orders[theirs + size :] -= orders[: max(0, pairs + 1 - theirs - size)].copy()
        for start in range(size):
            orders[start::size] = np.cumsum(orders[start::size])
    return np.asarray(np.cumsum(orders) / math.comb(ours + theirs, ours), dtype=float)


def smallest_p(sizes: tuple[int, int], tests: int) -> float:
    """The smallest adjusted p that samples of these sizes can give to the best of so many tests."""
    return min(1.0, 2 * tests * pairs_below(*sizes, 0))


def runs_for_a_verdict(tests: int) -> int:
    """The fewest values in each of two samples of one size with which a test among so many can fall below 5%."""
    return next(runs for runs in range(1, EXACT_PAIRS) if 2 * tests / math.comb(2 * runs, runs) < LEVEL)
