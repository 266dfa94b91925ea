"""The values of all pairs in ascending order, however many there are: each is found without making all. Pure functions.

Of a few thousand runs there are millions of pairs. Their values lie in rows that ascend, a row for each first value, so that a
search in every row at once tells how many are below some value; a median of the rows' medians then halves what is left, as
Johnson and Mizoguchi do (1978, "Selecting the kth element in X + Y and X1 + ... + Xm").
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray, IntArray

MADE = 100_000
"""So many values at most are made at once."""


@dataclass(frozen=True)
class Pairs:
    """The values (first[i] + second[j]) / divisor, for j from begins[i] on; those within `rounding` of zero are zero."""

    first: FloatArray
    second: FloatArray
    """In ascending order."""
    begins: IntArray
    divisor: float
    rounding: float

    @classmethod
    def averages(cls, values: FloatArray, rounding: float) -> Pairs:
        """The averages of each value with itself and each other, (n (n + 1) / 2,)."""
        values = np.sort(values)
        return cls(values, values, np.arange(len(values)), 2.0, rounding)

    @classmethod
    def differences(cls, ours: FloatArray, theirs: FloatArray, rounding: float) -> Pairs:
        """Each of ours minus each of theirs, (n m,)."""
        return cls(ours, np.sort(-theirs), np.zeros(len(ours), dtype=int), 1.0, rounding)

    def __len__(self) -> int:
        return len(self.first) * len(self.second) - int(self.begins.sum())

    @property
    def median(self) -> float:
        """The middle one, of two middle ones their average."""
        middle = len(self) // 2
        return self[middle] if len(self) % 2 else (self[middle - 1] + self[middle]) / 2

    @property
    def positive(self) -> int:
        """How many are above zero."""
        return len(self) - int((self._places(self.rounding, or_equal=True) - self.begins).sum())

    @property
    def negative(self) -> int:
        """How many are below zero."""
        return int((self._places(-self.rounding) - self.begins).sum())

    def __getitem__(self, rank: int) -> float:
        """The value with so many before it; counted from the end where it is negative. Raises IndexError beyond either end."""
        place = rank + len(self) if rank < 0 else rank
        if not 0 <= place < len(self):
            raise IndexError(f"{rank} of {len(self)}")
        value = float(self._few[place]) if len(self) <= MADE else self._found(place)
        return 0.0 if abs(value) <= self.rounding else value

    @functools.cached_property
    def _few(self) -> FloatArray:
        values = self._made(self.begins, np.full(len(self.first), len(self.second)))
        values.sort()
        return values

    def _values(self, rows: IntArray, places: IntArray) -> FloatArray:
        found: FloatArray = (self.first[rows] + self.second[places]) / self.divisor
        return found

    def _made(self, low: IntArray, high: IntArray) -> FloatArray:
        """The values of each row between two places."""
        sizes = high - low
        rows = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._values(rows, low[rows] + within)

    def _places(self, value: float, *, or_equal: bool = False) -> IntArray:
        """Where each row's values below `value`, or up to it, end."""
        low, high = self._near(value)
        rows = np.flatnonzero(low < high)
        while len(rows):
            middle = (low[rows] + high[rows]) // 2
            there = self._values(rows, middle)
            before = there <= value if or_equal else there < value
            low[rows[before]], high[rows[~before]] = middle[before] + 1, middle[~before]
            rows = rows[low[rows] < high[rows]]
        return low

    def _near(self, value: float) -> tuple[IntArray, IntArray]:
        """Two places of each row between which its values come to `value`, whatever a sum's rounding does."""
        sought = value * self.divisor - self.first
        apart = 8 * np.finfo(float).eps * (abs(value) * self.divisor + np.abs(self.first)) + np.finfo(float).tiny
        low = np.maximum(np.searchsorted(self.second, sought - apart), self.begins)
        return low, np.maximum(np.searchsorted(self.second, sought + apart, "right"), low)

    def _found(self, rank: int) -> float:
        """The value with so many before it, between two places of each row that close in on it."""
        low, high = self.begins, np.full(len(self.first), len(self.second))
        while (high - low).sum() > MADE:
            value = self._middle(low, high)
            below, up_to = self._places(value), self._places(value, or_equal=True)
            if rank < (below - self.begins).sum():
                high = np.minimum(high, below)
            elif rank >= (up_to - self.begins).sum():
                low = np.maximum(low, up_to)
            else:
                return value
        before = int((low - self.begins).sum())
        return float(np.partition(self._made(low, high), rank - before)[rank - before])

    def _middle(self, low: IntArray, high: IntArray) -> float:
        """A value with at least a quarter of what is left on either side: the rows' medians' median, by the rows' lengths."""
        rows = np.flatnonzero(low < high)
        medians = self._values(rows, (low[rows] + high[rows]) // 2)
        order = np.argsort(medians)
        lengths = np.cumsum((high - low)[rows][order])
        return float(medians[order][np.searchsorted(lengths, lengths[-1] / 2)])
