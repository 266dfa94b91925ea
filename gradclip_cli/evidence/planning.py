"""Planning: what so many seeds can detect, and how many a difference takes, from the spread of differences seen. Pure functions.

Power is the paired t-test's, with the signed-rank test's efficiency against it (3/pi where differences are normal: Hodges and
Lehmann 1956, "The efficiency of some nonparametric competitors of the t-test"). The spread is read off the typical difference's
interval, which a collapsed run does not widen without bound, and is itself known from few seeds only: a chi-squared interval
goes along, which is rough where differences are skewed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradclip_cli.evidence.samples import ROUNDING, Sample, averages_outside, rank_sum_below, seeds_for_a_verdict
from gradclip_cli.evidence.stats import LEVEL

POWER = 0.8
EFFICIENCY = 3 / math.pi
MOST_SEEDS = 100_000
WIDTH_EFFICIENCY = 0.75
"""A width tells the spread as well as the standard deviation of so large a share of the seeds does (by simulation)."""
SEEDS_FOR_A_WIDTH = 10
"""So many seeds' interval is about as wide as it should be; that of fewer is up to 1.4 times as wide."""


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds an effect takes, and the range that the uncertainty of the spread leaves."""

    seeds: int
    low: int
    high: int


def spread(differences: Sample) -> float:
    """The standard deviation of normal differences whose typical one has an interval as wide as this; infinite for one seed.

    Of fewer than `SEEDS_FOR_A_WIDTH` seeds, or where ties leave no width, it is the plain standard deviation. 0 where
    differences agree but for rounding.
    """
    if differences.seeds < 2:
        return math.inf
    rounding = 1e3 * ROUNDING * float(np.abs(differences.values).max())
    wide = _from_width(differences) if differences.seeds >= SEEDS_FOR_A_WIDTH else 0.0
    wide = wide if wide > rounding else float(differences.values.std(ddof=1))
    return wide if wide > rounding else 0.0


def _from_width(differences: Sample) -> float:
    low, high = differences.interval()
    level = 2 * rank_sum_below(differences.seeds, averages_outside(differences.seeds, LEVEL) - 1)
    return (high - low) / 2 / float(-special.ndtri(level / 2)) * math.sqrt(EFFICIENCY * differences.seeds)


def deviation_interval(deviation: float, seeds: int) -> tuple[float, float]:
    """The 95% interval of a spread that so many (normal) differences gave."""
    freedom = (seeds - 1) * (WIDTH_EFFICIENCY if seeds >= SEEDS_FOR_A_WIDTH else 1)
    low, high = special.chdtri(freedom, LEVEL / 2), special.chdtri(freedom, 1 - LEVEL / 2)
    return deviation * math.sqrt(freedom / low), deviation * math.sqrt(freedom / high)


def power(effect: float, deviation: float, seeds: int, *, tests: int = 1) -> float:
    """Power of the test at 5% over `tests` to see an effect, given the differences' deviation."""
    freedom = seeds - 1
    shift = abs(effect) / deviation * math.sqrt(EFFICIENCY * seeds)
    missed = float(special.nctdtr(freedom, shift, _critical(freedom, tests)))
    return 1.0 if math.isnan(missed) else 1 - missed  # SciPy has no figure where the shift is huge


def _critical(freedom: int, tests: int) -> float:
    return float(special.stdtrit(freedom, 1 - LEVEL / tests / 2))


def detectable_effect(deviation: float, seeds: int, *, tests: int = 1) -> float:
    """The smallest difference that so many seeds detect with 80% power; infinite below two seeds, 0 without spread."""
    if seeds < 2:
        return math.inf
    shift = float(special.nctdtrinc(seeds - 1, 1 - POWER, _critical(seeds - 1, tests)))
    return deviation * shift / math.sqrt(EFFICIENCY * seeds)


def seeds_needed(effect: float, deviation: float, seeds: int, *, tests: int = 1) -> SeedsNeeded:
    """The seeds that detect `effect` with 80% power, from the deviation that so many seeds gave."""
    low, high = deviation_interval(deviation, seeds) if deviation else (0.0, 0.0)
    fewest, middle, most = (_fewest(effect, spread, tests) for spread in (low, deviation, high))
    return SeedsNeeded(middle, fewest, most)


def _fewest(effect: float, deviation: float, tests: int) -> int:
    """The fewest seeds with enough power, and with which a verdict is possible; `MOST_SEEDS` at the most."""
    fewest = seeds_for_a_verdict(tests)
    if not deviation or power(effect, deviation, fewest, tests=tests) >= POWER:
        return fewest
    low, high = fewest, fewest
    while high < MOST_SEEDS and power(effect, deviation, high, tests=tests) < POWER:
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, deviation, middle, tests=tests) >= POWER else (middle, high)
    return high
