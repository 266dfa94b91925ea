"""What runs' `metrics.csv` hold, as arrays: thousands of them are parsed together, each checked as if it were alone."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradclip_cli.arrays import FloatArray
from gradclip_cli.errors import StoreError
from gradclip_cli.runs.csv_files import MetricsText

TOGETHER = 1000
"""So many files at most are parsed at once."""


@dataclass(frozen=True, eq=False)
class Epochs:
    """A run's `metrics.csv`: its columns by name, each (epochs,), in the files' units."""

    columns: tuple[str, ...]
    values: FloatArray
    """(epochs, columns)."""

    @classmethod
    def none(cls) -> Epochs:
        """Those of a run of which none can be told."""
        return cls((), np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, column: str) -> FloatArray:
        """Raises KeyError for a column that isn't there."""
        if column not in self.columns:
            raise KeyError(column)
        found: FloatArray = self.values[:, self.columns.index(column)]
        return found


def parse(texts: Sequence[MetricsText]) -> list[Epochs | StoreError]:
    """What each file holds, or why it can't be read."""
    found: list[Epochs | StoreError] = []
    for _, alike in itertools.groupby(texts, lambda text: text.columns):
        while some := list(itertools.islice(alike, TOGETHER)):
            found += _together(some) or [_alone(text) for text in some]
    return found


def _together(texts: Sequence[MetricsText]) -> list[Epochs | StoreError] | None:
    """Files with the same columns; None where one of them is not as gradclip writes it."""
    if len(texts) == 1 or not all(text.is_plain for text in texts):
        return None
    columns = texts[0].columns
    try:
        frame = pd.read_csv(io.BytesIO(b"".join(text.lines for text in texts)), names=columns, index_col=False)
        values = np.ascontiguousarray(frame.to_numpy(float))
    except (ValueError, OverflowError):
        return None
    if not np.array_equal(values[:, 0], [epoch for text in texts for epoch in range(1, text.epochs + 1)]):
        return None
    pieces = np.split(values, np.cumsum([text.epochs for text in texts])[:-1])
    return [Epochs(tuple(columns), piece) for piece in pieces]


def _alone(text: MetricsText) -> Epochs | StoreError:
    try:
        return Epochs(tuple(text.columns), text.parsed().to_numpy(float))
    except StoreError as error:
        return error
