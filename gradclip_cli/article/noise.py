"""The noise floor: how wide two runs of one seed differ by rounding alone, by clipping, and by nothing but the seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import report
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.bootstrap import Estimate, deviation, estimate, middle_half
from gradclip_cli.texts import counted

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
    gain_early: Estimate
    gain_late: Estimate
    gain_middle_half: Estimate


@dataclass(frozen=True)
class NoiseFloor:
    """The control, which rounding alone tells from the baseline, beside arms that clipping does.

    `variances` and `middle_halves` are the control's differences in accuracy at the end over each arm's.
    """

    base: str
    seeds: int
    control: Pairing
    arms: Sequence[Pairing]
    variances: Mapping[str, Estimate]
    middle_halves: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def noise_floor(base: Arm, control: Arm, others: Sequence[Arm]) -> NoiseFloor:
    """How wide pairs differ: by rounding alone (the control), by clipping, and by nothing but the seed."""
    rounding = _differences(base, control, "accuracy_late")
    by_arm = {arm.name: _differences(base, arm, "accuracy_late") for arm in others}
    return NoiseFloor(
        base.name,
        len(base.seeds),
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
        estimate(_gain, ours["accuracy_early"], theirs["accuracy_early"]),
        estimate(_gain, *late),
        estimate(_gain_of_middle_halves, *late),
    )


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
    """Parts of a report: what the floor is, whether clipping's differences are other, what pairing is worth, and each spread."""
    pairings = (floor.control, *floor.arms)
    spreads = [*(each.same_seed for each in pairings), *(each.other_seeds for each in pairings)]
    return [
        _of_rounding(floor),
        _of_clipping(floor),
        _of_pairing(floor),
        report.markdown_table(_HEADINGS, [[spread.what, *_cells(spread)] for spread in spreads]),
        "Standard deviations over seeds of the difference between two runs, and the width of these differences' middle half, "
        "with 95% intervals (percentiles of a bootstrap over seeds, all runs of a seed drawn together). Where rare wide pairs "
        "rule a standard deviation, its interval is too narrow, above all upwards: what is rare is missing from most samples of "
        "so few seeds. Intervals of middle halves hold.",
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
    alike = [arm.arm for arm in floor.arms if floor.middle_halves[arm.arm].holds(1) or floor.variances[arm.arm].holds(1)]
    other = [arm.arm for arm in floor.arms if arm.arm not in alike]
    said = [f"For {' and '.join(alike)} an interval holds 1: it is not shown that the spreads differ." if alike else ""]
    said += [f"For {' and '.join(other)} no interval holds 1: the spreads differ." if other else ""]
    return (
        "Do clipped runs end further from unclipped ones than rounding alone carries them? At the end the middle half of the "
        f"control's differences is {'; '.join(each)}. {' '.join(filter(None, said))} A verdict on an arm already contains this "
        "noise."
    )


def _of_pairing(floor: NoiseFloor) -> str:
    early, middle, late = (
        " and ".join(f"{_times(getattr(arm, gain))} for {arm.arm}" for arm in floor.arms)
        for gain in ("gain_early", "gain_middle_half", "gain_late")
    )
    unsure = [arm.arm for arm in floor.arms if arm.gain_late.holds(1)]
    doubt = f" (no gain is shown for {' and '.join(unsure)}: the interval holds 1)" if unsure else ""
    return (
        "What is pairing by seed worth? Without it, in pairs of different seeds, differences in test accuracy have a standard "
        f"deviation so many times larger after one epoch: {early}. At the end the middle half is wider so many times: {middle}. "
        f"The standard deviation, which rare wide pairs rule, is larger so many times: {late}{doubt}."
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
