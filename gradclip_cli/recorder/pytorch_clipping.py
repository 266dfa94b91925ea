"""Which of gradclip's rules the calls of PyTorch's clipping functions amount to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gradclip_cli.config.recorded import UnknownRule
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules.clipnorm import ClipNorm
from gradclip_cli.gradients.rules.clipvalue import ClipValue
from gradclip_cli.gradients.rules.global_clipnorm import GlobalClipNorm
from gradclip_cli.recorder.pytorch_calls import NORM, OTHER, VALUE


class Call(NamedTuple):
    """A clipping function that was called."""

    mode: str
    threshold: float
    parameters: frozenset[int]
    """Those that had a gradient, by their identities."""


class StepClipping:
    """The calls before one step, and the rule that they amount to."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._calls: set[Call] = set()
        self._ours: frozenset[int] = frozenset()

    def add(self, mode: str, threshold: float, parameters: Sequence[Tensor]) -> bool:
        """A call. Says whether it clips these parameters: with an infinite threshold the function only measures."""
        self._ours, given = _with_gradient(self._parameters), _with_gradient(parameters)
        clips = threshold != math.inf and bool(given & self._ours)
        if clips:
            self._calls.add(Call(mode, threshold, given))
        return clips

    @property
    def rule(self) -> ClippingRule | None:
        """None where nothing was called; unknown where no rule does the same: not all were clipped, or others with them."""
        if not self._calls:
            return None
        (mode, threshold), *others = {(call.mode, call.threshold) for call in self._calls}
        if others or mode == OTHER or not 0 < threshold < math.inf:
            return UnknownRule()
        return self._of(mode, threshold, [call.parameters for call in self._calls])

    def _of(self, mode: str, threshold: float, parts: Sequence[frozenset[int]]) -> ClippingRule:
        if mode == VALUE and self._ours <= frozenset().union(*parts):
            return ClipValue(threshold=threshold)
        if mode == NORM and list(parts) == [self._ours]:
            return GlobalClipNorm(threshold=threshold)
        if mode == NORM and {*parts} == {frozenset({each}) for each in self._ours}:
            return ClipNorm(threshold=threshold)
        return UnknownRule()


def _with_gradient(parameters: Sequence[Tensor]) -> frozenset[int]:
    return frozenset(id(parameter) for parameter in parameters if parameter.grad is not None)
