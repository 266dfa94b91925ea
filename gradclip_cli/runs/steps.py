"""The columns of `steps.csv`, and how an engine's records become its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclip_cli.gradients.step_records import StepRecords

STEP_COLUMNS = ("step", "loss", "penalty", "correct", "grad_norm", "applied_norm", "clipped")
COUNTED = STEP_COLUMNS.index("correct")
"""The column that only steps have whose problem can tell which samples are classified correctly."""
STEP_COLUMNS_PER_VARIABLE = ("norm", "max_abs", "applied_norm", "applied_max_abs")
UPDATE_NORM = "update_norm"
"""The last column, which older runs don't have."""


def step_columns(variables: Sequence[str], *, counts_correct: bool = True) -> list[str]:
    """Columns of `steps.csv` for these variables: the common ones, then `norm/VARIABLE` and so on, then the update's norm."""
    each = [f"{quantity}/{variable}" for quantity in STEP_COLUMNS_PER_VARIABLE for variable in variables]
    return [*common_columns(counts_correct=counts_correct), *each, UPDATE_NORM]


def common_columns(*, counts_correct: bool) -> list[str]:
    """The columns that are not of a variable."""
    return [name for place, name in enumerate(STEP_COLUMNS) if counts_correct or place != COUNTED]


def step_rows(records: StepRecords, done: int, *, every: int = 1, counts_correct: bool = True) -> Iterator[list[float]]:
    """Rows in the order of `step_columns`, of the recorded steps that follow the first `done`: one step in `every`."""
    import numpy as np  # which no start-up waits for

    numbers = range(every * (done + 1), every * (done + len(records)) + 1, every)
    integers = zip(numbers, records.correct.tolist(), records.clipped.tolist(), strict=True)
    floats = np.column_stack([records.loss, records.penalty, records.global_norm, records.applied_global_norm]).tolist()
    each = [getattr(records, quantity) for quantity in STEP_COLUMNS_PER_VARIABLE]
    last = np.column_stack([*each, records.update_norm]).tolist()
    for (step, correct, clipped), (loss, penalty, norm, applied), rest in zip(integers, floats, last, strict=True):
        row = [step, loss, penalty, correct, norm, applied, int(clipped), *rest]
        if not counts_correct:
            del row[COUNTED]
        yield row
