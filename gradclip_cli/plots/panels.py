"""What one pair of axes holds: a curve an arm, the thresholds, and which of their values the axes can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.style import finite, known, positive


@dataclass(frozen=True)
class Curve:
    """One arm's runs: x (E,), values (runs, E) with NaN where a run has none; where each run diverged, in x."""

    name: str
    x: FloatArray
    values: FloatArray
    diverged: Sequence[float | None]
    peaks: FloatArray | None = None
    """(E,) largest value in each bin, drawn as a thin line above."""
    band: tuple[FloatArray, FloatArray] | None = None
    """95% interval of the middle, two (E,)."""
    middle: FloatArray | None = None
    """(E,) what stands for all runs; their mean where it isn't given."""
    absent: str = "nothing finite"
    """Why there is nothing to draw, where there is nothing finite."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a title, the y axis's unit, and a curve an arm."""

    title: str
    unit: str
    curves: Sequence[Curve]
    log: bool = False
    thresholds: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """By curve: the threshold, and what it bounds; these and no others are drawn."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """What values are possible: neither axis nor band goes beyond."""
    beside: Sequence[Curve] = ()
    """Curves of another panel that has the same scale: the y axis holds them too."""
    name: str = ""
    """What it can be asked for by."""
    short: str = ""
    """Its title where room is scarce, with what its values are; the title and the unit where it isn't given."""

    @property
    def label(self) -> str:
        """What the y axis of a panel without a title says."""
        return self.short or f"{self.title} ({self.unit})"

    def shown(self, values: FloatArray) -> FloatArray:
        """What the panel's scale can show, NaN elsewhere."""
        return positive(values) if self.log else finite(values)

    def middles(self) -> dict[str, FloatArray]:
        """By curve: what stands for all runs, as far as it can be shown, (E,)."""
        return {curve.name: self.middle(curve) for curve in self.curves}

    def middle(self, curve: Curve) -> FloatArray:
        """What stands for all runs of one of its curves, as far as it can be shown, (E,)."""
        return self.shown(_mean(finite(curve.values)) if curve.middle is None else curve.middle)

    def without_line(self) -> dict[str, str]:
        """The curves that have no value to draw, each with the reason."""
        return {
            curve.name: "all zero" if (curve.values == 0).any() else curve.absent
            for curve in self.curves
            if not np.isfinite(self.shown(curve.values)).any()
        }

    def may_reach_beyond(self, values: FloatArray) -> bool:
        """Whether some value may lie outside the axes. Where none does, a line along their edge is drawn in its whole width."""
        there = known(values)
        return self.log or bool(((there < self.bounds[0]) | (there > self.bounds[1])).any())

    def curves_by_threshold(self) -> dict[tuple[float, str], list[str]]:
        """The curves of each threshold and what it bounds, the largest threshold first."""
        found: dict[tuple[float, str], list[str]] = {}
        for curve in self.curves:
            if curve.name in self.thresholds:
                found.setdefault(self.thresholds[curve.name], []).append(curve.name)
        return dict(sorted(found.items(), reverse=True))


def _mean(values: FloatArray) -> FloatArray:
    """The mean over runs of what is known, (E,); divided first, since a sum might overflow."""
    counts = np.maximum(1, np.isfinite(values).sum(axis=0))
    mean: FloatArray = np.where(np.isfinite(values), values / counts, 0).sum(axis=0)
    return np.where(np.isfinite(values).any(axis=0), mean, np.nan)
