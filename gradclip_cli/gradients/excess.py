"""How many times its bound a gradient was, read off what steps recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.scopes import ALL_TOGETHER, EACH_VARIABLE, Scope, joint_norm


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


def shortened_norm(scope: Scope, norm: FloatArray, thresholds: Sequence[float]) -> FloatArray | None:
    """Joint norm, (S,), of gradients of which each variable, or all together, were shortened to thresholds (V,).

    From the variables' norms, (S, V). None for other scopes, where norms don't tell it.
    """
    if scope not in (EACH_VARIABLE, ALL_TOGETHER):
        return None
    parts = joint_norm(norm) if scope is ALL_TOGETHER else norm
    return joint_norm(np.minimum(parts, np.asarray(thresholds)[: parts.shape[-1]]))[:, 0]
