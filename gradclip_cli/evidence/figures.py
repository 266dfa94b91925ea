"""Comparisons as pictures: arms to curves and panels, differences to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.evidence.judging import AgainstBaseline
from gradclip_cli.evidence.metrics import SHARES as SHARE_METRICS
from gradclip_cli.evidence.metrics import Metric, in_words
from gradclip_cli.evidence.samples import typical_curve
from gradclip_cli.runs.csv_files import EVALUATED

BEFORE, AFTER, CLIPPED, CUT = "grad_norm", "applied_norm", "clipped", "cut"
"""What panels of gradients can be asked for by; those of losses and metrics by their columns."""

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import Curve, DifferenceRow, Panel

SHARES, NOT_NEGATIVE, ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)  # what values are possible


def pairs_figure(comparison: Comparison) -> Figure:
    """The figure of the differences from the baseline."""
    from gradclip_cli import plots

    most = comparison.metric.unit.most
    axis = difference_axis(comparison.metric, comparison.baseline.arm.name)
    return plots.differences_figure(axis, difference_rows(comparison), (-most, most))


def difference_axis(metric: Metric, baseline: str) -> str:
    """The x axis of a figure of differences."""
    better = "right" if metric.higher_is_better else "left"
    told = "; ".join(filter(None, [metric.unit.name, f"better to the {better}"]))
    return f"difference in {metric.title} from {baseline} ({told})"


def difference_rows(comparison: Comparison) -> list[DifferenceRow]:
    """The rows of the differences' figure."""
    return [
        difference_row(report.arm.name, against, [score - comparison.baseline.typical for score in report.scores])
        for report in comparison.others
        if (against := report.against)
    ]


def difference_row(arm: str, against: AgainstBaseline, from_typical: Sequence[float] = ()) -> DifferenceRow:
    """Each seed's difference; unpaired each run's from what the baseline typically scores."""
    from gradclip_cli.plots import DifferenceRow

    unpaired, differences = against.unpaired, against.differences
    dots = from_typical if differences is None else differences
    runs = unpaired.baseline_runs if unpaired else None
    return DifferenceRow(arm, dots, against.typical, against.low, against.high, against.mean, runs)


def panels(comparison: Comparison) -> list[Panel]:
    """The panels of the comparison's figure, in pairs: scored losses and metrics by epoch, gradients by step.

    The gradients have a row more where it is known of an arm that clips what clipping left.

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


def metric_panel(arms: Sequence[Arm], metric: Metric) -> Panel:
    """The panel of what a metric reads, by epoch, of arms that have it and are trained by one loss."""
    name = metric.column.removeprefix(EVALUATED)
    unit = arms[0].config.loss.unit if name == "loss" else "share correct" if name in SHARE_METRICS else in_words(name)
    found = _score_panels(name, arms, unit, "")
    return found[-1] if metric.column.startswith(EVALUATED) else found[0]


def _score_panels(name: str, arms: Sequence[Arm], unit: str, of_whom: str) -> list[Panel]:
    """Two panels of a loss or metric of these arms: over the steps, and on the evaluation split."""
    from gradclip_cli.plots import Panel

    splits = {name: "Training", f"{EVALUATED}{name}": arms[0].evaluation_split.capitalize()}
    found = []
    for column, split in splits.items():
        if not all(column in arm.columns for arm in arms):
            continue
        curves = [_scored(arm, column) for arm in arms]
        negative = any(bool((curve.values < 0).any()) for curve in curves)
        bounds = SHARES if name in SHARE_METRICS else ANY if negative else NOT_NEGATIVE
        title = f"{split} {in_words(name)}"
        found.append(Panel(f"{title}{of_whom}", unit, curves, bounds=bounds, name=column, short=f"{title}, {unit}"))
    return found


def _gradient_panels(comparison: Comparison) -> list[Panel]:
    """Norms before and after clipping, on one scale and with the thresholds, then on how many steps it acted and how much."""
    from gradclip_cli.plots import Panel

    arms = [report.arm for report in comparison.arms]
    thresholds = {
        arm.name: (arm.config.threshold, arm.config.clipping.scope.name)
        for arm in arms
        if arm.config.threshold is not None and arm.config.clipping.measured
    }
    known = any(np.isfinite(comparison.gradients[arm.name].cut).any() for arm in arms)
    before = _gradient_curves(comparison, "median_norm", "largest_norm")
    after = _gradient_curves(comparison, "median_applied", "largest_applied", absent="not stored") if known else []
    norms = {"before": (BEFORE, before, after), "after": (AFTER, after, before)}
    found = [
        Panel(
            f"Gradient norm {when} clipping: median and largest",
            "global L2 norm",
            curves,
            log=True,
            thresholds=thresholds,
            beside=beside,
            name=name,
            short=f"Gradient norm {when} clipping",
        )
        for when, (name, curves, beside) in norms.items()
        if curves
    ]
    clipped = _gradient_curves(comparison, "clipped")
    found.append(Panel("Clipped steps", "share of steps", clipped, bounds=SHARES, name=CLIPPED, short="Share of steps clipped"))
    if known:
        cut = _gradient_curves(comparison, "cut", absent="nothing cut")
        title, short = "Cut off the norm, on clipped steps", "Share of the norm cut off, on clipped steps"
        found.append(Panel(title, "share of the norm", cut, bounds=SHARES, name=CUT, short=short))
    return found


def _gradient_curves(
    comparison: Comparison, values: str, peaks: str | None = None, absent: str = "nothing finite"
) -> list[Curve]:
    """A curve an arm, of what its `StepBins` hold under these names."""
    from gradclip_cli.plots import Curve

    found = [(report.arm, comparison.gradients[report.arm.name]) for report in comparison.arms]
    return [
        Curve(
            arm.name,
            bins.middles,
            getattr(bins, values),
            _ends(arm),
            None if peaks is None else getattr(bins, peaks),
            absent=absent,
        )
        for arm, bins in found
    ]


def _scored(arm: Arm, column: str) -> Curve:
    """A column by epoch: what is measured at an epoch's end stands there, a mean over its steps at its middle."""
    from gradclip_cli.plots import Curve

    ends = np.arange(1.0, arm.epochs + 1)
    values = arm.scored(column)
    places = ends if column.startswith(EVALUATED) and column not in arm.metrics else ends - 0.5
    if not np.isfinite(values).all():
        return Curve(arm.name, places, values, _ends(arm))
    typical, low, high = typical_curve(values)
    return Curve(arm.name, places, values, _ends(arm), middle=typical, band=(low, high))


def _ends(arm: Arm) -> list[float | None]:
    """Where each run diverged, in epochs; None where it didn't."""
    return [run.metadata["steps"] / run.config.training.steps_per_epoch if run.diverged else None for run in arm.runs]
