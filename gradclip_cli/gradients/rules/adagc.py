"""Clipping each variable at a multiple of the running mean of its own clipped norms.

During the warm-up all variables are clipped by their joint norm, and each one's running mean is the smallest norm that it had
after that; zero, which would bound it by nothing for good, doesn't count. A variable learns nothing from a norm that is not
finite, and during the warm-up none does if another one's is not.

The defaults, a multiple of 1.05 and a smoothing of 0.98, are those that implementations for PyTorch share; the authors' code
(github.com/lishuai-97/AdaGC) has 1.04 and 0.99, and adds 1e-6 to the norms that it divides by.

Source: Wang et al. 2025, "AdaGC: improving training stability for large language model pretraining".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Choice, Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.lengths import Length, shortened
from gradclip_cli.gradients.replay import RuleWithMemory
from gradclip_cli.gradients.scopes import EACH_VARIABLE
from gradclip_cli.sections import Positive

if TYPE_CHECKING:
    from gradclip_cli.arrays import Array
    from gradclip_cli.gradients.unclipped_steps import UnclippedSteps


class AdaGC(RuleWithMemory):
    """Clipping each variable at a multiple of its own running norm (Wang et al. 2025)."""

    mode: Literal["adagc"] = Field(
        default="adagc", description="As clipnorm, with a multiple of the variable's own running norm as threshold."
    )
    multiple: Positive = Field(default=1.05, description="Largest norm of a variable's gradient over its running norm.")
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.98, description="What a running norm keeps of itself on a step, 0 to 1."
    )
    warmup: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=100, description="First steps: clipped by the joint norm, while each running norm begins with the smallest one."
    )
    warmup_threshold: Positive = Field(default=1.0, description="Largest joint norm during the warm-up.")

    place = 9
    scope = EACH_VARIABLE
    in_words = InWords(
        bound="norm of each variable's gradient at most m * the running mean of its clipped norms",
        formula="as clipnorm; as global_clipnorm during the warm-up",
        infinite="becomes NaN, the rest of its {part} 0 (during the warm-up everything else)",
        nan="its {part} becomes NaN (during the warm-up everything)",
    )
    label_keys = ClippingRule.label_keys | {"multiple"}

    def apply(self, now: Situation, xp: Any) -> Clipped:
        together, each = Length(now.gradients, xp), [Length([gradient], xp) for gradient in now.gradients]
        norms, bounds = xp.stack([length.norm for length in each]), self.multiple * now.memory["norms"]
        warming = now.memory["count"] < self.warmup
        jointly = shortened(now.gradients, self.warmup_threshold, together, xp)
        alone = [
            shortened([gradient], bounds[index], length, xp)[0]
            for index, (gradient, length) in enumerate(zip(now.gradients, each, strict=True))
        ]
        gradients = [xp.where(warming, *both) for both in zip(jointly, alone, strict=True)]
        joint_excess = together.norm / self.warmup_threshold
        own_excess = norms / xp.where(bounds > 0, bounds, xp.ones_like(bounds))
        largest = xp.amax(xp.where(xp.isnan(own_excess), xp.zeros_like(own_excess), own_excess))
        memory = self._learned(now, norms, joint_excess, xp)
        return Clipped(gradients, xp.where(warming, joint_excess, largest), memory)

    def _learned(self, now: Situation, norms: Any, joint_excess: Any, xp: Any) -> dict[str, Any]:
        """The running norms and the count of steps after one more, from the norms before clipping, (V,)."""
        known, count = now.memory["norms"], now.memory["count"]
        shrunk = norms / xp.clip(joint_excess, 1, math.inf)
        usable = xp.logical_and(xp.isfinite(joint_excess), shrunk > 0)
        smallest = xp.where(usable, xp.minimum(known, shrunk), known)
        averaged = self._averaged(known, norms, xp)
        return {
            "norms": xp.where(count < self.warmup, smallest, averaged),
            "count": xp.where(xp.isfinite(joint_excess), count + 1, count),
        }

    def _averaged(self, known: Any, norms: Any, xp: Any) -> Any:
        """The running norms with those of a step after the warm-up; the first one of a variable is its mean so far."""
        clipped = xp.minimum(norms, self.multiple * known)
        average = xp.where(xp.isfinite(known), self.smoothing * known + (1 - self.smoothing) * clipped, norms)
        return xp.where(xp.logical_and(xp.isfinite(norms), average > 0), average, known)

    def memory(self, variables: int) -> dict[str, Array]:
        """No variable has a running norm yet: infinite."""
        import numpy as np  # only here: a config is read without it

        return {"norms": np.full(variables, np.inf, np.float32), "count": np.zeros((), np.int32)}

    @classmethod
    def choice(cls, steps: UnclippedSteps) -> Choice:
        usual = cls()
        reason = (
            f"{usual.multiple:g} times each variable's own running norm, as Wang et al. 2025 train with; it adapts, after "
            f"{usual.warmup} steps with a joint norm of at most {usual.warmup_threshold:g}"
        )
        return Choice({"multiple": usual.multiple}, reason)

    @property
    def label(self) -> str:
        return f"{self.mode} {self.multiple:g}"
