"""A rule with a memory taken through steps that were recorded without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradclip_cli.gradients.clipping_rule import ClippingRule, Situation

if TYPE_CHECKING:
    from gradclip_cli.arrays import BoolArray, FloatArray


def acted(rule: ClippingRule, norms: FloatArray) -> BoolArray:
    """On which of S steps a rule by norm acts, (S,), from the norms of the variables' gradients, (S, V).

    Whatever the gradients were: to such a rule, one element of the same norm is the same. A rule that asks for the joint norm
    only may be given that, (S, 1).
    """
    import numpy as np  # only here: a config is read without it

    memory: Mapping[str, Any] = rule.memory(norms.shape[1])
    excesses = []
    for row in norms.astype(np.float32):
        with np.errstate(all="ignore"):  # a bound of infinity times a norm of zero, which is then not taken
            clipped = rule.apply(Situation(np.split(row, len(row)), memory=memory), np)
        excesses.append(clipped.excess)
        memory = clipped.memory
    return np.array(excesses) > 1
