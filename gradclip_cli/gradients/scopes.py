"""What a threshold is held against: each element, variable or unit, or all gradients together; and how that is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclip_cli.arrays import FloatArray


def joint_norm(norm: FloatArray) -> FloatArray:
    """Norm of all variables together, (..., 1), from the norms of each, (..., V)."""
    joint: FloatArray = (norm**2).sum(axis=-1, keepdims=True) ** 0.5
    return joint


@dataclass(frozen=True)
class Scope:
    """What a threshold is held against."""

    name: str
    part: str = ""
    """One such thing, as the tables call it."""
    measure: Callable[[FloatArray, FloatArray], FloatArray] | None = None
    """What is held against the threshold, (S, V) or, where it is joint, (S, 1): from the variables' norms and their largest
    absolute elements on S steps, both (S, V). None where it depends on more than these."""
    summed: Callable[[Sequence[int]], int] = sum
    """How many elements one norm sums at most, from the sizes of the variables."""


NOTHING = Scope("nothing")
EACH_ELEMENT = Scope("each element", "element", lambda norm, max_abs: max_abs, lambda sizes: 1)
EACH_VARIABLE = Scope("each variable", "variable", lambda norm, max_abs: norm, max)
EACH_UNIT = Scope("each unit", "unit", summed=max)
"""A unit is a column of a kernel, or a whole bias."""
ALL_TOGETHER = Scope("all together", "gradient", lambda norm, max_abs: joint_norm(norm))
