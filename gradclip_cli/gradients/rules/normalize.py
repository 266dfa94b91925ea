"""Normalized gradients: all of them together always of the same norm, shortened or lengthened. Zero gradients stay zero.

Source: Hazan, Levy and Shalev-Shwartz 2015, "Beyond convexity: stochastic quasi-convex optimization".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclip_cli.arrays import BoolArray, FloatArray
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class Normalize(ClippingRule):
    """Gradient scaling: always the same norm."""

    mode: Literal["normalize"] = Field(
        default="normalize", description="All gradients are rescaled by one factor to joint norm `threshold`, up or down."
    )
    threshold: Positive = Field(description="L2 norm of all gradients together, on every step.")

    place = 4
    scope = ALL_TOGETHER
    in_words = InWords(
        bound="norm of all gradients together equal to t",
        formula="g * t / norm(all)",
        infinite="becomes NaN, everything else 0",
        nan="everything becomes NaN",
    )

    def apply(self, now: Situation, xp: Any) -> Clipped:
        length = Length(now.gradients, xp)
        factor = self.threshold / xp.where(length.of_units == 0, xp.ones_like(length.of_units), length.of_units)
        return Clipped([unit * factor for unit in length.units])

    def acts(self, steps: UnclippedSteps) -> BoolArray:
        return steps.joint_norm > 0  # up as well as down

    def left(self, steps: UnclippedSteps, thresholds: Sequence[float]) -> FloatArray:
        return self.threshold * (steps.joint_norm > 0)

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        threshold = steps.rounded(steps.median_norm)
        longer = (steps.joint_norm > threshold).mean()
        reason = f"the median norm, so that the usual step stays as it is: it shortens {longer:.0%} and lengthens the others"
        return Choice({"threshold": threshold}, reason)
