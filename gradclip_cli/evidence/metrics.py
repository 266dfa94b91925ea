"""What arms are compared by: metrics, a run's score in each, and how values are written."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.texts import decimals

NAT_EPOCHS = "nats \N{MULTIPLICATION SIGN} epochs"


@dataclass(frozen=True)
class Metric:
    """What arms are compared by: one score a run. Shown values are scores times `scale`, in `unit`."""

    name: str
    title: str
    """The metric in words; `{split}` and `{target}` stand for the runs' split and the loss to reach."""
    unit: str
    higher_is_better: bool
    scale: float = 1.0
    digits: int = 3
    effect: float = 0.05
    """The difference, in `unit`, that planning asks about unless another is given."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where the title is called `told`."""
        facts = asdict(self)
        del facts["effect"]
        return {"told" if name == "title" else name: value for name, value in facts.items()}


COMPARED_METRICS = {
    metric.name: metric
    for metric in (
        Metric("val_accuracy", "{split} accuracy", "points", True, 100, 1, 1.0),
        Metric("accuracy", "training accuracy", "points", True, 100, 1, 1.0),
        Metric("val_loss", "{split} loss", "nats", False),
        Metric("loss", "training loss", "nats", False),
        Metric("loss_area", "area under the training-loss curve", NAT_EPOCHS, False, digits=2, effect=0.5),
        Metric("steps_to_target", "steps to a training loss of {target:.3g}", "steps", False, digits=0, effect=250),
    )
}


@dataclass(frozen=True)
class Question:
    """What is asked of arms. `effect` and `margin` are in the metric's unit; what is None follows from metric and arms."""

    metric: str = "val_accuracy"
    target_loss: float | None = None
    """What `steps_to_target` counts up to."""
    effect: float | None = None
    """The difference to plan seeds for."""
    margin: float | None = None
    """Within this arms are equivalent; without one nothing is said of that."""

    def put_to(self, arm: Arm) -> Yardstick:
        """The question with all that it leaves open, taken from the baseline."""
        metric = COMPARED_METRICS[self.metric]
        target = default_target_loss(arm) if self.target_loss is None else self.target_loss
        title = metric.title.format(split=arm.evaluation_split, target=target)
        effect = metric.effect if self.effect is None else self.effect
        return Yardstick(replace(metric, title=title), target, effect, self.margin)


USUAL_QUESTION = Question()
"""What is asked unless something else is."""


@dataclass(frozen=True)
class Yardstick:
    """What arms are measured by: a metric with its title filled in, and the rest of the question with nothing left open."""

    metric: Metric
    target_loss: float
    effect: float
    margin: float | None

    def scores(self, arm: Arm) -> FloatArray:
        """Each run's score, (seeds,), in the files' unit."""
        return scores(arm, self.metric, self.target_loss)


def default_target_loss(arm: Arm) -> float:
    """Half of what chance scores: known before any run."""
    return arm.chance("loss") / 2


def scores(arm: Arm, metric: Metric, target_loss: float = math.nan) -> FloatArray:
    """Each run's score, (seeds,): the last epoch's scored value, the area under the scored curve, or steps to a loss.

    Whatever the metric, a diverged run scores as one that was at chance throughout. `target_loss` is `steps_to_target`'s.
    """
    if metric.name == "loss_area":
        return stats.area(arm.scored("loss"), arm.diverged, worst=arm.chance("loss"))
    if metric.name == "steps_to_target":
        per_epoch = arm.config.training.steps_per_epoch
        return stats.steps_to_target(arm.scored("loss"), arm.diverged, target_loss, steps_per_epoch=per_epoch)
    last: FloatArray = arm.scored(metric.name)[:, -1]
    return last


def shown(value: float, metric: Metric, *, sign: bool = False) -> str:
    """A value in the metric's digits, or more where it would read as zero; a real minus; a dash where it is not finite."""
    if not math.isfinite(value):
        return "-"
    return decimals(value, metric.digits, sign=sign)


def unit(value: float, metric: Metric) -> str:
    """The metric's unit, in the singular for exactly one."""
    return metric.unit.removesuffix("s") if value == 1 and metric.unit in ("points", "steps") else metric.unit


def amount(value: float, metric: Metric, *, sign: bool = False) -> str:
    """A value with its unit."""
    return f"{shown(value, metric, sign=sign)} {metric.unit}"


def shown_p(p: float) -> str:
    """A p-value for a table's cell: two significant digits, not below a thousandth."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_relation(p: float) -> str:
    """A p-value for a sentence, such as p = 0.016 or p < 0.001."""
    return f"p {shown_p(p)}" if p < 0.001 else f"p = {shown_p(p)}"


def largest(metric: Metric, arm: Arm) -> float:
    """The largest score that is possible, as shown; the least is 0."""
    training = arm.config.training
    if metric.name == "steps_to_target":
        return training.epochs * training.steps_per_epoch
    if metric.name == "loss_area":
        return training.epochs * arm.chance("loss")
    return metric.scale if metric.higher_is_better else arm.chance(metric.name)


def scoring(metric: Metric, arm: Arm) -> str:
    """How a run is scored by a metric, in short: what counts, and what a diverged run counts as."""
    if metric.name == "steps_to_target":
        return "the end of the epoch that gets to the target; a run that diverged or never gets there counts its whole length"
    chance = shown(arm.chance("loss" if metric.name == "loss_area" else metric.name) * metric.scale, metric)
    if metric.name == "loss_area":
        return f"the epochs' mean losses, each at most chance ({chance}), summed; a diverged run counts as chance on all of them"
    if metric.higher_is_better:
        return f"the last epoch; a diverged run counts as chance ({chance})"
    return f"the last epoch, at most chance ({chance}); a diverged run counts as chance"
