"""Planning: what so many seeds can detect, and how many a difference takes, from the spread of differences seen. Pure functions.

Power is the paired t-test's, with the signed-rank test's efficiency against it (3/pi where differences are normal: Hodges and
Lehmann 1956, "The efficiency of some nonparametric competitors of the t-test"). The spread is read off the typical difference's
interval, which a collapsed run does not widen without bound, and is itself known from few seeds only: a chi-squared interval
goes along, which is rough where differences are skewed. Of two samples that nothing pairs it is the spread of their values, taken
to be one in both: so many runs of each tell as much of a difference as half as many paired ones would with that spread.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradclip_cli.evidence.samples import ROUNDING, Sample, averages_outside, rank_sum_below, seeds_for_a_verdict
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.evidence.two_samples import TwoSamples, runs_for_a_verdict

POWER = 0.8
EFFICIENCY = 3 / math.pi
MOST_SEEDS = 100_000
WIDTH_EFFICIENCY = 0.75
"""A width tells the spread as well as the standard deviation of so large a share of the seeds does (by simulation)."""
SEEDS_FOR_A_WIDTH = 10
"""So many seeds' interval is about as wide as it should be; that of fewer is up to 1.4 times as wide."""


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds (unpaired: runs of each arm) an effect takes, and the range that the uncertainty of the spread leaves."""

    seeds: int
    low: int
    high: int


@dataclass(frozen=True)
class Design:
    """What runs tell of a difference: as much as so many values of that spread, with so many degrees of freedom."""

    values: float
    freedom: int

    @classmethod
    def of_pairs(cls, seeds: int) -> Design:
        """Of paired differences."""
        return cls(seeds, seeds - 1)

    @classmethod
    def of_two(cls, ours: int, theirs: int) -> Design:
        """Of two samples of these sizes."""
        return cls(ours * theirs / (ours + theirs), ours + theirs - 2)

    @classmethod
    def of_two_alike(cls, runs: int) -> Design:
        """Of two samples of one size."""
        return cls.of_two(runs, runs)


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


def spread_of_two(samples: TwoSamples) -> float:
    """The standard deviation of two normal samples whose typical difference has an interval as wide as this, taken as one.

    With fewer than `SEEDS_FOR_A_WIDTH` values in either, or where ties leave no width, it is the pooled standard deviation;
    infinite for one value each, 0 where values agree but for rounding.
    """
    design = Design.of_two(*samples.sizes)
    if not design.freedom:
        return math.inf
    rounding = 1e3 * ROUNDING * float(np.abs(np.concatenate([samples.ours, samples.theirs])).max())
    wide = _from_width_of_two(samples) if min(samples.sizes) >= SEEDS_FOR_A_WIDTH else 0.0
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in (samples.ours, samples.theirs))
    wide = wide if wide > rounding else math.sqrt(squares / design.freedom)
    return wide if wide > rounding else 0.0


def _from_width_of_two(samples: TwoSamples) -> float:
    low, high = samples.interval()
    normal = float(-special.ndtri(samples.level_of_interval() / 2))
    return (high - low) / 2 / normal * math.sqrt(EFFICIENCY * Design.of_two(*samples.sizes).values)


def deviation_interval(deviation: float, seeds: int) -> tuple[float, float]:
    """The 95% interval of a spread that so many (normal) differences gave."""
    return _deviation_interval(deviation, seeds - 1, by_width=seeds >= SEEDS_FOR_A_WIDTH)


def _deviation_interval(deviation: float, freedom: float, *, by_width: bool) -> tuple[float, float]:
    freedom *= WIDTH_EFFICIENCY if by_width else 1
    low, high = special.chdtri(freedom, LEVEL / 2), special.chdtri(freedom, 1 - LEVEL / 2)
    return deviation * math.sqrt(freedom / low), deviation * math.sqrt(freedom / high)


def power(effect: float, deviation: float, seeds: int, *, tests: int = 1) -> float:
    """Power of the test at 5% over `tests` to see an effect, given the differences' deviation."""
    return _power(effect, deviation, Design.of_pairs(seeds), tests)


def _power(effect: float, deviation: float, design: Design, tests: int) -> float:
    shift = abs(effect) / deviation * math.sqrt(EFFICIENCY * design.values)
    missed = float(special.nctdtr(design.freedom, shift, _critical(design.freedom, tests)))
    return 1.0 if math.isnan(missed) else 1 - missed  # SciPy has no figure where the shift is huge


def _critical(freedom: int, tests: int) -> float:
    return float(special.stdtrit(freedom, 1 - LEVEL / tests / 2))


def detectable_effect(deviation: float, seeds: int, *, tests: int = 1) -> float:
    """The smallest difference that so many seeds detect with 80% power; infinite below two seeds, 0 without spread."""
    return detectable_by(Design.of_pairs(seeds), deviation, tests=tests)


def detectable_by(design: Design, deviation: float, *, tests: int = 1) -> float:
    """The same of runs of this design; infinite without a degree of freedom."""
    if design.freedom < 1:
        return math.inf
    shift = float(special.nctdtrinc(design.freedom, 1 - POWER, _critical(design.freedom, tests)))
    return deviation * shift / math.sqrt(EFFICIENCY * design.values)


def seeds_needed(effect: float, deviation: float, seeds: int, *, tests: int = 1) -> SeedsNeeded:
    """The seeds that detect `effect` with 80% power, from the deviation that so many seeds gave."""
    low, high = deviation_interval(deviation, seeds) if deviation else (0.0, 0.0)
    return _needed(effect, (deviation, low, high), tests, Design.of_pairs, seeds_for_a_verdict(tests))


def runs_needed(effect: float, deviation: float, sizes: tuple[int, int], *, tests: int = 1) -> SeedsNeeded:
    """The runs in each of two samples of one size that detect `effect` so, from the deviation that samples of `sizes` gave."""
    by_width, freedom = min(sizes) >= SEEDS_FOR_A_WIDTH, Design.of_two(*sizes).freedom
    low, high = _deviation_interval(deviation, freedom, by_width=by_width) if deviation else (0.0, 0.0)
    return _needed(effect, (deviation, low, high), tests, Design.of_two_alike, runs_for_a_verdict(tests))


def _needed(
    effect: float, spreads: tuple[float, float, float], tests: int, design_of: Callable[[int], Design], fewest: int
) -> SeedsNeeded:
    """With as many as this spread takes, and its interval's ends."""

    def enough(deviation: float, seeds: int) -> bool:
        return not deviation or _power(effect, deviation, design_of(seeds), tests) >= POWER

    return SeedsNeeded(*(_fewest(functools.partial(enough, deviation), fewest) for deviation in spreads))


def _fewest(enough: Callable[[int], bool], fewest: int) -> int:
    """The fewest seeds with enough power, and with which a verdict is possible; `MOST_SEEDS` at the most."""
    if enough(fewest):
        return fewest
    low, high = fewest, fewest
    while high < MOST_SEEDS and not enough(high):
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
