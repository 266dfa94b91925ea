"""What is asked of arms, and with what it leaves open filled in: the yardstick that they are measured by."""

from __future__ import annotations

from dataclasses import dataclass

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.metrics import DEFAULT_METRIC, METRICS, Metric


@dataclass(frozen=True)
class Question:
    """What is asked of arms. `effect` and `margin` are in the metric's unit; what is None follows from metric and arms."""

    metric: str = DEFAULT_METRIC.name
    target_loss: float | None = None
    """The training loss to reach, for a metric that takes one."""
    effect: float | None = None
    """The difference to plan seeds for."""
    margin: float | None = None
    """Within this arms are equivalent; without one nothing is said of that."""

    def put_to(self, arm: Arm) -> Yardstick:
        """The question with all that it leaves open, taken from the baseline."""
        metric = METRICS[self.metric]
        target = default_target_loss(arm) if self.target_loss is None else self.target_loss
        title = metric.title.format(split=arm.evaluation_split, target=target)
        effect = metric.effect if self.effect is None else self.effect
        return Yardstick(metric._replace(title=title), target, effect, self.margin)


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
    """Half of what chance scores: known before any run."""
    return arm.chance("loss") / 2
