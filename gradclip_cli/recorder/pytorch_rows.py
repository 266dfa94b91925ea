"""What is kept of steps on the device until it is brought over, many at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.recorder.measures import MEASURED, changed, shortening, step_records
from gradclip_cli.recorder.pytorch_measures import Watched

MOST_ROWS = 256
MOST_TAKEN = 4_000_000
"""Elements that wait to be measured."""
LONGEST = 5.0
"""Seconds that a row waits while steps go on."""

Number: TypeAlias = Tensor | float


@dataclass
class Row:
    """A step."""

    taken: tuple[Tensor, ...]
    """What `Watched` took: the gradients before and after clipping, and what was added to the weights."""
    by_rule: bool
    """Whether the rule's own function was called."""
    loss: Number | None = None
    skipped: Tensor | None = None
    """More than 0 where the optimizer was told, on the device, to leave the step out."""
    measures: Tensor | None = None
    """(5, V): norm and largest element of each gradient before clipping, the same of it after, the update's norm."""


class Rows:
    """Rows that wait."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._rows: list[Row] = []
        self._unmeasured: list[Row] = []
        self._since = time.perf_counter()

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._unmeasured.append(row)
        if len(self._unmeasured) * sum(each.numel() for each in row.taken) > MOST_TAKEN:
            self._measure()

    @property
    def last(self) -> Row | None:
        """The latest, while it waits."""
        return self._rows[-1] if self._rows else None

    @property
    def full(self) -> bool:
        return len(self._rows) >= MOST_ROWS or (bool(self._rows) and time.perf_counter() - self._since > LONGEST)

    def _measure(self) -> None:
        for row in self._unmeasured:
            row.measures, row.taken = self._watched.measured_later(*row.taken), ()
        self._unmeasured = []

    def taken(self) -> list[Row]:
        """Those that were taken, without the ones that were left out."""
        self._measure()
        rows, self._rows, self._since = self._rows, [], time.perf_counter()
        left_out = to_floats([row.skipped for row in rows])
        return [row for row, skipped in zip(rows, left_out, strict=True) if not skipped > 0]


def records_of(rows: Sequence[Row], rule: ClippingRule | None) -> tuple[StepRecords, bool]:
    """The records of at least one step, and whether any gradient changed between backward and step.

    Clipped are by its bound those steps on which the rule's function was called, else those whose gradients became smaller.
    """
    measures = (
        torch.stack([row.measures for row in rows if row.measures is not None]).cpu().numpy().astype(float).transpose(1, 0, 2)
    )
    norm, max_abs, applied_norm, applied_max_abs, _ = measures
    before, after = np.hstack([norm, max_abs]), np.hstack([applied_norm, applied_max_abs])
    excess = shortening(before, after)
    if rule is not None and rule.measured and rule.threshold_of_all is not None:
        bounded = measured_excess(rule.scope, norm, max_abs, [rule.threshold_of_all] * norm.shape[1])
        excess = np.where([row.by_rule for row in rows], bounded, excess)
    named = dict(zip(MEASURED, measures, strict=True))
    records = step_records(named, to_floats([row.loss for row in rows]), excess)
    return records, bool(changed(before, after).any())


def to_floats(values: Sequence[Number | None]) -> FloatArray:
    """Numbers, (N,), of which those on a device are brought over together; NaN for None."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    there = iter(torch.stack([each.to(tensors[0].device) for each in tensors]).tolist() if tensors else [])
    return np.array([next(there) if isinstance(each, Tensor) else np.nan if each is None else each for each in values], float)
