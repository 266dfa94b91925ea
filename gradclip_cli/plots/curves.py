"""Draws an arm's curve into axes: its single runs, its interval, what stands for all runs, and where runs diverged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.panels import Curve, Panel
from gradclip_cli.plots.ranges import NEAR
from gradclip_cli.plots.style import draw_line, known, set_log_limits, whole_numbers

MOST_RUNS = 300
"""Beyond so many runs of an arm, single ones can't be seen beside their interval."""
RUNS_INK = 2.0
"""How dark all single runs of an arm are together where they lie on each other: 1 covers all."""
FAINTEST, DARKEST = 0.012, 0.35
"""A single run's opacity at least, which is still seen, and at most."""


@dataclass(frozen=True)
class Look:
    """How one arm is drawn and named in all panels."""

    label: str
    line: dict[str, Any]
    """Its line's style, as matplotlib takes it."""
    weight: float = 1.0
    """How wide its lines are and how large its marks, as a multiple of a screen's."""

    @property
    def colour(self) -> str:
        return str(self.line["color"])


def draw_curve(axes: Axes, panel: Panel, curve: Curve, look: Look, *, whole: bool = True) -> None:
    """Draw an arm, the `whole` of it with its single runs and its interval; the axes' limits must be final."""
    if whole:
        _draw_runs(axes, panel, curve, look)
    _draw_middle(axes, panel, curve, look, band=whole)
    _draw_crosses(axes, panel, curve, look, 9 if whole else 6)


def _draw_runs(axes: Axes, panel: Panel, curve: Curve, look: Look) -> None:
    """Draw single runs as thin lines, the more the fainter, where there are several and no peaks stand for them."""
    if 1 < len(curve.values) <= MOST_RUNS and curve.peaks is None:
        lines = [np.column_stack([curve.x, values]) for values in panel.shown(curve.values)]
        alpha = max(FAINTEST, min(DARKEST, RUNS_INK / len(lines)))
        style: dict[str, Any] = {"colors": look.colour, "linewidths": 0.7 * look.weight, "alpha": alpha, "zorder": 1.55}
        axes.add_collection(LineCollection(lines, **style), autolim=False)


def _draw_middle(axes: Axes, panel: Panel, curve: Curve, look: Look, *, band: bool) -> None:
    """Draw what stands for all runs, with its peaks and its band."""
    middle = panel.middle(curve)
    if curve.peaks is not None:
        thin: dict[str, Any] = {"color": look.colour, "linestyle": look.line["linestyle"], "alpha": 0.75}
        axes.plot(curve.x, panel.shown(curve.peaks), linewidth=0.9 * look.weight, **thin)
    if band and curve.band is not None and np.isfinite(curve.band[0]).any():
        _draw_band(axes, panel, curve, look)
    style = look.line if len(curve.x) > 1 else {**look.line, "marker": look.line.get("marker", "o")}
    draw_line(axes, curve.x, middle, linewidth=2 * look.weight, clip_on=panel.may_reach_beyond(middle), **style)


def _draw_band(axes: Axes, panel: Panel, curve: Curve, look: Look) -> None:
    """Draw the interval with its edges, above all single runs. One of two runs covers nearly everything, and is hardly seen."""
    assert curve.band is not None
    low, high = (np.clip(panel.shown(edge), *panel.bounds) for edge in curve.band)
    inside, edges = (0.2, 0.6) if len(curve.values) > 2 else (0.07, 0.0)
    axes.fill_between(curve.x, low, high, color=look.colour, alpha=inside, linewidth=0, zorder=1.6)
    for edge in (low, high) if edges else ():
        axes.plot(curve.x, edge, color=look.colour, alpha=edges, linewidth=0.6 * look.weight, zorder=1.7)


def _draw_crosses(axes: Axes, panel: Panel, curve: Curve, look: Look, size: float) -> None:
    """Mark where runs diverged, each on its curve; at the bottom edge where it has none."""
    style: dict[str, Any] = {"marker": "X", "markersize": size * look.weight, "color": look.colour}
    style |= {"markeredgecolor": "white", "markeredgewidth": look.weight, "linestyle": "none", "zorder": 5}
    upon, edge = [], []
    for values, diverged in zip(panel.shown(curve.values), curve.diverged, strict=True):
        if diverged is None:
            continue
        there = known(values[min(int(np.searchsorted(curve.x, diverged)), len(curve.x) - 1) :][:1])
        height = there if len(there) else known(values)[-1:]
        upon += [(diverged, float(height[0]))] if len(height) else []
        edge += [] if len(height) else [(diverged, 0.02)]
    if upon:
        axes.plot(*zip(*upon, strict=True), clip_on=panel.may_reach_beyond(np.array(upon)[:, 1]), **style)
    if edge:
        axes.plot(*zip(*edge, strict=True), transform=axes.get_xaxis_transform(), **style)


def limit_values(axes: Axes, panel: Panel) -> None:
    """Make the y axis hold runs and middles, bands and thresholds as far as these leave the curves room; nothing impossible."""
    values = np.clip(known(np.concatenate(list(_must_be_seen(panel)))), *panel.bounds)
    thresholds = known(np.array([threshold for threshold, _ in panel.curves_by_threshold()], dtype=float))
    if panel.log:
        low, high = (values.min(), values.max()) if len(values) else (1.0, 10.0)
        near = thresholds[(thresholds >= low / NEAR) & (thresholds / NEAR <= high)]
        set_log_limits(axes, near.min(initial=low), near.max(initial=high))
    elif len(values):
        low, high = float(values.min()), float(values.max())
        room = high / 2 - low / 2 or 0.05 * abs(high) or 0.5  # halved first, or it might overflow
        bands = [edge for curve in panel.curves if curve.band is not None for edge in curve.band]
        others = known(np.concatenate([thresholds, *bands]))
        low, high = min(low, max(others.min(initial=low), low - room)), max(high, min(others.max(initial=high), high + room))
        axes.set_ylim(max(panel.bounds[0], low - room / 8), min(panel.bounds[1], high + room / 8))
    else:
        axes.set_ylim(max(0.0, panel.bounds[0]), min(1.0, panel.bounds[1]))


def _must_be_seen(panel: Panel) -> Iterator[FloatArray]:
    """What the y axis must hold: middles, runs and peaks, those beside the panel too."""
    yield from (panel.middle(curve) for curve in panel.curves)
    for curve in (*panel.curves, *panel.beside):
        yield panel.shown(curve.values.ravel())
        if curve.peaks is not None:
            yield panel.shown(curve.peaks)


def limit_epochs(axes: Axes, panels: Sequence[Panel], ticks: int = 6) -> None:
    """Make the axis of epochs, which these panels share, hold all lines and crosses, with whole numbers on it."""
    lines = [curve.x for panel in panels for curve in panel.curves]
    crosses = [epoch for panel in panels for curve in panel.curves for epoch in curve.diverged if epoch is not None]
    last = max(1.0, float(np.concatenate([*lines, crosses]).max(initial=0)))
    axes.set_xlim(-0.04 * last, 1.04 * last)
    axes.xaxis.set_major_locator(whole_numbers(ticks))


def is_within(axes: Axes, value: float) -> bool:
    """Whether the y axis holds a value."""
    low, high = axes.get_ylim()
    return bool(low <= value <= high)
