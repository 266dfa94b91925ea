"""What is asked of arms, and with what it leaves open filled in: the yardstick that they are measured by."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.metrics import METRICS, Metric, metric_called, names_for
from gradclip_cli.runs.csv_files import EVALUATED

NO_CHANCE = "the runs of {arm} don't tell what {what} a model scores that looks at nothing"


@dataclass(frozen=True)
class Question:
    """What is asked of arms. `effect` and `margin` are in the metric's unit; what is None follows from metric and arms."""

    metric: str | None = None
    """None for the usual one of the arms' runs."""
    target_loss: float | None = None
    """The training loss to reach, for a metric that takes one."""
    effect: float | None = None
    """The difference to plan seeds for."""
    margin: float | None = None
    """Within this arms are equivalent; without one nothing is said of that."""

    def put_to(self, arm: Arm) -> Yardstick:
        """The question with all that it leaves open, taken from the baseline.

        Raises ReportError where its runs have no such metric, or don't tell what it needs.
        """
        metric, target = self._metric(arm), self.target_loss
        if target is None:
            target = default_target_loss(arm)
            if metric.takes_target and math.isnan(target):
                raise ReportError(f"{metric.name}: {NO_CHANCE.format(arm=arm.name, what='loss')}; give --target-loss")
        size = self._size(metric, arm, target)
        title = metric.title.format(split=arm.evaluation_split, target=target)
        effect = metric.planned_effect(size) if self.effect is None else self.effect
        return Yardstick(metric._replace(title=title, unit=metric.unit.sized(size)), target, effect, self.margin)

    @property
    def of_replicates(self) -> bool:
        """Whether arms' replicates are to be read."""
        called = METRICS.get(self.metric or "")
        return bool(called and called.of_replicates)

    def _size(self, metric: Metric, arm: Arm, target: float) -> float:
        """How large an arm's scores are, as told; NaN where nothing follows from it."""
        if not metric.unit.adapts and (metric.effect is not None or self.effect is not None):
            return math.nan
        return float(np.median(np.abs(metric.scores(arm, target)))) * metric.unit.scale

    def _metric(self, arm: Arm) -> Metric:
        """The metric as it suits the arm. Raises ReportError where its runs don't have it."""
        found = metric_called(self.metric, arm.metrics, evaluated=arm.evaluated)
        metric = found.suited(arm) if found else None
        if metric is None or metric.column not in arm.columns:
            known = names_for(arm.metrics, evaluated=arm.evaluated)
            near = difflib.get_close_matches(str(self.metric), known, n=1)
            meant = f"; did you mean '{near[0]}'?" if near else "."
            raise ReportError(f"{arm.name} has no metric '{self.metric}'{meant} There are: {', '.join(known)}")
        if arm.chance(metric.column) is None:
            what = metric.column.removeprefix(EVALUATED)
            if metric.needs_chance:
                instead = f"compare by --metric {EVALUATED}{what}"
                raise ReportError(f"{metric.name}: {NO_CHANCE.format(arm=arm.name, what=what)}; {instead}")
            if math.isnan(arm.worst(metric.column)):
                raise ReportError(f"{metric.name}: {NO_CHANCE.format(arm=arm.name, what=what)}, and no run finished with one")
        return metric


USUAL_QUESTION = Question()
"""What is asked unless something else is."""


@dataclass(frozen=True)
class Yardstick:
    """What arms are measured by: a metric with its title filled in, and the rest of the question with nothing left open."""

    metric: Metric
    target_loss: float
    effect: float
    margin: float | None

    @property
    def name(self) -> str:
        """What tells it from others in plans and records of looks: the metric's name, with the loss to reach if it takes one."""
        return f"{self.metric.name} {self.target_loss:.6g}" if self.metric.takes_target else self.metric.name

    def scores(self, arm: Arm) -> FloatArray:
        """Each seed's score, (seeds,), in the files' unit."""
        return self.metric.scores(arm, self.target_loss)


def default_target_loss(arm: Arm) -> float:
    """Half of what chance scores: known before any run; NaN where chance isn't known."""
    chance = arm.chance("loss")
    return math.nan if chance is None else chance / 2
