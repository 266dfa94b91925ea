"""What arms are compared by: each metric with its words, its unit and how a seed is scored. Read without NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradclip_cli.runs.csv_files import EVALUATED, score_columns
from gradclip_cli.texts import MOST_PLACES, decimals

if TYPE_CHECKING:
    from gradclip_cli.arrays import FloatArray
    from gradclip_cli.evidence.arms import Arm


class Unit(NamedTuple):
    """What scores are told in: the files' numbers times `scale`, with so many `digits`."""

    name: str
    digits: int
    scale: float = 1.0
    one: str | None = None
    """The name of exactly one, where that is another."""
    of_values: str | None = None
    """What a value is told in, where only differences are told in this."""
    most: float = math.inf
    """The largest value that there is in this unit."""

    adapts: bool = False
    """Whether its digits follow from the size of what is measured: see `sized`."""

    def sized(self, size: float) -> Unit:
        """The same with digits for values of this size, where they follow from it: four that tell something."""
        if not self.adapts or not math.isfinite(size) or not size:
            return self
        return self._replace(digits=min(max(3 - math.floor(math.log10(abs(size))), 0), MOST_PLACES))

    def shown(self, value: float, *, sign: bool = False) -> str:
        """A value in the unit's digits, or more where it would read as zero; a real minus; a dash where it is not finite."""
        return decimals(value, self.digits, sign=sign) if math.isfinite(value) else "-"

    def amount(self, value: float, *, sign: bool = False) -> str:
        """A value with its unit."""
        return f"{self.shown(value, sign=sign)} {self.name}".rstrip()

    def asked(self, value: float) -> str:
        """A value that somebody chose, with its unit: as it was given, such as 1 point or 0.05 nats."""
        return f"{value:g} {self.one if self.one and value == 1 else self.name}".rstrip()


class Metric(NamedTuple):
    """What arms are compared by: a score for each of an arm's seeds, and how it is told.

    Whatever the metric, a diverged run scores as one that was at chance throughout; where nothing is known of chance, as the
    worst of the compared runs that finished. A subclass is a kind of metric: it says how it scores.
    """

    name: str
    title: str
    """The metric in words; `{split}` and `{target}` stand for the runs' split and the loss to reach."""
    column: str
    """The column of `metrics.csv` that it looks at."""
    unit: Unit
    effect: float | None
    """The difference, in `unit`, that planning asks about unless another is given; None for a share of what is measured."""
    higher_is_better: bool = False
    of_loss: bool = False
    """Whether it means the same only in arms that are trained by one loss."""

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        """Each seed's score, (seeds,), in the files' unit."""
        raise NotImplementedError

    def scoring(self, arm: Arm) -> str:
        """How a run is scored, in short: what counts, and what a diverged run counts as."""
        raise NotImplementedError

    def capped_at(self, arm: Arm) -> float | None:
        """The score, in the files' unit, that no run can be worse than; None where there is none."""
        return None

    @property
    def takes_target(self) -> bool:
        """Whether scores depend on the loss to reach."""
        return False

    @property
    def of_replicates(self) -> bool:
        """Whether a seed's score is one of its runs in an arm's replicates too, which are then read."""
        return False

    @property
    def needs_chance(self) -> bool:
        """Whether it can't be told without what a model scores that looks at nothing."""
        return False

    def chance(self, arm: Arm) -> float | None:
        """What a model that looks at nothing has in the column, as shown; None where that isn't known."""
        chance = arm.chance(self.column)
        return None if chance is None else chance * self.unit.scale

    def cap(self, arm: Arm) -> str | None:
        """The same as a text."""
        chance = self.chance(arm)
        return None if chance is None else self.unit.shown(chance)

    def diverged(self, arm: Arm) -> str:
        """What a diverged run counts as, in words."""
        if cap := self.cap(arm):
            return f"a diverged run counts as chance ({cap})"
        worst = self.unit.shown(arm.worst(self.column) * self.unit.scale)
        return f"chance isn't known, so nothing is capped, and a diverged run counts as the worst that finished ({worst})"

    def suited(self, arm: Arm) -> Metric:
        """The same for the arm's runs: what is of another unit, or of another column, there."""
        if not self.of_loss or "nats" in arm.config.loss.unit:
            return self
        return self._replace(unit=IN_OTHER_LOSSES.get(self.unit, self.unit), effect=self.effect if self.takes_target else None)

    def planned_effect(self, size: float) -> float:
        """The difference that planning asks about where scores, as shown, are of this size."""
        if self.effect is not None:
            return self.effect
        return float(f"{PLANNED_SHARE * abs(size):.1g}") or PLANNED_SHARE

    @property
    def heading(self) -> str:
        """The heading of a column of values."""
        unit = self.unit.of_values or self.unit.name
        return f"{self.title} ({unit})" if unit else self.title

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where the title is called `told`."""
        return {
            "name": self.name,
            "told": self.title,
            "unit": self.unit.name,
            "higher_is_better": self.higher_is_better,
            "scale": self.unit.scale,
            "digits": self.unit.digits,
        }


class LastEpoch(Metric):
    """A column's value at the last epoch."""

    def capped_at(self, arm: Arm) -> float | None:
        return None if self.higher_is_better else arm.chance(self.column)

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        last: FloatArray = arm.scored(self.column)[:, -1]
        return last

    def scoring(self, arm: Arm) -> str:
        cap = self.cap(arm)
        if self.higher_is_better or not cap:
            return f"the last epoch; {self.diverged(arm)}"
        return f"the last epoch, at most chance ({cap}); a diverged run counts as chance"


