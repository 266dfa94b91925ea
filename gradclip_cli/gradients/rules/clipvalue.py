"""Clipping by value: each element within plus or minus the threshold. This changes the gradient's direction.

Source: Mikolov 2012, "Statistical language models based on neural networks".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import LAYERS, Choice, Clipped, ClippingRule, InWords, LayerThresholds, Situation
from gradclip_cli.gradients.scopes import EACH_ELEMENT
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class ClipValue(ClippingRule):
    """Clipping by value."""

    mode: Literal["clipvalue"] = Field(
        default="clipvalue", description="Every gradient element is cut to [-threshold, threshold]."
    )
    threshold: Positive = Field(description="Largest absolute value of a gradient element.")
    layers: LayerThresholds = Field(default={}, description=LAYERS)

    place: ClassVar = 1
    scope: ClassVar = EACH_ELEMENT
    in_words: ClassVar = InWords(
        bound="each element within [-t, t]",
        formula="min(max(g, -t), t)",
        infinite="becomes the threshold with its sign: the explosion is hidden from the weights",
        nan="stays, alone",
    )
    keras_argument: ClassVar = "clipvalue"
    pytorch_function: ClassVar = "clip_grad_value_"

    def apply(self, now: Situation, xp: Any) -> Clipped:
        return Clipped([xp.clip(g, -t, t) for g, t in zip(now.gradients, now.thresholds, strict=True)])

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        threshold = steps.ninth_tenth(steps.max_abs.max(axis=1))
        return Choice({"threshold": threshold}, "nine steps in ten have no element above it")
