"""Success: whether a run ended with a score at or beyond a bar, and how often those of two arms did on the same seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.config.bars import Bar
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.stats import mcnemar_p, share_interval


def reached(bar: Bar, arm: Arm) -> BoolArray:
    """Whether each of an arm's runs, (seeds,), reached a bar; one that diverged did not.

    Raises ReportError without the column.
    """
    if bar.column not in arm.columns:
        raise ReportError(f"{arm.name}: no column {bar.column} in metrics.csv, which says what a success is")
    last = [run.metrics[bar.column][-1] if len(run.metrics) else np.nan for run in arm.runs]
    return np.array([bar.is_reached_by(value) for value in last], dtype=bool) & ~arm.diverged


@dataclass(frozen=True)
class Successes:
    """How many of an arm's runs were a success, with Clopper and Pearson's exact 95% interval of the share."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        return share_interval(self.count, self.total)

    @classmethod
    def of(cls, bar: Bar, arm: Arm) -> Successes:
        successes = reached(bar, arm)
        return cls(int(successes.sum()), len(successes))


def paired_p(bar: Bar, base: Arm, arm: Arm) -> float:
    """Exact McNemar test of two arms' shares of successes on the seeds that both have."""
    shared = sorted(set(base.seeds) & set(arm.seeds))
    return mcnemar_p(reached(bar, base.only(shared)), reached(bar, arm.only(shared)))
