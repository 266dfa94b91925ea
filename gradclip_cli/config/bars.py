"""A bar that a value of a run's metrics is held against, such as `val_accuracy >= 0.99`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

SIGNS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
AT_OR_BEYOND = (">=", "<=")
"""The signs of a study's bars: a run at the bar has reached it."""
_BAR = re.compile(rf"\s*([^\s<>=][^<>=]*?)\s*({'|'.join(SIGNS)})\s*([-+.\w]+)\s*")


@dataclass(frozen=True)
class Bar:
    """A column of metrics.csv and what it is held against, such as `val_accuracy >= 0.99`, in the files' unit.

    In a study's file it is what the last epoch must hold for a run to count as a success.
    """

    column: str
    sign: str
    """One of `SIGNS`."""
    limit: float

    @classmethod
    def read(cls, text: Any, *, signs: Container[str] = AT_OR_BEYOND) -> Bar:
        """A bar with one of these signs. Raises ValueError for what is none."""
        found = _BAR.fullmatch(str(text))
        try:
            if found and found[2] in signs and math.isfinite(limit := float(found[3])):
                return cls(found[1], found[2], limit)
        except ValueError:
            pass
        raise ValueError(f"expected a column of metrics.csv and its bar, such as val_accuracy >= 0.99, not {text!r}")

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.limit:g}"

    def is_reached_by(self, value: float) -> bool:
        """Whether a value of the column is at the bar, where the sign has it so, or beyond it."""
        return SIGNS[self.sign](value, self.limit)
