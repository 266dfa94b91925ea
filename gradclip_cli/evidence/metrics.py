"""What arms are compared by: metrics, a run's score in each, and how values are told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.texts import decimals

NAT_EPOCHS = "nats \N{MULTIPLICATION SIGN} epochs"


@dataclass(frozen=True)
class Metric:
    """What arms are compared by: one score a run. Told values are scores times `scale`, in `unit`."""

    name: str
    told: str
    unit: str
    higher_is_better: bool
    scale: float = 1.0
    digits: int = 3
    effect: float = 0.05
    """The difference, as told, that planning asks about unless another is given."""


METRICS = {
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


def default_target_loss(arm: Arm) -> float:
    """Half of what chance scores: known before any run."""
    return arm.chance("loss") / 2


def scores(arm: Arm, metric: Metric, target_loss: float) -> FloatArray:
    """Each run's score, (seeds,): the last epoch's scored value, the area under the scored curve, or steps to a loss.

    Whatever the metric, a diverged run scores as one that was at chance throughout.
    """
    if metric.name == "loss_area":
        return stats.area(arm.scored("loss"), arm.diverged, worst=arm.chance("loss"))
    if metric.name == "steps_to_target":
        per_epoch = arm.config.training.steps_per_epoch
        return stats.steps_to_target(arm.scored("loss"), arm.diverged, target_loss, steps_per_epoch=per_epoch)
    last: FloatArray = arm.scored(metric.name)[:, -1]
    return last


def told(value: float, metric: Metric, *, sign: bool = False) -> str:
    """A value in the metric's digits, or more where it would read as zero; a real minus; a dash where it is not finite."""
    if not math.isfinite(value):
        return "-"
    return decimals(value, metric.digits, sign=sign)


def unit(value: float, metric: Metric) -> str:
    """The metric's unit, in the singular for exactly one."""
    return metric.unit.removesuffix("s") if value == 1 and metric.unit in ("points", "steps") else metric.unit


def amount(value: float, metric: Metric, *, sign: bool = False) -> str:
    """A value with its unit."""
    return f"{told(value, metric, sign=sign)} {metric.unit}"


def told_p(p: float) -> str:
    """A p-value for a table's cell: two significant digits, not below a thousandth."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_relation(p: float) -> str:
    """A p-value for a sentence, such as p = 0.016 or p < 0.001."""
    return f"p {told_p(p)}" if p < 0.001 else f"p = {told_p(p)}"


def largest(metric: Metric, arm: Arm) -> float:
    """The largest score that is possible, as told; the least is 0."""
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
    chance = told(arm.chance("loss" if metric.name == "loss_area" else metric.name) * metric.scale, metric)
    if metric.name == "loss_area":
        return f"the epochs' mean losses, each at most chance ({chance}), summed; a diverged run counts as chance on all of them"
    if metric.higher_is_better:
        return f"the last epoch; a diverged run counts as chance ({chance})"
    return f"the last epoch, at most chance ({chance}); a diverged run counts as chance"
