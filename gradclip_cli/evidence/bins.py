"""An arm's steps in bins: its gradients over time, as the pictures want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import Arm

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
    warnings: tuple[str, ...] = ()
    """Runs whose `steps.csv` can't be read, with the reason; their rows hold NaN."""


def step_bins(arm: Arm) -> StepBins:
    """Bin an arm's `steps.csv`; where a run has none, its epoch columns stand in. One that can't be read is left out."""
    training = arm.config.training
    total = training.epochs * training.steps_per_epoch
    bins = min(BINS, total)
    middles = (np.arange(bins) + 0.5) * training.epochs / bins
    median, largest, clipped = np.full((3, len(arm.runs), bins), np.nan)
    warnings = []
    for index, run in enumerate(arm.runs):
        if run.directory.has("steps.csv"):
            try:
                steps = run.directory.steps(["step", "grad_norm", "clipped"])
            except StoreError as error:
                warnings.append(f"steps left out of the picture: {error}")
                continue
            groups = steps.groupby((steps["step"] - 1) * bins // total)
            there = groups["step"].first().index
            median[index, there] = groups["grad_norm"].median()
            largest[index, there] = groups["grad_norm"].max()
            clipped[index, there] = groups["clipped"].mean()
        else:
            known = middles < len(run.metrics)
            epochs = middles[known].astype(int)
            median[index, known] = run.metrics["grad_norm_median"].to_numpy()[epochs]
            largest[index, known] = run.metrics["grad_norm_max"].to_numpy()[epochs]
            clipped[index, known] = run.metrics["clipped_fraction"].to_numpy()[epochs]
    return StepBins(middles, median, np.fmax.reduce(largest), clipped, tuple(warnings))
