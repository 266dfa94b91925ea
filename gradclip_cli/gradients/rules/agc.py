"""Adaptive gradient clipping: each unit's gradient within a share of the norm of that unit's weights.

Source: Brock, De, Smith and Simonyan 2021, "High-performance large-scale image recognition without normalization".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import LAYERS, Choice, Clipped, ClippingRule, InWords, LayerThresholds, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.scopes import EACH_UNIT
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.arrays import BoolArray
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


def units(axes: int) -> int | tuple[int, ...] | None:
    """The axes that a unit's gradient has, of a variable with so many: all but the last, along which the units stand."""
    return None if axes < 2 else 0 if axes == 2 else tuple(range(axes - 1))


class AdaptiveClip(ClippingRule):
    """Adaptive gradient clipping (Brock et al. 2021)."""

    mode: Literal["agc"] = Field(
        default="agc", description="Each unit's gradient is held to `threshold` times the norm of that unit's weights."
    )
    threshold: Positive = Field(default=0.01, description="Largest norm of a unit's gradient over that of its weights.")
    epsilon: Positive = Field(default=1e-3, description="Norm that a unit's weights count as at least.")
    layers: LayerThresholds = Field(default={}, description=LAYERS)

    place = 5
    scope = EACH_UNIT
    in_words = InWords(
        bound="norm of each unit's gradient at most t * max(norm(its weights), epsilon)",
        formula="as clipnorm, by unit",
        infinite="becomes NaN, the rest of its {part} 0",
        nan="its {part} becomes NaN",
    )

    def apply(self, now: Situation, xp: Any) -> Clipped:
        clipped, excesses = [], []
        for gradient, weight, threshold in zip(now.gradients, now.weights, now.thresholds, strict=True):
            axis = units(len(gradient.shape))
            length = Length([gradient], xp, axis)
            bound = xp.clip(Length([weight], xp, axis).norm, self.epsilon, math.inf) * threshold
            clipped += shortened([gradient], bound, length, xp)
            excesses.append(xp.amax(length.norm / bound))
        return Clipped(clipped, xp.amax(xp.stack(excesses)))

    def acts(self, steps: UnclippedSteps) -> BoolArray:
        return steps.unit_ratio > self.threshold

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls()
        reason = (
            "nine steps in ten have no ratio above it, and weights near 0, as biases are at first, have the largest; the paper's "
            f"{usual.threshold:g} would act on {usual.acts(steps).mean():.0%}"
        )
        return Choice({"threshold": steps.ninth_tenth(steps.unit_ratio)}, reason)
