"""Clipping by norm, each variable by itself: a gradient that is longer than the threshold keeps its direction only.

Keras's own differs in one place: where the squared norm of a finite gradient overflows float32, it gives 0.

Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks"; the scope is Keras's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import LAYERS, Choice, Clipped, ClippingRule, InWords, LayerThresholds, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.scopes import EACH_VARIABLE
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class ClipNorm(ClippingRule):
    """Clipping by norm, each variable by itself."""

    mode: Literal["clipnorm"] = Field(
        default="clipnorm", description="Each variable's gradient is rescaled to norm `threshold` where it is longer."
    )
    threshold: Positive = Field(description="Largest L2 norm of one variable's gradient.")
    layers: LayerThresholds = Field(default={}, description=LAYERS)

    place: ClassVar = 2
    scope: ClassVar = EACH_VARIABLE
    in_words: ClassVar = InWords(
        bound="norm of each variable's gradient at most t",
        formula="g * t / max(norm(g), t)",
        infinite="becomes NaN, the rest of its {part} 0",
        nan="its {part} becomes NaN",
    )
    keras_argument: ClassVar = "clipnorm"
    pytorch_function: ClassVar = "clip_grad_norm_"

    def apply(self, now: Situation, xp: Any) -> Clipped:
        pairs = zip(now.gradients, now.thresholds, strict=True)
        return Clipped([shortened([g], t, Length([g], xp), xp)[0] for g, t in pairs])

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        threshold = steps.rounded(float(steps.norm.max(axis=1).mean()))
        return Choice({"threshold": threshold}, "the mean norm of each step's largest variable")
