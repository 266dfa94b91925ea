"""What steps without clipping measured of the gradients: what the threshold of a rule is chosen from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.scopes import Scope, joint_norm

TOP_TENTH = 90.0


@dataclass(frozen=True)
class UnclippedSteps:
    """S unclipped steps over V variables, none of them exploding."""

    norm: FloatArray
    """(S, V) norm of each variable's gradient."""
    max_abs: FloatArray
    """(S, V) largest absolute element of the same."""
    unit_ratio: FloatArray
    """(S,) largest norm of a unit's gradient over that of the unit's weights."""

    @property
    def joint_norm(self) -> FloatArray:
        """(S,) norm of all gradients together."""
        return joint_norm(self.norm)[:, 0]

    @property
    def median_norm(self) -> float:
        """Median of the joint norms."""
        return float(np.median(self.joint_norm))

    def excess(self, scope: Scope, threshold: float) -> FloatArray:
        """How many times a threshold what it is held against was, at most, (S,). Not to be asked of a scope without a measure."""
        return measured_excess(scope, self.norm, self.max_abs, [threshold] * self.norm.shape[1])

    @staticmethod
    def rounded(value: float) -> float:
        """Two significant digits: a threshold to try is no more precise."""
        return float(f"{value:.2g}")

    @classmethod
    def ninth_tenth(cls, values: FloatArray) -> float:
        """What nine in ten of the values don't exceed, in two significant digits."""
        exact = float(np.percentile(values, TOP_TENTH))
        rounded = cls.rounded(exact)
        return rounded if rounded >= exact else cls.rounded(rounded + 10.0 ** (math.floor(math.log10(rounded)) - 1))
