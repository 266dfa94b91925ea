"""A rule with a memory taken through steps that were recorded without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, Situation
from gradclip_cli.gradients.scopes import EACH_VARIABLE

if TYPE_CHECKING:
    from gradclip_cli.arrays import BoolArray, FloatArray
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class RuleWithMemory(ClippingRule):
    """Base of the rules by norm that remember earlier steps: what one does to steps is told by taking it through all of them."""

    def acts(self, steps: UnclippedSteps) -> BoolArray:
        return acted(self, self._norms(steps))

    def left(self, steps: UnclippedSteps, thresholds: Sequence[float]) -> FloatArray:
        return left(self, self._norms(steps))

    def _norms(self, steps: UnclippedSteps) -> FloatArray:
        return steps.norm if self.scope is EACH_VARIABLE else steps.joint_norm[:, None]


def acted(rule: ClippingRule, norms: FloatArray) -> BoolArray:
    """On which of S steps a rule by norm acts, (S,), from the norms of the variables' gradients, (S, V).

    A rule that asks for the joint norm only may be given that, (S, 1).
    """
    import numpy as np  # only here and below: a config is read without it

    return np.array([clipped.excess for clipped in _taken(rule, norms)]) > 1


def left(rule: ClippingRule, norms: FloatArray) -> FloatArray:
    """The joint norm that it leaves of each step's gradients, (S,); `norms` are as for `acted`."""
    import numpy as np

    return np.array([np.linalg.norm(np.concatenate(clipped.gradients).astype(float)) for clipped in _taken(rule, norms)])


def _taken(rule: ClippingRule, norms: FloatArray) -> Iterator[Clipped]:
    """What becomes of each step. Whatever its gradients were: to such a rule, one element of the same norm is the same."""
    import numpy as np

    memory: Mapping[str, Any] = rule.memory(norms.shape[1])
    for row in norms.astype(np.float32):
        with np.errstate(all="ignore"):  # a bound of infinity times a norm of zero, which is then not taken
            clipped = rule.apply(Situation(np.split(row, len(row)), memory=memory), np)
        yield clipped
        memory = clipped.memory