class LossArea(Metric):
    """The area under a curve of epochs' mean losses.

    A mean stands for the whole of its epoch, so the sum is the area under the steps' own curve: nothing is interpolated.
    """

    needs_chance = True

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        area: FloatArray = arm.scored_throughout(self.column).sum(axis=1)
        return area

    def scoring(self, arm: Arm) -> str:
        cap = self.cap(arm)
        return f"the epochs' mean losses, each at most chance ({cap}), summed; a diverged run counts as chance on all of them"


class StepsToTarget(Metric):
    """Steps until a loss curve reaches the target, interpolated between epochs' ends.

    An epoch's mean is known at its end, and counts from there. A run that never reaches the target, or that diverged, counts
    its whole length.
    """

    takes_target = True

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        import numpy as np

        steps, diverged = np.full(len(arm.runs), float(self._length(arm))), arm.diverged
        for run, curve in enumerate(arm.scored(self.column)):
            reached = np.flatnonzero(curve <= target_loss)
            if diverged[run] or not len(reached):
                continue
            epoch = int(reached[0])
            share = (curve[epoch - 1] - target_loss) / (curve[epoch - 1] - curve[epoch]) if epoch else 1.0
            steps[run] = (epoch + share) * arm.steps_per_epoch
        return steps

    def scoring(self, arm: Arm) -> str:
        return "the end of the epoch that gets to the target; a run that diverged or never gets there counts its whole length"

    def _length(self, arm: Arm) -> int:
        return arm.epochs * arm.steps_per_epoch


def of_each_seed(arm: Arm, values: Callable[[Arm], Iterable[float]]) -> list[list[float]]:
    """Values of an arm's own runs and of its replicates', which are given a run each, by its seeds."""
    found: dict[int, list[float]] = {seed: [] for seed in arm.seeds}
    for each in (arm, *arm.replicates):
        for seed, value in zip(each.seeds, values(each), strict=True):
            found[seed].append(value)
    return list(found.values())


class WithinSeed(LastEpoch):
    """The standard deviation (n - 1) of a column's last values over the runs of one seed: an arm's own and its replicates'."""

    of_replicates = True

    def capped_at(self, arm: Arm) -> float | None:
        return None

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        import numpy as np

        return np.array([np.std(values, ddof=1) for values in of_each_seed(arm, super().scores)])

    def scoring(self, arm: Arm) -> str:
        return (
            "the standard deviation, over runs of one seed that rounding alone tells apart, of the last epoch's "
            f"{arm.evaluation_split} {in_words(self.column)}; {self.diverged(arm)}"
        )

    def suited(self, arm: Arm) -> Metric:
        if self.column in arm.columns:
            return self
        usual = usual_metric(arm.metrics, evaluated=arm.evaluated).suited(arm)
        title = self.title.replace(in_words(self.column), in_words(usual.column))
        return self._replace(column=usual.column, title=title, unit=usual.unit, effect=usual.effect)


class CollapsedShare(Metric):
    """The share of a seed's runs, an arm's own and its replicates', whose accuracy collapsed, or that diverged."""

    of_replicates = True

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        import numpy as np

        return np.array([np.mean(lost) for lost in of_each_seed(arm, lambda each: each.collapsed | each.diverged)])

    def scoring(self, arm: Arm) -> str:
        return (
            f"the share of a seed's runs, which rounding alone tells apart, whose {arm.evaluation_split} accuracy fell by more "
            "than 5 points from one epoch to the next; a diverged run counts as one of them"
        )


class DivergedRuns(Metric):
    """The share of a seed's runs, an arm's own and its replicates' where they are read, that diverged."""

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        import numpy as np

        return np.array([np.mean(lost) for lost in of_each_seed(arm, lambda each: each.diverged)])

    def scoring(self, arm: Arm) -> str:
        return "whether the run diverged, 0 or 100%; of several runs of a seed their share"


PLANNED_SHARE = 0.05
"""Of what is measured: the difference that planning asks about where no usual one is known."""
SHARES = frozenset(
    {
        "acc",
        "accuracy",
        *(f"{kind}accuracy" for kind in ("binary_", "categorical_", "sparse_categorical_")),
        *(f"{kind}top_k_categorical_accuracy" for kind in ("", "sparse_")),
    }
)
"""Metrics that are shares of samples, from 0 to 1, and told in points."""

