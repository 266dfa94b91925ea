"""L2 norms in any array namespace, and what is longer than a bound made shorter: the formula of all rules by norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Gradients = Sequence[Any]
SMALLEST_MEAN_SQUARE = 1e-31
"""Of elements whose squares float32 can sum: what it flushes to zero, below 1.2e-38, is less than rounding then."""


class Length:
    """The L2 norm of some arrays together (along `axis`, for each unit), taken of units so that no square over- or underflows.

    `units` are the arrays over their largest absolute element, `scale`; `of_units` is the norm of these.
    """

    def __init__(self, arrays: Gradients, xp: Any, axis: int | tuple[int, ...] | None = None) -> None:
        largest = [xp.amax(xp.abs(array), axis=axis, keepdims=axis is not None) for array in arrays]
        together = largest[0] if len(largest) == 1 else xp.amax(xp.stack(largest))
        usable = xp.logical_and(together > 0, xp.isfinite(together))
        self.scale = xp.where(usable, together, xp.ones_like(together))
        self.units = [array / self.scale for array in arrays]
        squares = [xp.sum(xp.square(unit), axis=axis, keepdims=axis is not None) for unit in self.units]
        self.of_units = xp.sqrt(sum(squares[1:], squares[0]))

    @property
    def norm(self) -> Any:
        """The norm itself; infinite where it is beyond the largest float."""
        return self.scale * self.of_units


def shortened(gradients: Gradients, bound: Any, length: Length, xp: Any) -> list[Any]:
    """Rescale to `bound` what is longer; what is within it stays as it is, to the bit. NaN fills all that it was summed with."""
    within = length.of_units <= bound / length.scale
    factor = bound / xp.where(within, xp.ones_like(length.of_units), length.of_units)
    return [xp.where(within, gradient, unit * factor) for gradient, unit in zip(gradients, length.units, strict=True)]
