"""What one run's picture is made of: its gradients before and after clipping, its updates and its loss, in bins of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradclip_cli.arrays import FloatArray


@dataclass(frozen=True)
class Applied:
    """What clipping left, in B bins of steps; NaN where there is nothing finite."""

    median_norm: FloatArray
    """(B,) median global L2 norm after clipping."""
    largest_norm: FloatArray
    """(B,) largest global L2 norm after clipping."""
    variables: Mapping[str, FloatArray]
    """By variable: (B,) mean after clipping, of what `GradientTrace.variables` has before."""
    clipped: Mapping[str, float] = field(default_factory=dict)
    """By variable: the share of all steps on which its gradient was clipped, 0 to 1; empty where it isn't known."""


@dataclass(frozen=True)
class Updates:
    """What the optimizer added to the weights, in B bins of steps; NaN where there is nothing finite."""

    median_norm: FloatArray
    """(B,) median L2 norm over all variables together."""
    largest_norm: FloatArray
    """(B,) largest of the same."""


@dataclass(frozen=True)
class GradientTrace:
    """One run's gradients in B >= 1 bins of steps, in order; NaN where there is nothing finite."""

    title: str
    steps: FloatArray
    """(B,) middle step of each bin, from 1."""
    median_norm: FloatArray
    """(B,) median global L2 norm before clipping."""
    largest_norm: FloatArray
    """(B,) largest global L2 norm before clipping."""
    variables: Mapping[str, FloatArray]
    """By variable: (B,) mean L2 norm of its gradient before clipping, or of its largest absolute element."""
    clipped: FloatArray
    """(B,) share of clipped steps, 0 to 1."""
    loss: FloatArray
    """(B,) median loss."""
    largest_loss: FloatArray
    """(B,) largest loss."""
    spikes: Sequence[tuple[int, float]]
    """Step and global norm of steps far above the running median; the norm may be infinite or NaN."""
    diverged: int | None
    """Step at which the run ended in NaN or infinity."""
    thresholds: Mapping[str, float]
    """By what it bounds ("all together", "each variable", "each element", or a variable's name): the threshold."""
    steps_per_epoch: int
    applied: Applied | None = None
    """What clipping left; None for a run that didn't clip."""
    updates: Updates | None = None
    """None where the run didn't record them."""
    of_elements: bool = False
    """Whether `variables` tells of the largest elements, not of the norms: of what the threshold bounds."""