POINTS = Unit("points", 1, 100, one="point", of_values="%", most=100)
SPREAD = Unit("points", 1, 100, one="point", most=100)
NATS = Unit("nats", 3)
NAT_EPOCHS = Unit("nats \N{MULTIPLICATION SIGN} epochs", 2)
STEPS = Unit("steps", 0, one="step")
OF_ITS_OWN = Unit("", 3, adapts=True)
"""Of what has no unit but its own."""
LOSS_EPOCHS = Unit("\N{MULTIPLICATION SIGN} epochs", 3, adapts=True)
IN_OTHER_LOSSES: Mapping[Unit, Unit] = MappingProxyType({NATS: OF_ITS_OWN, NAT_EPOCHS: LOSS_EPOCHS})
"""What a loss is told in that is not measured in nats."""

VAL_ACCURACY = LastEpoch("val_accuracy", "{split} accuracy", "val_accuracy", POINTS, 1.0, higher_is_better=True)
ACCURACY = LastEpoch("accuracy", "training accuracy", "accuracy", POINTS, 1.0, higher_is_better=True)
VAL_LOSS = LastEpoch("val_loss", "{split} loss", "val_loss", NATS, 0.05, of_loss=True)
LOSS = LastEpoch("loss", "training loss", "loss", NATS, 0.05, of_loss=True)
LOSS_AREA = LossArea("loss_area", "area under the training-loss curve", "loss", NAT_EPOCHS, 0.5, of_loss=True)
STEPS_TO_TARGET = StepsToTarget("steps_to_target", "steps to a training loss of {target:.3g}", "loss", STEPS, 250, of_loss=True)
COLLAPSED_SHARE = CollapsedShare("collapsed_share", "share of collapsed runs", "val_accuracy", POINTS, 10.0)
DIVERGED_RUNS = DivergedRuns("diverged_runs", "share of diverged runs", "loss", POINTS, 10.0)
REPEATABILITY = WithinSeed("repeatability", "spread of {split} accuracy within a seed", "val_accuracy", SPREAD, 1.0)

METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in [*vars().values()] if isinstance(each, Metric)})
"""All that stand above, by name: each is found by being there."""

DEFAULT_METRIC = VAL_ACCURACY
"""What the article's arms are compared by unless another is asked for, and all others that have it."""
USUAL = "usual"
"""Stands in a plan for what `usual_metric` is once the runs tell which metrics they have."""


def usual_metric(metrics: Mapping[str, bool], *, evaluated: bool = True) -> Metric:
    """What arms are compared by that have these metrics, by name with whether higher is better, unless another is asked for.

    Accuracy on the evaluation split where they have it, else their first metric there, else the loss there; over the steps where
    nothing is evaluated.
    """
    if not evaluated:
        return (own_metric(next(iter(metrics)), metrics) if metrics else None) or LOSS
    if not metrics or in_words(DEFAULT_METRIC.column) in metrics:
        return DEFAULT_METRIC if metrics else VAL_LOSS
    return own_metric(f"{EVALUATED}{next(iter(metrics))}", metrics) or VAL_LOSS


def own_metric(column: str, metrics: Mapping[str, bool]) -> Metric | None:
    """A column of the runs' own metrics as a metric; None where they have no such column."""
    evaluated = column.startswith(EVALUATED) and column not in metrics
    name = column.removeprefix(EVALUATED) if evaluated else column
    if name not in metrics:
        return None
    unit, effect = (POINTS, 1.0) if name in SHARES else (OF_ITS_OWN, None)
    title = f"{'{split}' if evaluated else 'training'} {in_words(name).replace('{', '{{').replace('}', '}}')}"
    return LastEpoch(column, title, column, unit, effect, higher_is_better=metrics[name])


def metric_called(name: str | None, metrics: Mapping[str, bool], *, evaluated: bool = True) -> Metric | None:
    """The metric that a name means for arms whose runs have these; the usual one without a name, None for an unknown one."""
    return usual_metric(metrics, evaluated=evaluated) if name is None else METRICS.get(name) or own_metric(name, metrics)


def names_for(metrics: Mapping[str, bool], *, evaluated: bool = True) -> list[str]:
    """All names that `metric_called` knows for such arms, and whose columns these have."""
    columns = set(score_columns(metrics, evaluated=evaluated))
    own = [column for name in metrics for column in (f"{EVALUATED}{name}", name) if column in columns]
    return list(
        dict.fromkeys([*own, *(each.name for each in METRICS.values() if each.column in columns or isinstance(each, WithinSeed))])
    )


def in_words(column: str) -> str:
    """What a column holds, apart from the split."""
    return column.removeprefix(EVALUATED).replace("_", " ")
