"""What claims measure by: thresholds, how a run ended, a share of runs with its interval, a paired difference in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.article.claim import PrimaryTest
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import AgainstBaseline, compare_arms
from gradclip_cli.evidence.questions import Question, Yardstick
from gradclip_cli.texts import counted, percent

NOTHING_LEARNT = 0.2
"""Test accuracy below which a run learnt nothing: twice chance."""
LEARNT = 0.6
"""Test accuracy from which a run of the explosive setting learnt."""
MAJORITY = 0.5


def exploded(arm: Arm) -> BoolArray:
    """Which runs diverged or learnt nothing, (seeds,)."""
    return np.asarray(arm.diverged | (arm.scored("val_accuracy")[:, -1] < NOTHING_LEARNT))


def learnt(arm: Arm) -> BoolArray:
    """Which runs ended complete and learnt, (seeds,)."""
    return np.asarray(~arm.diverged & (arm.scored("val_accuracy")[:, -1] >= LEARNT))


@dataclass(frozen=True)
class Share:
    """How many of some runs something happened to, with its Clopper-Pearson interval and its p against one half."""

    count: int
    runs: int
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, happened: BoolArray) -> Share:
        """The share of runs, (runs,), to which it happened."""
        count, total = int(happened.sum()), len(happened)
        return cls(count, total, *stats.share_interval(count, total), stats.half_p(count, total))

    @property
    def is_most(self) -> bool:
        """Whether the interval lies above one half."""
        return self.low > MAJORITY

    @property
    def is_few(self) -> bool:
        """Whether the interval lies below one half."""
        return self.high < MAJORITY

    @property
    def text(self) -> str:
        """Such as `9 of 10 (55% to 100%)`."""
        return f"{self.count} of {self.runs} ({percent(self.low, 0)} to {percent(self.high, 0)})"


def share_test(arm: Arm, what: str, happened: BoolArray) -> PrimaryTest:
    """Test whether something happened to most runs of an arm, (seeds,); `what` says in words what they did."""
    share = Share.of(happened)
    accuracy = arm.scored("val_accuracy")[:, -1]
    diverged = [run.metadata["diverged"]["step"] for run in arm.runs if run.diverged]
    when = f" {len(diverged)} became NaN or infinite, between steps {min(diverged)} and {max(diverged)}." if diverged else ""
    part = share.count / share.runs
    interval = f"{percent(part, 0)}; 95% interval {percent(share.low, 0)} to {percent(share.high, 0)}"
    measured = (
        f"{share.count} of {share.runs} runs {what} ({interval}).{when} Test accuracy, a diverged run counted as chance: "
        f"median {np.median(accuracy):.3f}, lowest {accuracy.min():.3f}."
    )
    figures = {
        "count": share.count,
        "runs": share.runs,
        "low": share.low,
        "high": share.high,
        "accuracies": accuracy.tolist(),
        "diverged_steps": diverged,
    }
    return PrimaryTest(share.p, part > MAJORITY, measured, figures, decisive=share.is_most or share.is_few)


@dataclass(frozen=True)
class Difference:
    """One arm minus another in a metric, paired by seed."""

    arm: Arm
    base: Arm
    yardstick: Yardstick
    against: AgainstBaseline

    @classmethod
    def of(cls, arm: Arm, base: Arm, metric: str) -> Difference:
        """Compare two arms, which have their seeds in common, by a metric's name."""
        compared = compare_arms([base, arm], base.name, Question(metric))
        (report,) = compared.others
        assert report.against is not None
        return cls(arm, base, compared.yardstick, report.against)

    @property
    def sentence(self) -> str:
        """The mean difference, its interval, and on how many seeds the arm was better."""
        against, metric = self.against, self.yardstick.metric
        unit = metric.unit
        facts = (
            f"95% interval {unit.shown(against.low)} to {unit.shown(against.high)}; "
            f"better on {against.won} of {counted(len(against.seeds), 'seed')}"
        )
        mean = unit.amount(against.mean, sign=True)
        return f"{self.arm.name} minus {self.base.name} in {metric.title}: {mean} ({facts})."

    @property
    def figures(self) -> dict[str, Any]:
        """For JSON: each seed's difference, and what they come to."""
        names = ("seeds", "differences", "mean", "low", "high", "won", "lost", "tied")
        return {name: getattr(self.against, name) for name in names}
