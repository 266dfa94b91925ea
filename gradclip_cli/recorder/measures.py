"""What a recorder measures of a step's variables, and the records that this makes."""

from __future__ import annotations

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.step_records import StepRecords

MEASURED = ("norm", "max_abs", "applied_norm", "applied_max_abs", "update_norm")
"""Of each variable, one after another."""


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
