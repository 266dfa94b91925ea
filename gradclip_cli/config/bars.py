"""A bar: what the last epoch must hold for a run to count as a success."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

_BAR = re.compile(r"\s*(\w+)\s*(>=|<=)\s*([-+.\w]+)\s*")


@dataclass(frozen=True)
class Bar:
    """What the last epoch must hold for a run to count as a success, such as `val_accuracy >= 0.99`, in the files' unit."""

    column: str
    sign: str
    """`>=` or `<=`."""
    limit: float

    @classmethod
    def read(cls, text: Any) -> Bar:
        """Raises ValueError for what is no bar."""
        found = _BAR.fullmatch(str(text))
        try:
            if found and math.isfinite(limit := float(found[3])):
                return cls(found[1], found[2], limit)
        except ValueError:
            pass
        raise ValueError(f"expected a column of metrics.csv and its bar, such as val_accuracy >= 0.99, not {text!r}")

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.limit:g}"

    def is_reached_by(self, value: float) -> bool:
        """Whether a value of the column is at the bar or beyond it."""
        return value >= self.limit if self.sign == ">=" else value <= self.limit
