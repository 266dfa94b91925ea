"""Leaving out a step whose gradients stand out: the optimizer is not called, and the weights stay as they are.

A step stands out whose joint norm is so many standard deviations above the mean of the recent ones; before half the window has
been seen, none does. The norm of a step that was left out counts among the recent ones, so that a lasting change of scale is
accepted in the end; a norm that is not finite doesn't count, and its step is always left out.

Where OLMo-core differs: it holds the loss to the same rule, leaves out steps whose norm is as far below the mean too, and lets
norms that are not finite into the mean.

Source: the optimizer SkipStepAdamW of OLMo-core (github.com/allenai/OLMo-core), used for OLMo et al. 2025, "2 OLMo 2 Furious".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients import window
from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length
from gradclip_cli.gradients.replay import RuleWithMemory
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class SkipStep(RuleWithMemory):
    """Leaving out steps whose gradients stand out (OLMo-core's SkipStepAdamW)."""

    mode: Literal["skip"] = Field(
        default="skip", description="A step is left out whose joint norm stands out from the recent ones, or is not finite."
    )
    deviations: Positive = Field(default=6.0, description="Standard deviations above the mean of recent norms, at most.")
    window: Annotated[int, Field(ge=4, le=100_000)] = Field(default=128, description="Latest steps whose norms count.")

    place = 10
    scope = ALL_TOGETHER
    in_words = InWords(
        bound="no step whose joint norm is over the mean of earlier norms + n * their standard deviation",
        formula="g, or no step",
        infinite="the step is left out",
        nan="the step is left out",
    )
    skips = True
    label_keys = ClippingRule.label_keys | {"deviations"}

    def apply(self, now: Situation, xp: Any) -> Clipped:
        norm = Length(now.gradients, xp).norm
        excess = xp.where(xp.isfinite(norm), norm / self._bound(now, xp), xp.full_like(norm, math.inf))
        skip = excess > 1
        gradients = [xp.where(skip, xp.zeros_like(gradient), gradient) for gradient in now.gradients]
        return Clipped(gradients, excess, window.remembered(now.memory, norm, xp), skip)

    def _bound(self, now: Situation, xp: Any) -> Any:
        mean, deviation = window.mean_and_deviation(now.memory, xp)
        enough = xp.logical_and(now.memory["count"] >= self.window // 2, mean > 0)
        return xp.where(enough, mean + self.deviations * deviation, xp.full_like(mean, math.inf))

    def memory(self, variables: int) -> dict[str, Array]:
        """An empty memory of the last norms."""
        return window.empty(self.window)

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls().deviations
        return Choice({"deviations": usual}, f"{usual:g} standard deviations above the recent mean, as OLMo-core does; it adapts")

    @property
    def label(self) -> str:
        return f"{self.mode} {self.deviations:g}"
