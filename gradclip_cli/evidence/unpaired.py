"""Two arms of which some runs don't know their seed: nothing pairs them, so each run counts against each of the other arm's.

A recorder that is told no seed takes the next free number for a run. By such numbers runs must not be paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import BoolArray, FloatArray
from gradclip_cli.evidence import planning, stats, two_samples
from gradclip_cli.evidence.arms import Arm, other_differences
from gradclip_cli.evidence.planning import SeedsNeeded
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.treatment import acted
from gradclip_cli.evidence.two_samples import TwoSamples
from gradclip_cli.evidence.verdicts import TwoArms, is_rare


@dataclass(frozen=True)
class Unpaired(TwoArms):
    """Two arms with all their runs, and what their scores differ by in the metric's unit."""

    differences: TwoSamples

    @classmethod
    def of(cls, base: Arm, arm: Arm, yardstick: Yardstick) -> Unpaired:
        """Of any two arms."""
        ours, theirs = (yardstick.scores(each) * yardstick.metric.unit.scale for each in (arm, base))
        differs_in = [key for key, *_ in other_differences(base, arm)]
        return cls(base, arm, yardstick, TwoSamples.of(ours, theirs), differs_in, acted(base, arm))

    @property
    def won(self) -> int:
        """In how many pairs of runs, one of each arm, the arm's is better."""
        return self.differences.positive if self.yardstick.metric.higher_is_better else self.differences.negative

    def is_rarely_apart(self, margin: float) -> bool:
        """Of each arm, whether few runs are so far from what the other arm typically scores."""
        ours, theirs = self.differences.ours, self.differences.theirs
        return _rarely_apart(ours, theirs, margin) and _rarely_apart(theirs, ours, margin)

    @property
    def beyond_margin(self) -> int:
        """How many of the arm's runs are worse by the margin or more than what the baseline typically scores."""
        worse = self.sign * (self.differences.ours - Sample.of(self.differences.theirs).typical)
        return int((worse <= -(self.yardstick.margin or math.inf)).sum())

    def shares_p(self, one: BoolArray, other: BoolArray) -> float:
        return stats.fisher_p(one, other)

    def smallest_p(self, tests: int) -> float:
        return two_samples.smallest_p(self.differences.sizes, tests)

    def planned(self, tests: int) -> tuple[float, SeedsNeeded | None]:
        deviation, sizes = planning.spread_of_two(self.differences), self.differences.sizes
        if not math.isfinite(deviation):
            return math.inf, None
        detectable = planning.detectable_by(planning.Design.of_two(*sizes), deviation, tests=tests)
        return detectable, planning.runs_needed(self.yardstick.effect, deviation, sizes, tests=tests)


def _rarely_apart(values: FloatArray, others: FloatArray, margin: float) -> bool:
    return is_rare(int((np.abs(values - Sample.of(others).typical) >= margin).sum()), len(values))
