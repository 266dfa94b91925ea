"""An epoch that is recorded: the gradient norms of its steps, and its row of `metrics.csv`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.runs.csv_files import GRADIENT_COLUMNS, score_columns

MOST_NORMS = 4096
"""Norms kept for an epoch's median, each of as many steps as are needed to keep no more."""


class EpochNorms:
    """The gradient norms of an epoch's steps, so far: their median, of all steps or of evenly spaced ones, and the largest."""

    def __init__(self) -> None:
        self._norms: list[float] = []
        self._spacing, self._steps, self._clipped, self._largest = 1, 0, 0, float("nan")

    def add(self, records: StepRecords) -> None:
        norms: FloatArray = records.global_norm
        self._norms += norms[-self._steps % self._spacing :: self._spacing].tolist()
        self._steps += len(norms)
        self._clipped += int(records.clipped.sum())
        self._largest = float(np.fmax.reduce(norms, initial=self._largest))
        while len(self._norms) > MOST_NORMS:
            self._norms, self._spacing = self._norms[::2], 2 * self._spacing

    def summary(self) -> dict[str, float]:
        """What `metrics.csv` says of the gradients."""
        return {
            "grad_norm_median": float(np.median(self._norms)) if self._norms else float("nan"),
            "grad_norm_max": self._largest,
            "clipped_fraction": self._clipped / self._steps if self._steps else float("nan"),
        }


def metrics_row(number: int, row: Mapping[str, float], metrics: Mapping[str, bool], *, evaluated: bool) -> dict[str, float]:
    """An epoch's row of `metrics.csv`, in the order of its columns; NaN for what it has no value of."""
    names = (*score_columns(metrics, evaluated=evaluated), *GRADIENT_COLUMNS)
    return {"epoch": number, **{name: row.get(name, float("nan")) for name in names}}
