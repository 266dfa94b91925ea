"""Figures that are kept while values come in: a median of the latest ones, a mean of all."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import numpy as np

from gradclip_cli.arrays import FloatArray


class RunningMedian:
    """The median of the last `window` values."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []

    def before(self, value: float) -> float:
        """The median of up to `window` values before this one, which is then remembered; NaN before the first."""
        ordered, count = self._ordered, len(self._ordered)
        median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2 if count else np.nan
        if count == self._window:
            del ordered[bisect_left(ordered, self._recent.popleft())]
        insort(ordered, value)
        self._recent.append(value)
        return median


class RunningMean:
    """The mean of rows of figures. They are added one after another, so that it is the same to the bit for any pieces."""

    def __init__(self, columns: int) -> None:
        self._sums = np.zeros(columns)
        self._rows = 0

    def add(self, rows: FloatArray) -> None:
        self._sums = np.add.accumulate(np.vstack([self._sums, rows]))[-1].copy()
        self._rows += len(rows)

    @property
    def mean(self) -> FloatArray:
        """(columns,); NaN without rows."""
        return self._sums / self._rows if self._rows else np.full(len(self._sums), np.nan)
