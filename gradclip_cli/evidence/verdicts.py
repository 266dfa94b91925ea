"""Two arms judged: their differences, paired over shared seeds or not, what clipping did there, and a verdict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.evidence import planning, samples, stats
from gradclip_cli.evidence.arms import Arm, other_differences
from gradclip_cli.evidence.planning import SeedsNeeded
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.evidence.samples import Sample
from gradclip_cli.evidence.stats import LEVEL
from gradclip_cli.evidence.treatment import HARDLY, acted

RARE = 0.05
"""Share of the seeds that may lie beyond a margin where an arm is called equivalent, or not worse."""


class Verdict(StrEnum):
    """What the seeds can show of an arm against its baseline."""

    HELPS = "helps"
    HURTS = "hurts"
    NO_DIFFERENCE = "no difference shown"
    EQUIVALENT = "equivalent"
    NOT_WORSE = "not worse"
    """By the margin or more: not inferior, as the field says."""
    EXPLORATORY = "exploratory"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True)
class Judgement:
    """How a pair is judged as one of several: its p as adjusted for them, and the level of the interval that agrees with it."""

    p_adjusted: float
    level: float
    tests: int


class Difference(Protocol):
    """What two arms' scores differ by in the metric's unit, typically and on average, with the test that a verdict rests on."""

    @property
    def typical(self) -> float: ...
    @property
    def mean(self) -> float: ...
    @property
    def opposed(self) -> bool: ...
    @property
    def p(self) -> float: ...
    def interval(self, level: float = LEVEL) -> tuple[float, float]: ...


@dataclass(frozen=True)
class TwoArms(ABC):
    """Two arms and what they differ by: a `Pair` has it by seed, `unpaired.Unpaired` has not."""

    base: Arm
    arm: Arm
    yardstick: Yardstick
    differences: Difference
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""
    acted: float | None
    """The share of steps on which their clipping did something else; None where they are clipped alike, or it isn't known."""

    @property
    def better(self) -> bool:
        """Whether the typical difference is to the better."""
        return (self.differences.typical > 0) == self.yardstick.metric.higher_is_better

    @property
    def sign(self) -> int:
        """Of differences to the better."""
        return 1 if self.yardstick.metric.higher_is_better else -1

    @property
    def differ_in_clipping(self) -> bool:
        """Whether the arms are clipped in different ways."""
        return self.arm.config.clipping != self.base.config.clipping

    @property
    def is_of_clipping_alone(self) -> bool:
        """Whether the arms differ in nothing but how they are clipped."""
        return self.differ_in_clipping and not self.differs_in

    def never_acted(self) -> bool:
        """Whether clipping alone was to make the difference, and did nothing at all."""
        return self.is_of_clipping_alone and self.acted == 0

    @property
    def other_data(self) -> int:
        """How many datasets the runs were trained on where their configs say that it is one; 0 where it is."""
        found = {run.metadata.get("dataset_sha256") for each in (self.base, self.arm) for run in each.runs} - {None}
        return len(found) if len(found) > 1 and not any(key.startswith("data.") for key in self.differs_in) else 0

    def at_chance(self) -> bool:
        """Whether no run of either scored better than chance, to which losses are capped: then nothing can tell them apart."""
        chance = self.yardstick.metric.capped_at(self.arm)
        scores = np.concatenate([self.yardstick.scores(each) for each in (self.base, self.arm)])
        return chance is not None and bool((scores == chance).all())

    def hardly_acted(self) -> bool:
        """Whether clipping alone was to make the difference, and did hardly anything."""
        return self.is_of_clipping_alone and self.acted is not None and self.acted < HARDLY

    def equivalent(self, level: float) -> bool | None:
        """Whether interval, mean and nearly all runs lie inside the margin; None without one. Rare losses are no equivalence."""
        if (margin := self.yardstick.margin) is None:
            return None
        return max(map(abs, self._ends(level))) < margin and self.is_rarely_apart(margin)

    def not_worse(self, level: float) -> bool | None:
        """Whether interval, mean and nearly all runs are nowhere worse by the margin or more; None without one."""
        if (margin := self.yardstick.margin) is None:
            return None
        return min(self.sign * end for end in self._ends(level)) > -margin and is_rare(self.beyond_margin, len(self.arm.runs))

    def _ends(self, level: float) -> tuple[float, float, float]:
        return (*self.differences.interval(level), self.differences.mean)

    @abstractmethod
    def is_rarely_apart(self, margin: float) -> bool:
        """Whether few runs differ by the margin or more."""

    @property
    @abstractmethod
    def beyond_margin(self) -> int:
        """How many of the arm's runs are worse by the margin or more."""

    @abstractmethod
    def shares_p(self, one: BoolArray, other: BoolArray) -> float:
        """Exact p of what happened in some of either arm's runs, (runs,) each: whether it is as frequent in both."""

    @abstractmethod
    def smallest_p(self, tests: int) -> float:
        """The smallest adjusted p that so many runs can give to the best of so many tests."""

    @abstractmethod
    def planned(self, tests: int) -> tuple[float, SeedsNeeded | None]:
        """The difference that so many runs detect, and what the wanted effect takes: infinite and None for one."""

    def verdict(self, judgement: Judgement) -> Verdict:
        """What the arms show, judged as one of several."""
        if self.other_data or self.never_acted() or self.at_chance():
            return Verdict.NOT_TESTABLE
        if self.smallest_p(judgement.tests) >= LEVEL:
            return Verdict.EXPLORATORY
        if judgement.p_adjusted < LEVEL:
            return Verdict.HELPS if self.better else Verdict.HURTS
        if self.hardly_acted():
            return Verdict.NOT_TESTABLE
        if self.equivalent(judgement.level):
            return Verdict.EQUIVALENT
        return Verdict.NOT_WORSE if self.not_worse(judgement.level) else Verdict.NO_DIFFERENCE


