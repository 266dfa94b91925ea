"""Clipping at a percentile of the norms so far. It learns nothing from a norm that is not finite.

Source: Seetharaman, Wichern, Pardo and Le Roux 2020, "AutoClip: adaptive gradient clipping for source separation networks".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.scopes import ALL_TOGETHER

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array, BoolArray, FloatArray
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class AutoClip(ClippingRule):
    """Clipping at a percentile of the norms so far (Seetharaman et al. 2020)."""

    mode: Literal["autoclip"] = Field(
        default="autoclip", description="As global_clipnorm, with a percentile of the joint norms so far as threshold."
    )
    percentile: Annotated[float, Field(ge=0, le=100)] = Field(default=10.0, description="Percentile of the norms, 0 to 100.")
    window: Annotated[int, Field(ge=1, le=100_000)] = Field(default=1000, description="Latest steps whose norms count.")

    place = 6
    scope = ALL_TOGETHER
    in_words = InWords(
        bound="joint norm at most the p-th percentile of the norms of this and earlier steps",
        formula="as global_clipnorm",
        infinite="becomes NaN, everything else 0",
        nan="everything becomes NaN",
    )
    label_keys = ClippingRule.label_keys | {"percentile"}

    def apply(self, now: Situation, xp: Any) -> Clipped:
        length = Length(now.gradients, xp)
        memory = _remembered(now.memory, length.norm, xp)
        threshold = _percentile(memory, self.percentile, xp)
        excess = length.norm / xp.where(threshold > 0, threshold, xp.ones_like(threshold))
        return Clipped(shortened(now.gradients, threshold, length, xp), excess, memory)

    def memory(self) -> dict[str, Array]:
        """An empty memory of the last norms: in order of arrival, sorted (infinite where empty), and their count."""
        import numpy as np  # only here and below: a config is read without it

        empty = np.full(self.window, np.inf, np.float32)
        return {"recent": empty, "sorted": empty.copy(), "count": np.zeros((), np.int32)}

    def acts(self, steps: UnclippedSteps) -> BoolArray:
        import numpy as np

        return np.array([clipped.excess for clipped in self._applied(steps)]) > 1

    def left(self, steps: UnclippedSteps, thresholds: Sequence[float]) -> FloatArray:
        import numpy as np

        return np.array([clipped.gradients[0].item() for clipped in self._applied(steps)])

    def _applied(self, steps: UnclippedSteps) -> Iterator[Clipped]:
        """What becomes of each step, whatever the gradients were: to this rule, one element of their joint norm is the same."""
        import numpy as np

        memory: Mapping[str, Any] = self.memory()
        for norm in steps.joint_norm.astype(np.float32):
            clipped = self.apply(Situation([norm[None]], memory=memory), np)
            yield clipped
            memory = clipped.memory

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls().percentile
        reason = f"the {usual:g}th percentile of the norms so far, which Seetharaman et al. 2020 found best; it adapts"
        return Choice({"percentile": usual}, reason)

    @property
    def label(self) -> str:
        return f"{self.mode} {self.percentile:g}%"


def _remembered(memory: Mapping[str, Any], norm: Any, xp: Any) -> dict[str, Any]:
    """Put a norm in the oldest one's place, in as many operations as the window is long: no sort. Not if it isn't finite."""
    recent, ordered, count = memory["recent"], memory["sorted"], memory["count"]
    places = xp.arange(recent.shape[0])
    slot = count % recent.shape[0]
    # Close the gap that the oldest leaves, then open one for the new norm.
    # (XLA would compile a plain recent[slot] anew for each slot.)
    oldest = xp.amin(xp.where(places == slot, recent, xp.full_like(recent, math.inf)))
    gap = xp.count_nonzero(ordered < oldest)
    following = xp.concatenate([ordered[1:], xp.full_like(ordered[:1], math.inf)])
    closed = xp.where(places < gap, ordered, following)
    place = xp.count_nonzero(closed < norm)
    preceding = xp.concatenate([closed[:1], closed[:-1]])
    opened = xp.where(places < place, closed, xp.where(places == place, norm, preceding))
    keep = xp.isfinite(norm)
    return {
        "recent": xp.where(xp.logical_and(keep, places == slot), norm, recent),
        "sorted": xp.where(keep, opened, ordered),
        "count": xp.where(keep, count + 1, count),
    }


def _percentile(memory: Mapping[str, Any], percentile: float, xp: Any) -> Any:
    """The percentile of the norms in a memory, interpolated as `numpy.percentile` does; infinite where it is empty."""
    ordered = memory["sorted"]
    last = xp.clip(memory["count"] - 1, 0, ordered.shape[0] - 1)
    position = xp.multiply(last, percentile / 100)
    share = xp.clip(1 - xp.abs(xp.subtract(xp.arange(ordered.shape[0]), position)), 0, 1)
    return xp.sum(share * xp.where(share > 0, ordered, xp.zeros_like(ordered)))
