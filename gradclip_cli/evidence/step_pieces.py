"""A stored run's `steps.csv`, however long it is: its whole steps, some at a time, checked to be all there and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli.errors import StoreError
from gradclip_cli.runs.store import RunDirectory

if TYPE_CHECKING:
    import pandas as pd


def step_pieces(
    run: RunDirectory, rows: int, size: int, every: int, numbers: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """The first `rows` rows, which are of one step in `every`, `size` rows at a time, as what `numbers` makes of them.

    That holds `step` and `clipped`. Raises StoreError where a step is missing, out of order or neither clipped nor not.
    """
    done = 0
    for piece in run.steps_in_pieces(size):
        frame = numbers(piece[: rows - done])
        in_order = np.array_equal(frame["step"], every * np.arange(done + 1, done + len(frame) + 1))
        if not in_order or not frame["clipped"].isin((0, 1)).all():
            raise StoreError(f"{run.steps_path}: not every step from {every * (done + 1):,} on is there, whole and in order")
        yield frame
        done += len(frame)
        if done == rows:
            return
    if done < rows:
        raise StoreError(f"{run.steps_path}: holds {done:,} steps in {rows:,} lines")
