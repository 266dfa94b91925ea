"""Clipping at a multiple of the median of recent norms. It learns nothing from a norm that is not finite.

A step's own norm is not among those whose median bounds it. Norms enter as they were before clipping, so that a lasting change
of scale is no spike for longer than half the window.

Where icefall's ScaledAdam differs: it weighs each gradient by the size of its weights, takes a new median every 100 steps only
(before that at steps 10, 20 and 40, doubled), and turns a gradient that is not finite into zero.

Source: Povey and others, the optimizer ScaledAdam of icefall (github.com/k2-fsa/icefall), whose recipes clip at twice the median
of 100 norms; Yao et al. 2024, "Zipformer: a faster and better encoder for automatic speech recognition", describe the optimizer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients import window
from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.replay import RuleWithMemory
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps

MEDIAN = 50.0


class MedianClip(RuleWithMemory):
    """Clipping at a multiple of the median of recent norms (icefall's ScaledAdam)."""

    mode: Literal["median"] = Field(
        default="median", description="As global_clipnorm, with a multiple of the median of recent joint norms as threshold."
    )
    multiple: Positive = Field(default=2.0, description="Largest joint norm over that median; 10 clips only spikes.")
    window: Annotated[int, Field(ge=1, le=100_000)] = Field(default=100, description="Latest steps whose norms count.")

    place = 7
    scope = ALL_TOGETHER
    in_words = InWords(
        bound="joint norm at most m * the median of the norms of earlier steps",
        formula="as global_clipnorm",
        infinite="becomes NaN, everything else 0",
        nan="everything becomes NaN",
    )
    label_keys = ClippingRule.label_keys | {"multiple"}

    def apply(self, now: Situation, xp: Any) -> Clipped:
        length = Length(now.gradients, xp)
        median = window.percentile(now.memory, MEDIAN, xp)
        threshold = self.multiple * xp.where(median > 0, median, xp.full_like(median, math.inf))
        memory = window.remembered(now.memory, length.norm, xp)
        return Clipped(shortened(now.gradients, threshold, length, xp), length.norm / threshold, memory)

    def memory(self, variables: int) -> dict[str, Array]:
        """An empty memory of the last norms."""
        return window.empty(self.window)

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls().multiple
        reason = f"{usual:g} times the recent median, as in icefall's recipes; 10 would clip spikes only; it adapts"
        return Choice({"multiple": usual}, reason)

    @property
    def label(self) -> str:
        return f"{self.mode} {self.multiple:g}"
