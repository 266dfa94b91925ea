"""How many times its bound a gradient was, read off what steps recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.scopes import Scope


def measured_excess(scope: Scope, norm: FloatArray, max_abs: FloatArray, thresholds: Sequence[float]) -> FloatArray:
    """How many times its bound the gradient of each of S steps was, at most, (S,): above 1 a rule acts.

    From the norms and largest absolute elements of V variables, both (S, V), and their thresholds, (V,). Not to be asked of
    a scope without a measure. NaN where nothing but NaN was measured.
    """
    return np.asarray(np.fmax.reduce(excess_of_variables(scope, norm, max_abs, thresholds), axis=-1))


def excess_of_variables(scope: Scope, norm: FloatArray, max_abs: FloatArray, thresholds: Sequence[float]) -> FloatArray:
    """The same for each variable, (S, V), or for all together where they share one bound, (S, 1)."""
    assert scope.measure is not None
    measured = scope.measure(norm, max_abs)
    with np.errstate(invalid="ignore"):  # an infinite norm without a bound
        return np.asarray(measured / np.asarray(thresholds)[: measured.shape[-1]])
