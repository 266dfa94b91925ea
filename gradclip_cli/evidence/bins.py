"""An arm's steps in bins: its gradients over time, as the pictures want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray, IntArray
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import Arm, StoredRun
from gradclip_cli.gradients.health import cut_shares

BINS = 50


@dataclass(frozen=True)
class StepBins:
    """An arm's gradients in bins of steps, for B bins; NaN where nothing is known."""

    middles: FloatArray
    """(B,) in epochs."""
    median_norm: FloatArray
    """(seeds, B) median gradient norm of each run."""
    largest_norm: FloatArray
    """(B,) largest gradient norm of any run."""
    clipped: FloatArray
    """(seeds, B) share of clipped steps of each run."""
    median_applied: FloatArray
    """(seeds, B) median norm of what clipping left in each run; unknown without `steps.csv`."""
    largest_applied: FloatArray
    """(B,) largest norm of what clipping left in any run."""
    cut: FloatArray
    """(seeds, B) mean share of the norm that clipping took off each run's clipped steps."""
    warnings: tuple[str, ...] = ()
    """Runs whose `steps.csv` can't be read, with the reason; their rows hold NaN."""


def step_bins(arm: Arm) -> StepBins:
    """Bin an arm's `steps.csv`; where a run has none, its epoch columns stand in. One that can't be read is left out."""
    total = arm.epochs * arm.steps_per_epoch
    bins = min(BINS, total)
    middles = (np.arange(bins) + 0.5) * arm.epochs / bins
    binned = {name: np.full((len(arm.runs), bins), np.nan) for name in _BINNED}
    warnings = []
    for index, run in enumerate(arm.runs):
        try:
            found = _binned_steps(run, bins, total) if run.directory.has("steps.csv") else _binned_epochs(run, middles)
        except StoreError as error:
            warnings.append(f"steps left out of the picture: {error}")
            continue
        for name, (there, values) in found.items():
            binned[name][index, there] = values
    largest = {name: np.fmax.reduce(binned.pop(name)) for name in ("largest_norm", "largest_applied")}
    return StepBins(middles=middles, warnings=tuple(warnings), **binned, **largest)


_BINNED = ("median_norm", "largest_norm", "clipped", "median_applied", "largest_applied", "cut")


def _binned_steps(run: StoredRun, bins: int, total: int) -> dict[str, tuple[IntArray, FloatArray]]:
    """By quantity: which bins a run's `steps.csv` reaches, and the quantity there. Raises StoreError."""
    steps = run.directory.steps(["step", "grad_norm", "applied_norm", "clipped"])
    steps["cut"] = cut_shares(steps["grad_norm"].to_numpy(), steps["applied_norm"].to_numpy(), steps["clipped"].to_numpy(bool))
    groups = steps.groupby((steps["step"] - 1) * bins // total)
    there = groups["step"].first().index.to_numpy()
    found = (
        groups["grad_norm"].median(),
        groups["grad_norm"].max(),
        groups["clipped"].mean(),
        groups["applied_norm"].median(),
        groups["applied_norm"].max(),
        groups["cut"].mean(),
    )
    return {name: (there, column.to_numpy(float)) for name, column in zip(_BINNED, found, strict=True)}


def _binned_epochs(run: StoredRun, middles: FloatArray) -> dict[str, tuple[IntArray, FloatArray]]:
    """The same from the columns of `metrics.csv`: what clipping left isn't among them, unless nothing was clipped."""
    there = np.flatnonzero(middles < len(run.metrics))
    epochs = middles[there].astype(int)
    columns = ("grad_norm_median", "grad_norm_max", "clipped_fraction", "grad_norm_median", "grad_norm_max")
    known = columns if run.config.clipping.mode == "none" else columns[:3]
    return {name: (there, run.metrics[column][epochs]) for name, column in zip(_BINNED, known, strict=False)}
