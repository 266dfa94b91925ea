"""The noise floor: how wide two runs of one seed differ by rounding alone, by clipping, and by nothing but the seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradclip_cli.evidence import report
from gradclip_cli.evidence.arms import Arm

_COLUMNS = (("val_accuracy", 0), ("val_accuracy", -1), ("loss", 0), ("loss", -1))
_HEADINGS = (
    "pairs of runs",
    "test accuracy, epoch 1 (points)",
    "at the end (points)",
    "training loss, epoch 1 (nats)",
    "at the end (nats)",
)


@dataclass(frozen=True)
class Spread:
    """Standard deviation of differences over pairs of runs, after the first epoch and at the end."""

    what: str
    accuracy_early: float
    accuracy_late: float
    loss_early: float
    loss_late: float


def noise_floor(base: Arm, control: Arm, others: Sequence[Arm]) -> list[Spread]:
    """How wide pairs differ: by rounding alone (the control), by clipping, and by nothing but the seed."""
    paired = [spread_of_pairs(f"{arm.name} against {base.name}, same seed", base, arm) for arm in (control, *others)]
    unpaired = [np.sqrt(2) * base.scored(column)[:, epoch].std(ddof=1) for column, epoch in _COLUMNS]
    accuracies, losses = 100 * np.array(unpaired[:2]), unpaired[2:]
    return [*paired, Spread(f"two runs of {base.name} with different seeds", *accuracies.tolist(), *map(float, losses))]


def spread_of_pairs(what: str, base: Arm, arm: Arm) -> Spread:
    """How wide runs of one seed differ between two arms, over the seeds that both have."""
    shared = set(base.seeds) & set(arm.seeds)
    base, arm = base.only(shared), arm.only(shared)
    deviations = [float((arm.scored(column) - base.scored(column))[:, epoch].std(ddof=1)) for column, epoch in _COLUMNS]
    return Spread(what, 100 * deviations[0], 100 * deviations[1], *deviations[2:])


def to_markdown(spreads: Sequence[Spread]) -> list[str]:
    """Parts of a report: what the floor is, and each spread. `spreads` are those of `noise_floor`."""
    return [
        _sentences(spreads),
        report.markdown_table(_HEADINGS, [_row(spread) for spread in spreads]),
        "Standard deviations over seeds of the difference between two runs.",
    ]


def _row(spread: Spread) -> list[str]:
    values = (spread.accuracy_early, spread.accuracy_late, spread.loss_early, spread.loss_late)
    return [spread.what, *(f"{value:#.2g}" if value < 1 else f"{value:.1f}" for value in values)]


def _sentences(spreads: Sequence[Spread]) -> str:
    control, *arms, unpaired = spreads
    early, late = (max(getattr(arm, name) for arm in arms) for name in ("accuracy_early", "accuracy_late"))
    shares = " and ".join(
        f"{_ratio(control.accuracy_late**2, arm.accuracy_late**2)} times that of {arm.what.split()[0]}'s" for arm in arms
    )
    chaos = (
        "rounding alone spreads a pair at least as widely as clipping does"
        if control.accuracy_late >= late
        else "so much of their scatter rounding alone would give"
    )
    return (
        "The control is `none` with its initial weights scaled by 1.000001: what it differs from `none` by is rounding, grown "
        f"by training. Their test accuracies differ at the end with a standard deviation of {control.accuracy_late:.1f} points, "
        f"after one epoch, where chaos has had no time, of {control.accuracy_early:.2g}. At the end the variance of the "
        f"control's differences is {shares}: {chaos}. Two unpaired runs of "
        f"`none` differ with a standard deviation of {unpaired.accuracy_late:.1f} points at the end and "
        f"{unpaired.accuracy_early:.1f} after one epoch. Pairing thus narrowed the clipped arms' differences at least "
        f"{_ratio(unpaired.accuracy_early, early)} times after one epoch and {_ratio(unpaired.accuracy_late, late)} times "
        "at the end. A verdict on an arm already contains this noise."
    )


def _ratio(above: float, below: float) -> str:
    if not below or not math.isfinite(above / below):
        return "infinitely many"
    return f"{above / below:.1f}" if above < 10 * below else f"{above / below:.0f}"
