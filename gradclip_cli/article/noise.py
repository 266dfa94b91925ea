"""The noise floor: what a placebo shows, and how wide runs of a seed differ by rounding alone, by clipping, by nothing but it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.article.measures import Difference
from gradclip_cli.evidence import report
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.bootstrap import Estimate, deviation, estimate, middle_half
from gradclip_cli.texts import counted, percent

_MEASURED = {
    "accuracy_early": ("val_accuracy", 0),
    "accuracy_late": ("val_accuracy", -1),
    "loss_early": ("loss", 0),
    "loss_late": ("loss", -1),
}
_HEADINGS = (
    "pairs of runs",
    "test accuracy, epoch 1 (points)",
    "at the end (points)",
    "middle half at the end (points)",
    "training loss, epoch 1 (nats)",
    "at the end (nats)",
)
MOST_STRANGERS = 29
"""Each run is held against so many of other seeds; of up to 30 seeds these are all."""
COVERAGE = "68% of the time with 30 seeds, 45% with 10; those of how many times larger it is without pairing, 85% and 60%"
"""Of intervals at 95%, measured (evidence/bootstrap.py says on what)."""
ZERO = 1e-9
"""What is smaller is rounding of a mean."""


@dataclass(frozen=True)
class Spread:
    """How wide the differences of pairs of runs are, in points of test accuracy and in nats of training loss.

    Standard deviations after the first epoch and at the end; and how wide the middle half is, which rare wide pairs don't move.
    """

    what: str
    accuracy_early: Estimate
    accuracy_late: Estimate
    accuracy_middle_half: Estimate
    loss_early: Estimate
    loss_late: Estimate


@dataclass(frozen=True)
class Pairing:
    """An arm against the baseline in pairs of one seed and of two, and how many times wider those of two are in accuracy."""

    arm: str
    same_seed: Spread
    other_seeds: Spread
    alike_early: int
    """On how many seeds test accuracy is the baseline's after the first epoch."""
    acted_early: float
    """The share of the first epoch's steps on which it was clipped; NaN where no run finished it."""
    gain_late: Estimate
    gain_middle_half: Estimate


@dataclass(frozen=True)
class Contrasted:
    """One arm against another, tested by itself: what is said of it, and the figures."""

    sentence: str
    figures: Mapping[str, Any]

    @classmethod
    def of(cls, arm: Arm, base: Arm, metric: str) -> Contrasted:
        """Paired by seed, in a metric by name."""
        difference = Difference.of(arm, base, metric)
        return cls(difference.sentence, {"arm": arm.name, "against": base.name, "metric": metric, **difference.figures})


@dataclass(frozen=True)
class NoiseFloor:
    """The control, which rounding alone tells from the baseline, beside arms that clipping does.

    `placebo` holds the control against the baseline, and each arm against the control. `variances` and `middle_halves` are the
    control's differences in accuracy at the end over each arm's.
    """

    base: str
    seeds: int
    placebo: Sequence[Contrasted]
    control: Pairing
    arms: Sequence[Pairing]
    variances: Mapping[str, Estimate]
    middle_halves: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def noise_floor(base: Arm, control: Arm, others: Sequence[Arm]) -> NoiseFloor:
    """What the control shows, and how wide pairs differ: by rounding alone (the control), by clipping, by the seed."""
    rounding = _differences(base, control, "accuracy_late")
    by_arm = {arm.name: _differences(base, arm, "accuracy_late") for arm in others}
    return NoiseFloor(
        base.name,
        len(base.seeds),
        [
            *(Contrasted.of(control, base, metric) for metric in ("loss", "val_accuracy")),
            *(Contrasted.of(arm, control, "loss") for arm in others),
        ],
        _pairing(base, control),
        [_pairing(base, arm) for arm in others],
        {name: estimate(_ratio_of_variances, rounding, differences) for name, differences in by_arm.items()},
        {name: estimate(_ratio_of_middle_halves, rounding, differences) for name, differences in by_arm.items()},
    )


