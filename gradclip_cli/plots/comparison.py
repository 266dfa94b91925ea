"""Arms compared: their curves side by side, and their paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from gradclip_cli.plots.style import COLOURS, DASHES, FloatArray, LineEnd, logarithmic, name_lines, styled


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
    """95% interval of the mean, two (E,)."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a title, the y axis's unit, and a curve an arm."""

    title: str
    unit: str
    curves: Sequence[Curve]
    log: bool = False
    thresholds: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """By curve: the threshold, and what it bounds."""


@dataclass(frozen=True)
class DifferenceRow:
    """One arm's paired differences, a value a seed, their mean and its interval (infinite where there is none)."""

    name: str
    differences: Sequence[float]
    mean: float
    low: float
    high: float


def comparison_figure(panels: Sequence[Panel]) -> Figure:
    """Draw six panels, two by two by two: losses, accuracies, gradients."""
    with styled():
        figure = Figure(figsize=(12, 11))
        longest = max((len(curve.name) for panel in panels for curve in panel.curves), default=0)
        room = min(0.3, 0.03 + 0.0075 * longest)  # for the names beside the lines
        figure.subplots_adjust(left=0.075, right=0.99 - room, bottom=0.055, top=0.96, hspace=0.32, wspace=0.16 + 3 * room)
        drawn = [
            (axes, draw_panel(axes, panel)) for axes, panel in zip(figure.subplots(3, 2, sharex=True).flat, panels, strict=True)
        ]
        figure.draw_without_rendering()  # Only then are the axes' limits final.
        for axes, ends in drawn:
            name_lines(axes, ends)
    return figure


def draw_panel(axes: Axes, panel: Panel) -> list[LineEnd]:
    """Draw the mean of each curve, single runs as thin lines, and a cross where a run diverged; return the lines' ends."""
    ends: list[LineEnd] = []
    for index, curve in enumerate(panel.curves):
        colour = COLOURS[index % len(COLOURS)]
        _draw_runs(axes, curve, colour)
        mean = _draw_mean(axes, curve, colour, DASHES[index % len(DASHES)])
        if np.isfinite(mean).any():
            ends.append((float(mean[np.isfinite(mean)][-1]), curve.name, colour))
        else:  # no line to name: every run diverged before its first point
            axes.annotate(curve.name, (0.02, 0.06 + 0.07 * index), xycoords="axes fraction", color=colour, fontsize=10)
    _draw_thresholds(axes, panel)
    _label_axes(axes, panel)
    return ends


MOST_LINES = 100  # Beyond so many runs, single ones can't be seen beside their band.


def _draw_runs(axes: Axes, curve: Curve, colour: str) -> None:
    """Draw single runs as thin lines, where there are several and no peaks stand for them, and where each diverged."""
    if 1 < len(curve.values) <= MOST_LINES and curve.peaks is None:
        lines = [np.column_stack([curve.x, values]) for values in curve.values]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=min(0.35, 3 / len(lines))))
        axes.autoscale_view()
    for values, diverged in zip(curve.values, curve.diverged, strict=True):
        if diverged is not None:
            _cross(axes, curve.x, values, diverged, colour)


def _draw_mean(axes: Axes, curve: Curve, colour: str, dash: Any) -> FloatArray:
    """Draw and return the mean over runs, (E,), with its peaks and its band."""
    if curve.peaks is not None:
        axes.plot(curve.x, curve.peaks, color=colour, linewidth=0.9, alpha=0.6)
    if curve.band is not None and np.isfinite(curve.band[0]).any():
        axes.fill_between(curve.x, *curve.band, color=colour, alpha=0.2, linewidth=0)
    mean = _mean(curve.values)
    marker = "o" if curve.values.shape[1] <= 1 else None
    axes.plot(curve.x, mean, color=colour, linestyle=dash, linewidth=2, marker=marker)
    return mean


def _draw_thresholds(axes: Axes, panel: Panel) -> None:
    """Draw them as lines, each label below that of the threshold above it, which may lie as high."""
    colours = {curve.name: COLOURS[index % len(COLOURS)] for index, curve in enumerate(panel.curves)}
    drawn = [name for name in colours if name in panel.thresholds]
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "top"}
    for line, name in enumerate(sorted(drawn, key=lambda name: -panel.thresholds[name][0])):
        threshold, scope = panel.thresholds[name]
        axes.axhline(threshold, color=colours[name], linestyle=":", linewidth=1.2)
        label = f"threshold of {name}: {threshold:g} ({scope})"
        axes.annotate(label, (0.99, threshold), (0, -3 - 11 * line), color=colours[name], fontsize=9, **place)


def _label_axes(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.set_xlabel("epoch")
    axes.xaxis.set_tick_params(labelbottom=True)
    if panel.log:
        axes.margins(y=0.09 + 0.03 * len(panel.thresholds))
        logarithmic(axes)


def _mean(values: FloatArray) -> FloatArray:
    counts = np.isfinite(values).sum(axis=0)
    sums = np.where(np.isfinite(values), values, 0).sum(axis=0)
    mean: FloatArray = np.divide(sums, counts, out=np.full(values.shape[1], np.nan), where=counts > 0)
    return mean


def _cross(axes: Axes, x: FloatArray, values: FloatArray, diverged: float, colour: str) -> None:
    """Mark where a run diverged, on its curve; at the bottom edge where it has none."""
    finite = values[np.isfinite(values)]
    style: dict[str, Any] = {
        "marker": "X",
        "markersize": 9,
        "color": colour,
        "markeredgecolor": "white",
        "linestyle": "none",
        "zorder": 5,
    }
    there = min(int(np.searchsorted(x, diverged)), len(x) - 1)
    if len(finite):
        axes.plot(diverged, values[there] if np.isfinite(values[there]) else finite[-1], **style)
    else:
        axes.plot(diverged, 0.02, transform=axes.get_xaxis_transform(), **style)


def differences_figure(axis: str, rows: Sequence[DifferenceRow]) -> Figure:
    """Draw every seed's paired difference as a dot, mean and interval beneath it, and zero."""
    with styled():
        figure = Figure(figsize=(9, 1.6 + 1.1 * max(1, len(rows))), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="#555555", linewidth=1.2)
        for index, row in enumerate(rows):
            colour = COLOURS[(index + 1) % len(COLOURS)]
            heights = index - 0.12 - 0.22 * _stacked(row.differences)
            axes.plot(row.differences, heights, "o", color=colour, alpha=0.55, markersize=5, markeredgewidth=0)
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [index + 0.16] * 2, color=colour, linewidth=2.5, solid_capstyle="butt")
            axes.plot(row.mean, index + 0.16, "D", color=colour, markersize=8, markeredgecolor="white")
        axes.set_yticks(range(len(rows)), [f"{row.name}\n{len(row.differences)} seeds" for row in rows])
        axes.set_ylim(max(1, len(rows)) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(axis)
        axes.set_title("Paired differences: each seed (dots), mean and 95% interval (below)", fontsize=11)
    return figure


def _stacked(values: Sequence[float]) -> FloatArray:
    """Heights from 0 to 1 that keep equal and near values from hiding each other: dots of one bin stand in a column."""
    span = np.ptp(values) or 1.0
    bins = np.round((np.asarray(values) - np.min(values)) / span * 40).astype(int)
    place = np.array([(bins[:index] == bins[index]).sum() for index in range(len(bins))])
    heights: FloatArray = place / max(1, place.max())
    return heights
