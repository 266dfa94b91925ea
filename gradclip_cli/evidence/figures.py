"""Comparisons as pictures: arms to curves and panels, paired differences to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.evidence.metrics import SHARES as SHARE_METRICS
from gradclip_cli.evidence.metrics import in_words
from gradclip_cli.evidence.samples import typical_curve
from gradclip_cli.runs.csv_files import EVALUATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import Curve, DifferenceRow, Panel

SHARES, NOT_NEGATIVE, ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)  # what values are possible


def pairs_figure(comparison: Comparison) -> Figure:
    """The figure of the paired differences."""
    from gradclip_cli import plots

    most = comparison.metric.unit.most
    return plots.differences_figure(difference_axis(comparison), difference_rows(comparison), (-most, most))


def difference_axis(comparison: Comparison) -> str:
    """The x axis of the differences' figure."""
    metric = comparison.metric
    better = "right" if metric.higher_is_better else "left"
    told = "; ".join(filter(None, [metric.unit.name, f"better to the {better}"]))
    return f"difference in {metric.title} from {comparison.baseline.arm.name} ({told})"


def difference_rows(comparison: Comparison) -> list[DifferenceRow]:
    """The rows of the differences' figure."""
    from gradclip_cli.plots import DifferenceRow

    return [
        DifferenceRow(report.arm.name, against.differences, against.typical, against.low, against.high, against.mean)
        for report in comparison.others
        if (against := report.against)
    ]


def panels(comparison: Comparison) -> list[Panel]:
    """The panels of the comparison's figure, in pairs: scored losses and metrics by epoch, gradients by step.

    Losses of another kind than the baseline's have no place on its axis: arms that are trained by one are not drawn there.
    """
    comparison = comparison if comparison.gradients else with_gradients(comparison)
    arms = [report.arm for report in comparison.arms]
    alike = [arm for arm in arms if arm.config.loss == arms[0].config.loss]
    of_whom = ", of arms with the baseline's loss" if len(alike) < len(arms) else ""
    found = _score_panels("loss", alike, arms[0].config.loss.unit, of_whom)
    for name in dict.fromkeys(name for arm in arms for name in arm.metrics):
        have = [arm for arm in arms if name in arm.metrics]
        of_whom = ", of arms that have it" if len(have) < len(arms) else ""
        found += _score_panels(name, have, "share correct" if name in SHARE_METRICS else in_words(name), of_whom)
    return [*found, *_gradient_panels(comparison)]


def _score_panels(name: str, arms: Sequence[Arm], unit: str, of_whom: str) -> list[Panel]:
    """Two panels of a loss or metric of these arms: over the steps, and on the evaluation split."""
    from gradclip_cli.plots import Panel

    splits = {name: "Training", f"{EVALUATED}{name}": arms[0].evaluation_split.capitalize()}
    found = []
    for column, split in splits.items():
        curves = [_scored(arm, column) for arm in arms]
        negative = any(bool((curve.values < 0).any()) for curve in curves)
        bounds = SHARES if name in SHARE_METRICS else ANY if negative else NOT_NEGATIVE
        found.append(Panel(f"{split} {in_words(name)}{of_whom}", unit, curves, bounds=bounds))
    return found


def _gradient_panels(comparison: Comparison) -> list[Panel]:
    from gradclip_cli.plots import Curve, Panel

    norms, shares, thresholds = [], [], {}
    for arm in [report.arm for report in comparison.arms]:
        bins, ends = comparison.gradients[arm.name], _ends(arm)
        norms.append(Curve(arm.name, bins.middles, bins.median_norm, ends, bins.largest_norm))
        shares.append(Curve(arm.name, bins.middles, bins.clipped, ends))
        if arm.config.threshold is not None and arm.config.clipping.measured:
            thresholds[arm.name] = (arm.config.threshold, arm.config.clipping.scope.name)
    title = "Gradient norm before clipping: median and largest"
    return [
        Panel(title, "global L2 norm", norms, log=True, thresholds=thresholds),
        Panel("Clipped steps", "share of steps", shares, bounds=SHARES),
    ]


def _scored(arm: Arm, column: str) -> Curve:
    """A column by epoch: what is measured at an epoch's end stands there, a mean over its steps at its middle."""
    from gradclip_cli.plots import Curve

    ends = np.arange(1.0, arm.config.training.epochs + 1)
    values = arm.scored(column)
    places = ends if column.startswith(EVALUATED) and column not in arm.metrics else ends - 0.5
    if not np.isfinite(values).all():
        return Curve(arm.name, places, values, _ends(arm))
    typical, low, high = typical_curve(values)
    return Curve(arm.name, places, values, _ends(arm), middle=typical, band=(low, high))


def _ends(arm: Arm) -> list[float | None]:
    """Where each run diverged, in epochs; None where it didn't."""
    return [run.metadata["steps"] / run.config.training.steps_per_epoch if run.diverged else None for run in arm.runs]
