"""What arms are compared by: each metric with its words, its unit and how a seed is scored. Read without NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradclip_cli.texts import decimals

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

    def shown(self, value: float, *, sign: bool = False) -> str:
        """A value in the unit's digits, or more where it would read as zero; a real minus; a dash where it is not finite."""
        return decimals(value, self.digits, sign=sign) if math.isfinite(value) else "-"

    def amount(self, value: float, *, sign: bool = False) -> str:
        """A value with its unit."""
        return f"{self.shown(value, sign=sign)} {self.name}"

    def asked(self, value: float) -> str:
        """A value that somebody chose, with its unit: as it was given, such as 1 point or 0.05 nats."""
        return f"{value:g} {self.one if self.one and value == 1 else self.name}"


class Metric(NamedTuple):
    """What arms are compared by: a score for each of an arm's seeds, and how it is told.

    Whatever the metric, a diverged run scores as one that was at chance throughout. A subclass is a kind of metric: it says how
    it scores.
    """

    name: str
    title: str
    """The metric in words; `{split}` and `{target}` stand for the runs' split and the loss to reach."""
    column: str
    """The column of `metrics.csv` that it looks at."""
    unit: Unit
    effect: float
    """The difference, in `unit`, that planning asks about unless another is given."""
    higher_is_better: bool = False
    of_loss: bool = False
    """Whether it means the same only in arms that are trained by one loss."""

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        """Each seed's score, (seeds,), in the files' unit."""
        raise NotImplementedError

    def scoring(self, arm: Arm) -> str:
        """How a run is scored, in short: what counts, and what a diverged run counts as."""
        raise NotImplementedError

    @property
    def takes_target(self) -> bool:
        """Whether scores depend on the loss to reach."""
        return False

    @property
    def of_replicates(self) -> bool:
        """Whether a seed's score is one of its runs in an arm's replicates too, which are then read."""
        return False

    def chance(self, arm: Arm) -> float:
        """What a model that looks at nothing has in the column, as shown."""
        return arm.chance(self.column) * self.unit.scale

    @property
    def heading(self) -> str:
        """The heading of a column of values."""
        return f"{self.title} ({self.unit.of_values or self.unit.name})"

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

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        last: FloatArray = arm.scored(self.column)[:, -1]
        return last

    def scoring(self, arm: Arm) -> str:
        chance = self.unit.shown(self.chance(arm))
        if self.higher_is_better:
            return f"the last epoch; a diverged run counts as chance ({chance})"
        return f"the last epoch, at most chance ({chance}); a diverged run counts as chance"


class LossArea(Metric):
    """The area under a curve of epochs' mean losses.

    A mean stands for the whole of its epoch, so the sum is the area under the steps' own curve: nothing is interpolated.
    """

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        area: FloatArray = arm.scored_throughout(self.column).sum(axis=1)
        return area

    def scoring(self, arm: Arm) -> str:
        chance = self.unit.shown(self.chance(arm))
        return f"the epochs' mean losses, each at most chance ({chance}), summed; a diverged run counts as chance on all of them"


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
            steps[run] = (epoch + share) * arm.config.training.steps_per_epoch
        return steps

    def scoring(self, arm: Arm) -> str:
        return "the end of the epoch that gets to the target; a run that diverged or never gets there counts its whole length"

    def _length(self, arm: Arm) -> int:
        return arm.config.training.epochs * arm.config.training.steps_per_epoch


class WithinSeed(LastEpoch):
    """The standard deviation (n - 1) of a column's last values over the runs of one seed: an arm's own and its replicates'."""

    of_replicates = True

    def scores(self, arm: Arm, target_loss: float = math.nan) -> FloatArray:
        import numpy as np

        lasts: dict[int, list[float]] = {seed: [] for seed in arm.seeds}
        for each in (arm, *arm.replicates):
            for seed, last in zip(each.seeds, super().scores(each), strict=True):
                lasts[seed].append(last)
        return np.array([np.std(values, ddof=1) for values in lasts.values()])

    def scoring(self, arm: Arm) -> str:
        split, chance = arm.evaluation_split, self.unit.shown(self.chance(arm))
        return (
            f"the standard deviation, over runs of one seed that rounding alone tells apart, of the last epoch's {split} "
            f"{self.column.removeprefix('val_')}; a diverged run counts as chance ({chance})"
        )


POINTS = Unit("points", 1, 100, one="point", of_values="%", most=100)
SPREAD = Unit("points", 1, 100, one="point", most=100)
NATS = Unit("nats", 3)
NAT_EPOCHS = Unit("nats \N{MULTIPLICATION SIGN} epochs", 2)
STEPS = Unit("steps", 0, one="step")

VAL_ACCURACY = LastEpoch("val_accuracy", "{split} accuracy", "val_accuracy", POINTS, 1.0, higher_is_better=True)
ACCURACY = LastEpoch("accuracy", "training accuracy", "accuracy", POINTS, 1.0, higher_is_better=True)
VAL_LOSS = LastEpoch("val_loss", "{split} loss", "val_loss", NATS, 0.05, of_loss=True)
LOSS = LastEpoch("loss", "training loss", "loss", NATS, 0.05, of_loss=True)
LOSS_AREA = LossArea("loss_area", "area under the training-loss curve", "loss", NAT_EPOCHS, 0.5, of_loss=True)
STEPS_TO_TARGET = StepsToTarget("steps_to_target", "steps to a training loss of {target:.3g}", "loss", STEPS, 250, of_loss=True)
REPEATABILITY = WithinSeed("repeatability", "spread of {split} accuracy within a seed", "val_accuracy", SPREAD, 1.0)

METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in [*vars().values()] if isinstance(each, Metric)})
"""All that stand above, by name: each is found by being there."""

DEFAULT_METRIC = VAL_ACCURACY
"""What arms are compared by unless another is asked for."""
