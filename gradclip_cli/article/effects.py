"""What a claim measures on each seed, in the form in which two reproductions with the same seeds are held together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.metrics import Unit
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.samples import Sample, smallest_p
from gradclip_cli.evidence.verdicts import Pair
from gradclip_cli.texts import counted


class Contrast(ABC):
    """One effect in two reproductions, ours and theirs, on the seeds that both have."""

    @property
    @abstractmethod
    def p(self) -> float:
        """Two-sided, of the test that it is the same in both."""

    @property
    @abstractmethod
    def smallest_p(self) -> float:
        """The smallest p that there could have been, whichever way it went."""

    @property
    def shown(self) -> tuple[bool, bool]:
        """Whether there is an effect at all, in ours and in theirs, each tested by itself; true where none is tested for."""
        return True, True

    @abstractmethod
    def agrees(self, level: float) -> bool:
        """Whether both are as good as the same, judged at a level."""

    @property
    @abstractmethod
    def within(self) -> str:
        """How far they agree where they do, such as `within 0.05 nats`."""

    @abstractmethod
    def cells(self, level: float) -> list[str]:
        """Ours, theirs, and what lies between them, for a table."""

    @abstractmethod
    def to_dict(self, level: float) -> dict[str, Any]:
        """For JSON."""


@dataclass(frozen=True)
class Effect:
    """What is measured on a seed, in words."""

    what: str

    @abstractmethod
    def held_against(self, theirs: Any) -> Contrast:
        """Beside the same effect in another reproduction, which shares seeds with this one."""


@dataclass(frozen=True)
class Amount(Effect):
    """A figure on each seed, such as a paired difference; `margin` is how far two may be apart at most and still agree."""

    by_seed: Mapping[int, float]
    unit: Unit
    margin: float
    is_difference: bool = True
    """Whether it is told with its sign, and zero is no effect."""

    @classmethod
    def of_difference(cls, base: Arm, arm: Arm, metric: str) -> Amount:
        """An arm minus its baseline in a metric; two agree at most within what seeds are planned for."""
        pair = Pair.of(base, arm, Question(metric).put_to(base))
        assert pair is not None
        metric_of, by_seed = pair.yardstick.metric, dict(zip(pair.arm.seeds, pair.differences.values.tolist(), strict=True))
        return cls(f"{arm.name} minus {base.name}, {metric_of.title}", by_seed, metric_of.unit, pair.yardstick.effect)

    def held_against(self, theirs: Amount) -> AmountContrast:
        seeds = sorted(set(self.by_seed) & set(theirs.by_seed))
        samples = (Sample.of(np.array([each.by_seed[seed] for seed in seeds])) for each in (self, theirs))
        return AmountContrast(self, *samples)


@dataclass(frozen=True)
class AmountContrast(Contrast):
    """Figures in both."""

    effect: Amount
    ours: Sample
    theirs: Sample

    @property
    def gap(self) -> Sample:
        """Ours minus theirs, paired by seed."""
        return Sample.of(self.ours.values - self.theirs.values)

    @property
    def p(self) -> float:
        return self.gap.p

    @property
    def smallest_p(self) -> float:
        return smallest_p(self.gap.seeds, tests=1)

    @property
    def margin(self) -> float:
        """How far they may be apart: no further than half of the smaller effect, or no effect could agree with one."""
        return min(self.effect.margin, abs(self.ours.typical) / 2, abs(self.theirs.typical) / 2)

    @property
    def shown(self) -> tuple[bool, bool]:
        if not self.effect.is_difference:
            return True, True
        return self.ours.p < stats.LEVEL, self.theirs.p < stats.LEVEL

    @property
    def _same(self) -> bool:
        """Whether each seed has the same figure in both."""
        return self.gap.zero == self.gap.seeds

    def agrees(self, level: float) -> bool:
        ends = (*self.gap.interval(level), self.gap.mean)
        return self._same or (all(self.shown) and all(abs(end) < self.margin for end in ends))

    @property
    def within(self) -> str:
        if self._same:
            return f"on each of {counted(self.gap.seeds, 'seed')}"
        return f"within {self.effect.unit.amount(self.margin)}"

    def cells(self, level: float) -> list[str]:
        unit, (low, high) = self.effect.unit, self.gap.interval(level)
        ours, theirs = (unit.shown(each.typical, sign=self.effect.is_difference) for each in (self.ours, self.theirs))
        return [ours, theirs, f"{unit.shown(self.gap.typical, sign=True)} [{unit.shown(low)}, {unit.shown(high)}] {unit.name}"]

    def to_dict(self, level: float) -> dict[str, Any]:
        low, high = self.gap.interval(level)
        figures = {"typical": self.gap.typical, "low": low, "high": high, "level": level, "mean": self.gap.mean}
        alone = {"ours": self.ours.typical, "theirs": self.theirs.typical, "shown": list(self.shown), "margin": self.margin}
        return {"seeds": self.gap.seeds, **alone, **figures}


@dataclass(frozen=True)
class Event(Effect):
    """Whether something happened on each seed."""

    by_seed: Mapping[int, bool]

    @classmethod
    def of_runs(cls, what: str, arm: Arm, happened: BoolArray) -> Event:
        """What an arm's runs did or didn't, (seeds,)."""
        return cls(what, dict(zip(arm.seeds, happened.tolist(), strict=True)))

    def held_against(self, theirs: Event) -> EventContrast:
        seeds = sorted(set(self.by_seed) & set(theirs.by_seed))
        return EventContrast(*(np.array([each.by_seed[seed] for seed in seeds]) for each in (self, theirs)))


@dataclass(frozen=True)
class EventContrast(Contrast):
    """Whether it happened in both, each (seeds,)."""

    ours: BoolArray
    theirs: BoolArray

    @property
    def p(self) -> float:
        return stats.mcnemar_p(self.ours, self.theirs)

    @property
    def smallest_p(self) -> float:
        return stats.half_p(0, self._apart)

    @property
    def _apart(self) -> int:
        return int((self.ours != self.theirs).sum())

    def agrees(self, level: float) -> bool:
        return not self._apart

    @property
    def within(self) -> str:
        return f"on each of {counted(len(self.ours), 'seed')}"

    def cells(self, level: float) -> list[str]:
        ours, theirs = (f"{int(each.sum())} of {len(each)}" for each in (self.ours, self.theirs))
        return [ours, theirs, f"{counted(self._apart, 'seed')} of {len(self.ours)}"]

    def to_dict(self, level: float) -> dict[str, Any]:
        return {"seeds": len(self.ours), "ours": int(self.ours.sum()), "theirs": int(self.theirs.sum()), "apart": self._apart}
