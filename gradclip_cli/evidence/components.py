"""How far runs spread within a seed, where rounding alone tells them apart, and how far seeds spread: components of variance.

Source: Searle, Casella and McCulloch 1992, "Variance components", section 3.3 (the estimates of the one-way random model, from
mean squares). The intervals are `bootstrap`'s, over seeds: too narrow where few seeds rule a spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence.bootstrap import Estimate, estimate


@dataclass(frozen=True)
class Components:
    """Standard deviations within a seed and between seeds, in the unit of the values, and the share of the variance within."""

    within: Estimate
    between: Estimate
    share_within: Estimate

    @classmethod
    def of(cls, values: FloatArray) -> Components:
        """From runs (S, R), R of each of S seeds. Raises ValueError for fewer than two of a seed, or one that is not finite."""
        if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
            raise ValueError("at least two finite values of each seed")
        runs = values.shape[1]

        def within(means: FloatArray, variances: FloatArray) -> FloatArray:
            return np.asarray(np.sqrt(variances.mean(axis=-1)))

        def between(means: FloatArray, variances: FloatArray) -> FloatArray:
            surplus = means.var(axis=-1, ddof=1) - variances.mean(axis=-1) / runs
            return np.asarray(np.sqrt(np.maximum(surplus, 0.0)))

        def share(means: FloatArray, variances: FloatArray) -> FloatArray:
            inside, outside = (part(means, variances) ** 2 for part in (within, between))
            return np.asarray(inside / (inside + outside))

        measured = values.mean(axis=1), values.var(axis=1, ddof=1)
        return cls(*(estimate(statistic, *measured) for statistic in (within, between, share)))