def spread_of_pairs(what: str, base: Arm, arm: Arm) -> Spread:
    """How wide runs of one seed differ between two arms, over the seeds that both have."""
    shared = set(base.seeds) & set(arm.seeds)
    base, arm = base.only(shared), arm.only(shared)
    deviations = {name: estimate(deviation, _differences(base, arm, name)) for name in _MEASURED}
    return Spread(what, accuracy_middle_half=estimate(middle_half, _differences(base, arm, "accuracy_late")), **deviations)


def _pairing(base: Arm, arm: Arm) -> Pairing:
    ours, theirs = _measured(arm), _measured(base)
    unpaired = {name: estimate(_unpaired_deviation, ours[name], theirs[name]) for name in _MEASURED}
    late = ours["accuracy_late"], theirs["accuracy_late"]
    apart = estimate(_unpaired_middle_half, *late)
    return Pairing(
        arm.name,
        spread_of_pairs(f"{arm.name} against {base.name}, same seed", base, arm),
        Spread(f"{arm.name} against {base.name}, different seeds", accuracy_middle_half=apart, **unpaired),
        int((ours["accuracy_early"] == theirs["accuracy_early"]).sum()),
        _clipped_early(arm),
        estimate(_gain, *late),
        estimate(_gain_of_middle_halves, *late),
    )


def _clipped_early(arm: Arm) -> float:
    first = [float(run.metrics["clipped_fraction"][0]) for run in arm.runs if len(run.metrics)]
    return float(np.mean(first)) if first else math.nan


def _measured(arm: Arm) -> dict[str, FloatArray]:
    """What is measured on each seed, (seeds,), accuracies in points."""
    values = {name: arm.scored(column)[:, epoch] for name, (column, epoch) in _MEASURED.items()}
    return {name: 100 * each if name.startswith("accuracy") else each for name, each in values.items()}


def _differences(base: Arm, arm: Arm, name: str) -> FloatArray:
    differences: FloatArray = _measured(arm)[name] - _measured(base)[name]
    return differences


def _unpaired_deviation(arm: FloatArray, base: FloatArray) -> FloatArray:
    return np.hypot(deviation(arm), deviation(base))


def _unpaired_middle_half(arm: FloatArray, base: FloatArray) -> FloatArray:
    """Of the differences between runs of different seeds."""
    shifts = range(1, 1 + min(arm.shape[-1] - 1, MOST_STRANGERS))
    return middle_half(np.concatenate([arm - np.roll(base, shift, axis=-1) for shift in shifts], axis=-1))


def _gain(arm: FloatArray, base: FloatArray) -> FloatArray:
    return _unpaired_deviation(arm, base) / deviation(arm - base)


def _gain_of_middle_halves(arm: FloatArray, base: FloatArray) -> FloatArray:
    return _unpaired_middle_half(arm, base) / middle_half(arm - base)


def _ratio_of_variances(above: FloatArray, below: FloatArray) -> FloatArray:
    return deviation(above) ** 2 / deviation(below) ** 2


def _ratio_of_middle_halves(above: FloatArray, below: FloatArray) -> FloatArray:
    return middle_half(above) / middle_half(below)


# In words.


def to_markdown(floor: NoiseFloor) -> list[str]:
    """Parts of a report: the floor, the placebo, whether clipping's differences are other, what pairing is worth, each spread."""
    pairings = (floor.control, *floor.arms)
    spreads = [*(each.same_seed for each in pairings), *(each.other_seeds for each in pairings)]
    return [
        _of_rounding(floor),
        f"The control is a placebo: against `{floor.base}` it should show nothing, and what clipping does should show against "
        "the control too. Each test by itself:",
        "\n".join(f"- {each.sentence}" for each in floor.placebo),
        _of_clipping(floor),
        _of_pairing(floor),
        report.markdown_table(_HEADINGS, [[spread.what, *_cells(spread)] for spread in spreads]),
        "Standard deviations over seeds of the difference between two runs, and the width of these differences' middle half, "
        "with 95% intervals (percentiles of a bootstrap over seeds, all runs of a seed drawn together). Rare wide pairs rule a "
        "standard deviation and are missing from most samples of so few seeds. So its intervals are too narrow: drawn from the "
        f"article's own runs, those of the control's hold the true one {COVERAGE}. Intervals of middle halves hold.",
    ]


