"""Success: whether a run ended with a score at or beyond a bar, and how often those of two arms did on the same seeds."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.stats import mcnemar_p, share_interval

_BAR = re.compile(r"\s*(\w+)\s*(>=|<=)\s*([-+.\w]+)\s*")
_HELD = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Bar:
    """What the last epoch must hold for a run to count as a success, such as `val_accuracy >= 0.99`, in the files' unit."""

    column: str
    sign: str
    limit: float

    @classmethod
    def read(cls, text: str) -> Bar:
        """Raises ValueError for what is no bar."""
        found = _BAR.fullmatch(text)
        try:
            if found and np.isfinite(limit := float(found[3])):
                return cls(found[1], found[2], limit)
        except ValueError:
            pass
        raise ValueError(f"expected a column of metrics.csv and its bar, such as val_accuracy >= 0.99, not {text!r}")

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.limit:g}"

    def reached(self, arm: Arm) -> BoolArray:
        """Whether each of an arm's runs, (seeds,), reached it; one that diverged did not.

        Raises ReportError without the column.
        """
        if self.column not in arm.columns:
            raise ReportError(f"{arm.name}: no column {self.column} in metrics.csv, which says what a success is")
        return np.array([self._is_reached_by(run.metrics[self.column].to_numpy(float)) for run in arm.runs]) & ~arm.diverged

    def _is_reached_by(self, column: np.ndarray) -> bool:
        return bool(len(column) and _HELD[self.sign](column[-1], self.limit))


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
        reached = bar.reached(arm)
        return cls(int(reached.sum()), len(reached))


def paired_p(bar: Bar, base: Arm, arm: Arm) -> float:
    """Exact McNemar test of two arms' shares of successes on the seeds that both have."""
    shared = sorted(set(base.seeds) & set(arm.seeds))
    return mcnemar_p(bar.reached(base.only(shared)), bar.reached(arm.only(shared)))