@dataclass(frozen=True)
class Pair(TwoArms):
    """Two arms on the seeds that both have, and their differences by seed in the metric's unit."""

    differences: Sample

    @classmethod
    def of(cls, base: Arm, arm: Arm, yardstick: Yardstick) -> Pair | None:
        """Pair two arms by seed; None where they share none."""
        shared = set(base.seeds) & set(arm.seeds)
        if not shared:
            return None
        base, arm = base.only(shared), arm.only(shared)
        differences = (yardstick.scores(arm) - yardstick.scores(base)) * yardstick.metric.unit.scale
        differs_in = [key for key, *_ in other_differences(base, arm)]
        return cls(base, arm, yardstick, Sample.of(differences), differs_in, acted(base, arm))

    @property
    def won(self) -> int:
        """On how many seeds the arm was better."""
        return self.differences.positive if self.yardstick.metric.higher_is_better else self.differences.negative

    def is_rarely_apart(self, margin: float) -> bool:
        return is_rare(int((abs(self.differences.values) >= margin).sum()), self.differences.seeds)

    @property
    def beyond_margin(self) -> int:
        """On how many seeds the arm is worse by the margin or more."""
        return int((self.sign * self.differences.values <= -(self.yardstick.margin or math.inf)).sum())

    def shares_p(self, one: BoolArray, other: BoolArray) -> float:
        return stats.mcnemar_p(one, other)

    def smallest_p(self, tests: int) -> float:
        return samples.smallest_p(self.differences.seeds, tests)

    def planned(self, tests: int) -> tuple[float, SeedsNeeded | None]:
        deviation = planning.spread(self.differences)
        if not math.isfinite(deviation):
            return math.inf, None
        seeds = self.differences.seeds
        detectable = planning.detectable_effect(deviation, seeds, tests=tests)
        return detectable, planning.seeds_needed(self.yardstick.effect, deviation, seeds, tests=tests)


def is_rare(count: int, runs: int) -> bool:
    """Whether so many of these runs, or of these seeds, may lie beyond a margin."""
    return count <= RARE * runs


@dataclass(frozen=True)
class Collapses:
    """Runs whose accuracy fell by more than 5 points from one epoch to the next, in both arms, with their shares' exact p."""

    arm: int
    baseline: int
    p: float

    @classmethod
    def of(cls, pair: TwoArms) -> Collapses | None:
        """Of two arms; None where one of them has no such accuracy."""
        if not (pair.base.can_collapse and pair.arm.can_collapse):
            return None
        ours, theirs = pair.arm.collapsed, pair.base.collapsed
        return cls(int(ours.sum()), int(theirs.sum()), pair.shares_p(theirs, ours))


def judged_together(pairs: Sequence[TwoArms]) -> list[Judgement]:
    """How each of several pairs of arms is judged, adjusted by Holm over all of them."""
    return judgements([pair.differences.p for pair in pairs])


def judgements(p_values: Sequence[float]) -> list[Judgement]:
    """How each of several tests is judged, adjusted by Holm over all of them."""
    adjusted, levels = stats.holm(p_values), stats.holm_levels(p_values)
    return [Judgement(p, level, len(p_values)) for p, level in zip(adjusted, levels, strict=True)]
