"""What a recorder measures of a step's variables, and the records that this makes."""

from __future__ import annotations

import numpy as np

from gradclip_cli.arrays import BoolArray, FloatArray
from gradclip_cli.gradients.step_records import StepRecords

MEASURED = ("norm", "max_abs", "applied_norm", "applied_max_abs", "update_norm")
"""Of each variable, one after another."""
SAME = 2e-6
"""By how much, of itself, a norm or largest element may differ that was measured twice, before clipping and after it.

Where no rule tells whether clipping acted, more than this does. Sums of large tensors in float32 are right to some 1e-7, and not
added up in the same order each time; and a gradient that was divided by a loss scale in between is rounded once more.
"""


def step_records(measures: dict[str, FloatArray], losses: FloatArray, excess: FloatArray) -> StepRecords:
    """The records of S steps from what was measured of V variables, (S, V) by the names of MEASURED; the others are (S,)."""
    update = measures["update_norm"]
    return StepRecords(
        **{
            **measures,
            "loss": losses,
            "penalty": np.zeros(len(losses)),
            "correct": np.zeros(len(losses), np.int64),
            "excess": excess,
            "update_norm": np.sqrt(np.square(update).sum(axis=1)),
            "weights_finite": np.isfinite(update),
        }
    )


def changed(before: FloatArray, after: FloatArray) -> BoolArray:
    """Whether any measure of each of S steps, both (S, N), became another one, (S,)."""
    return np.asarray(~np.isclose(before, after, rtol=SAME, atol=0, equal_nan=True).all(axis=1))


def shortening(before: FloatArray, after: FloatArray) -> FloatArray:
    """How many times as large the largest of N measures of S steps, both (S, N), was before as after, (S,); 0 unless larger."""
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.fmax.reduce(before / after, axis=1, initial=0.0)
    return np.where(times > 1 + SAME, times, 0.0)