def _of_rounding(floor: NoiseFloor) -> str:
    spread = floor.control.same_seed
    few = "A few pairs that came far apart make up most of it: the" if _has_wild_pairs(spread) else "The"
    return (
        f"The control is `{floor.base}` with its initial weights scaled by 1.000001. All that tells the two apart is rounding, "
        "which training makes grow. After one epoch there was no time for that: their test accuracies differ with a standard "
        f"deviation of {figure(spread.accuracy_early)} points. At the end it is {figure(spread.accuracy_late)} points. "
        f"{few} middle half of the {counted(floor.seeds, 'difference')} is {figure(spread.accuracy_middle_half)} points wide."
    )


def _has_wild_pairs(spread: Spread) -> bool:
    """Whether the middle half is narrower than one standard deviation: of normal differences it is 1.35 of them."""
    return spread.accuracy_middle_half.value < spread.accuracy_late.value


def _of_clipping(floor: NoiseFloor) -> str:
    each = [
        f"{_times(floor.middle_halves[arm.arm])} times as wide as {arm.arm}'s, and the variance "
        f"{_times(floor.variances[arm.arm])} times as large"
        for arm in floor.arms
    ]
    alike = [arm.arm for arm in floor.arms if floor.middle_halves[arm.arm].holds(1)]
    other = [arm.arm for arm in floor.arms if arm.arm not in alike]
    said = [f"For {' and '.join(alike)} its interval holds 1: it is not shown that the spreads differ." if alike else ""]
    said += [f"For {' and '.join(other)} its interval leaves 1 out: the spreads differ." if other else ""]
    return (
        "Do clipped runs end further from unclipped ones than rounding alone carries them? At the end the middle half of the "
        f"control's differences is {'; '.join(each)}. The middle half decides, since the variance's intervals are too narrow. "
        f"{' '.join(filter(None, said))} A verdict on an arm already contains this noise."
    )


def _of_pairing(floor: NoiseFloor) -> str:
    alike = " and on ".join(f"{arm.alike_early} for {arm.arm}" for arm in floor.arms)
    acted = " and ".join(percent(arm.acted_early, 2) for arm in floor.arms)
    middle, late = (
        " and ".join(f"{_times(getattr(arm, gain))} for {arm.arm}" for arm in floor.arms)
        for gain in ("gain_middle_half", "gain_late")
    )
    unsure = [arm.arm for arm in floor.arms if arm.gain_middle_half.holds(1)]
    doubt = f" (no gain is shown for {' and '.join(unsure)}: the interval holds 1)" if unsure else ""
    return (
        f"What is pairing by seed worth? After one epoch test accuracy is the same as `{floor.base}`'s, of "
        f"{counted(floor.seeds, 'seed')}, on {alike}: clipping had acted on {acted} of the steps. At the end, in pairs of "
        f"different seeds, the middle half of the differences in test accuracy is wider so many times: {middle}{doubt}. Their "
        f"standard deviation, which rare wide pairs rule, is larger so many times: {late}; these intervals are too narrow to "
        "show a gain."
    )


def _cells(spread: Spread) -> Iterator[str]:
    for name in (*list(_MEASURED)[:2], "accuracy_middle_half", *list(_MEASURED)[2:]):
        yield figure(getattr(spread, name))


def figure(found: Estimate) -> str:
    """A value with its interval in brackets, where there is one."""
    return _with_interval(found, digits=1)


def _times(found: Estimate) -> str:
    """The same of a ratio."""
    return _with_interval(found, digits=2)


def _with_interval(found: Estimate, digits: int) -> str:
    value, low, high = (_number(each, digits) for each in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})" if math.isfinite(found.low) and found.low < found.high else value


def _number(value: float, digits: int) -> str:
    """So many digits of a value that isn't negative, at least two where it is below one; fewer where it is large."""
    if not math.isfinite(value):
        return "any number" if math.isinf(value) else "-"
    if value <= ZERO:
        return "0"
    if value < 1:
        return f"{value:#.2g}"
    return f"{value:,.{digits if value < 10 else 1 if value < 100 else 0}f}"
