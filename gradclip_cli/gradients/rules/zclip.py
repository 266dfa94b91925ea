"""Clipping what stands out from a running mean of the joint norm, the harder the more it stands out.

A norm z standard deviations above the mean, with z above n, is brought down to n * n / z of them. The first steps are not
clipped: mean and variance begin as theirs. After that both are exponential averages, which take the norm as clipped, and the
variance is of the distance from the new mean. They learn nothing from a norm that is not finite.

Where the published code (github.com/bluorion-com/ZClip) differs from this: it also clips to a fixed norm, 1 unless told
otherwise, during the first steps too; it adds 1e-6 to the deviation and to the norm that it divides by; and a norm that is not
finite stays in its averages for good.

Source: Kumar, Owen, Roy Chowdhury and Güra 2025, "ZClip: adaptive spike mitigation for LLM pre-training".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.replay import RuleWithMemory
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class ZClip(RuleWithMemory):
    """Clipping norms that stand out from their running mean (Kumar et al. 2025)."""

    mode: Literal["zclip"] = Field(
        default="zclip", description="As global_clipnorm, where the joint norm stands out from its running mean."
    )
    deviations: Positive = Field(default=2.5, description="Standard deviations above the running mean that are not clipped.")
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.97, description="What mean and variance keep of themselves on a step, 0 to 1."
    )
    warmup: Annotated[int, Field(ge=2, le=100_000)] = Field(
        default=25, description="First steps, which are not clipped: mean and variance begin with theirs."
    )

    place = 8
    scope = ALL_TOGETHER
    in_words = InWords(
        bound="joint norm z > n standard deviations above its running mean: at most n * n / z of them",
        formula="as global_clipnorm",
        infinite="becomes NaN, everything else 0 (during the warm-up it stays)",
        nan="everything becomes NaN",
    )
    label_keys = ClippingRule.label_keys | {"deviations"}

    def apply(self, now: Situation, xp: Any) -> Clipped:
        length, mean, deviation = Length(now.gradients, xp), now.memory["mean"], now.memory["deviation"]
        allowed = mean + self.deviations * deviation
        bounded = xp.logical_and(now.memory["count"] >= self.warmup, allowed > 0)
        excess = length.norm / xp.where(bounded, allowed, xp.full_like(allowed, math.inf))
        excess = xp.where(bounded, excess, xp.zeros_like(excess))
        acts = excess > 1
        # n * n / z deviations: without z itself, which has no value where all norms were alike.
        share = deviation / xp.where(acts, length.norm - mean, xp.ones_like(mean))
        threshold = xp.where(acts, mean + self.deviations**2 * share * deviation, xp.full_like(mean, math.inf))
        memory = self._learned(now.memory, length.norm, xp.where(acts, threshold, length.norm), xp)
        return Clipped(shortened(now.gradients, threshold, length, xp), excess, memory)

    def _learned(self, memory: Mapping[str, Any], norm: Any, clipped_norm: Any, xp: Any) -> dict[str, Any]:
        """Mean, standard deviation and count with one more norm."""
        count = memory["count"] + 1
        beginning, keep = count <= self.warmup, xp.isfinite(norm)
        weight = xp.where(beginning, 1 / count, 1 - self.smoothing)
        distance = clipped_norm - memory["mean"]
        # Of the first norms the variance itself (Welford's update); then the average of squared distances from the new mean.
        old, new = xp.sqrt(1 - weight), xp.sqrt(weight) * xp.where(beginning, xp.sqrt(1 - weight), 1 - weight)
        learned = {
            "mean": memory["mean"] + weight * distance,
            "deviation": xp.hypot(old * memory["deviation"], new * distance),  # of roots: no square over- or underflows
            "count": count,
        }
        return {key: xp.where(keep, value, memory[key]) for key, value in learned.items()}

    def memory(self, variables: int) -> dict[str, Array]:
        """Mean and standard deviation of no norms yet."""
        import numpy as np  # only here: a config is read without it

        return {name: np.zeros((), np.float32) for name in ("mean", "deviation", "count")}

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls().deviations
        reason = f"{usual:g} standard deviations above the running mean, as Kumar et al. 2025 train with; it adapts"
        return Choice({"deviations": usual}, reason)

    @property
    def label(self) -> str:
        return f"{self.mode} {self.deviations:g}"
