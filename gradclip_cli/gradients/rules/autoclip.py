"""Clipping at a percentile of the norms so far. It learns nothing from a norm that is not finite.

Source: Seetharaman, Wichern, Pardo and Le Roux 2020, "AutoClip: adaptive gradient clipping for source separation networks".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients import window
from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.replay import RuleWithMemory
from gradclip_cli.gradients.scopes import ALL_TOGETHER

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class AutoClip(RuleWithMemory):
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
        memory = window.remembered(now.memory, length.norm, xp)
        threshold = window.percentile(memory, self.percentile, xp)
        excess = length.norm / xp.where(threshold > 0, threshold, xp.ones_like(threshold))
        return Clipped(shortened(now.gradients, threshold, length, xp), excess, memory)

    def memory(self, variables: int) -> dict[str, Array]:
        """An empty memory of the last norms."""
        return window.empty(self.window)

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls().percentile
        reason = f"the {usual:g}th percentile of the norms so far, which Seetharaman et al. 2020 found best; it adapts"
        return Choice({"percentile": usual}, reason)

    @property
    def label(self) -> str:
        return f"{self.mode} {self.percentile:g}%"
