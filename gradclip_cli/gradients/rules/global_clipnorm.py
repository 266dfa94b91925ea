"""Clipping by the joint norm: one factor for all gradients, so that their common direction is kept.

Keras's own differs in two places: an infinite element turns everything into NaN, and so does a squared norm of finite
gradients that overflows float32.

Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps

WORKING_MULTIPLES = (0.5, 10.0)
"""Of the mean norm: what Pascanu et al. 2013 report to work."""


class GlobalClipNorm(ClippingRule):
    """Clipping by the joint norm."""

    mode: Literal["global_clipnorm"] = Field(
        default="global_clipnorm",
        description="All gradients are rescaled by one factor where their joint norm exceeds `threshold`.",
    )
    threshold: Positive = Field(description="Largest L2 norm of all gradients together.")

    place: ClassVar = 3
    scope: ClassVar = ALL_TOGETHER
    in_words: ClassVar = InWords(
        bound="norm of all gradients together at most t",
        formula="g * t / max(norm(all), t)",
        infinite="becomes NaN, everything else 0",
        nan="everything becomes NaN",
    )
    keras_argument: ClassVar = "global_clipnorm"
    pytorch_function: ClassVar = "clip_grad_norm_"

    def apply(self, now: Situation, xp: Any) -> Clipped:
        return Clipped(shortened(now.gradients, self.threshold, Length(now.gradients, xp), xp))

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        mean = float(steps.joint_norm.mean())
        low, high = (steps.rounded(multiple * mean) for multiple in WORKING_MULTIPLES)
        reason = f"the mean norm; Pascanu et al. 2013 found 0.5 to 10 times it to work: {low:g} to {high:g}"
        return Choice({"threshold": steps.rounded(mean)}, reason)
