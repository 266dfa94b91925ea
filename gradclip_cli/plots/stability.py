"""A grid of arms: how good the final metric is in each cell, how often its runs diverged, and where each row is best."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from gradclip_cli.plots.style import FloatArray, luminance, percent, styled, text_width

# In inches.
ROW_HEIGHT, LEAST_COLUMN, WIDEST_COLUMN, TITLE, LEGEND_LINE = 0.55, 0.95, 1.5, 0.5, 0.23
MISSING: dict[str, Any] = {"facecolor": "white", "edgecolor": "#999999", "hatch": "////", "linewidth": 0.0}
# White around black is seen on any colour.
FRAME: tuple[tuple[str, float], ...] = (("white", 5.5), ("black", 2.5))


@dataclass(frozen=True)
class StabilityMap:
    """A grid of arms, R rows (such as clipping rules) by C columns (such as learning rates); R, C >= 1."""

    metric: str
    """Such as "holdout accuracy (%)"."""
    axis: str
    """What the columns are, such as "learning rate"."""
    columns: Sequence[str]
    """(C,) labels."""
    rows: Sequence[str]
    """(R,) labels, such as "none", "clipnorm 1"."""
    values: FloatArray
    """(R, C) mean final metric over seeds; NaN where there is no run."""
    diverged: FloatArray
    """(R, C) share of runs that diverged, 0 to 1."""
    best: Sequence[int | None]
    """(R,) column of each row's best value."""
    higher_is_better: bool


def stability_figure(stability: StabilityMap) -> Figure:
    """Draw a heat map: brighter is better; each cell's value and share of diverged runs; each row's best cell framed."""
    with styled():
        figure = Figure()
        axes = figure.subplots()
        mesh = _draw_cells(axes, stability)
        _label(axes, stability)
        right = _lay_out(figure, axes, stability)
        if np.isfinite(stability.values).any():
            _add_colour_bar(figure, mesh, stability, right)
        if handles := _legend(stability):
            figure.legend(handles=handles, loc="lower left", frameon=False, fontsize=10, borderaxespad=0.3)
    return figure


def _draw_cells(axes: Axes, stability: StabilityMap) -> QuadMesh:
    """Colour and write each cell, frame the best ones; return the coloured mesh. An infinite value has an end's colour."""
    values = stability.values
    scale = _scale(values)
    shade = matplotlib.colormaps["viridis" if stability.higher_is_better else "viridis_r"]
    shown = np.ma.masked_invalid(np.clip(values, scale.vmin, scale.vmax))
    mesh = axes.pcolormesh(shown, cmap=shade, norm=scale, edgecolors="white", linewidth=1)
    for row, column in np.ndindex(values.shape):
        colour = None if np.isnan(values[row, column]) else shade(scale(shown[row, column]))
        _write_cell(axes, row, column, colour, float(values[row, column]), float(stability.diverged[row, column]))
    for row, best in enumerate(stability.best):
        if best is not None:
            _frame(axes, row, best, len(stability.columns))
    return mesh


def _scale(values: FloatArray) -> Normalize:
    """From the least to the largest finite value, with room about a single one."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Normalize(0, 1)
    low, high = float(finite.min()), float(finite.max())
    room = 0.0 if high > low else 0.05 * abs(low) or 1.0
    return Normalize(low - room, high + room)


def _write_cell(axes: Axes, row: int, column: int, colour: Any, value: float, diverged: float) -> None:
    """Write a cell's value and, above zero, its share of diverged runs; hatch it where it has no value."""
    told = [] if np.isnan(value) else [_three_digits(value)]
    if diverged > 0:
        told.append(f"{percent(diverged)} div.")
    if colour is None:
        axes.add_patch(Rectangle((column + 0.01, row + 0.02), 0.98, 0.96, **MISSING))
    dark = colour is not None and luminance(colour) < 0.18  # Where white and black stand out equally.
    style: dict[str, Any] = {"color": "white" if dark else "black", "ha": "center", "va": "center", "linespacing": 1.25}
    if colour is None:
        style["bbox"] = {"facecolor": "white", "linewidth": 0, "pad": 1}  # or the hatching would cross it
    if told:
        axes.text(column + 0.5, row + 0.5, "\n".join(told), fontsize=10, **style)


def _frame(axes: Axes, row: int, column: int, columns: int) -> None:
    """Frame a row's best cell; where that is at the grid's edge, an arrow points to where a better one may be."""
    for colour, width in FRAME:
        axes.add_patch(Rectangle((column + 0.05, row + 0.08), 0.9, 0.84, fill=False, edgecolor=colour, linewidth=width, zorder=4))
    for edge, marker, place in ((0, "<", 0.01), (columns - 1, ">", 0.99)):
        if column == edge:
            style: dict[str, Any] = {"color": "black", "markeredgecolor": "white", "zorder": 5, "clip_on": False}
            axes.plot(column + place, row + 0.5, marker, markersize=11, linestyle="none", **style)


def _label(axes: Axes, stability: StabilityMap) -> None:
    axes.set_xticks(np.arange(len(stability.columns)) + 0.5, stability.columns)
    axes.set_yticks(np.arange(len(stability.rows)) + 0.5, stability.rows)
    axes.set_xlim(0, len(stability.columns))
    axes.set_ylim(len(stability.rows), 0)
    axes.set_xlabel(stability.axis)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", pad=9)  # beside the arrows
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _lay_out(figure: Figure, axes: Axes, stability: StabilityMap) -> float:
    """Size the figure after its cells, labels and title; return where the cells end, in inches from the left."""
    rows, columns = stability.values.shape
    label = text_width(stability.columns, 11)
    column = min(max(LEAST_COLUMN, label + 0.15), WIDEST_COLUMN)
    slant = label + 0.15 > column
    if slant:
        for text in axes.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    handles = _legend(stability)
    below = 0.65 + slant * 0.5 * label + LEGEND_LINE * len(handles)
    left = 0.35 + max(text_width(stability.rows, 11), slant * (0.87 * label - column / 2))
    right = float(left + columns * column)
    title = f"{stability.metric[:1].upper()}{stability.metric[1:]} by {stability.axis}, mean over seeds"
    told = max((text_width([str(handle.get_label())]) + 0.7 for handle in handles), default=0.0)
    bar = 1.5 + 0.22 * _bar_label(stability).count("\n")  # with its numbers and label
    width = max(right + bar, text_width([title], 12, bold=True) + 0.4, told)
    height = TITLE + _bar_height(stability) + below
    size = (columns * column / width, rows * ROW_HEIGHT / height)
    figure.set_size_inches(width, height)
    axes.set_position((left / width, 1 - TITLE / height - size[1], *size))
    figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=12, weight="bold", va="top")
    return right


def _bar_height(stability: StabilityMap) -> float:
    """In inches; that of the cells, but where they are few it stays readable."""
    return max(3, len(stability.rows)) * ROW_HEIGHT


def _bar_label(stability: StabilityMap) -> str:
    """The metric's name and direction, in lines no longer than the bar."""
    letters = int(_bar_height(stability) / 0.08)
    return "\n".join(
        [*textwrap.wrap(stability.metric, letters), f"{'higher' if stability.higher_is_better else 'lower'} is better"]
    )


def _add_colour_bar(figure: Figure, mesh: QuadMesh, stability: StabilityMap, right: float) -> None:
    width, height = figure.get_size_inches()
    tall = _bar_height(stability)
    axes = figure.add_axes(((right + 0.2) / width, 1 - (TITLE + tall) / height, 0.2 / width, tall / height))
    figure.colorbar(mesh, cax=axes, format="{x:g}").set_label(_bar_label(stability))
    axes.grid(visible=False)


def _legend(stability: StabilityMap) -> list[Artist]:
    """What frames, arrows and hatching mean, for those that are there."""
    best = [column for column in stability.best if column is not None]
    handles: list[Artist] = []
    if best:
        handles.append(Patch(fill=False, edgecolor="black", linewidth=2.5, label="best of its row"))
    if {0, len(stability.columns) - 1} & set(best):
        told = "best at the grid's edge: a better one may lie beyond"
        handles.append(Line2D([], [], color="black", marker="<", markersize=9, linestyle="none", label=told))
    if np.isnan(stability.values).any():
        handles.append(Patch(**MISSING, label="no run"))
    if (stability.diverged > 0).any():
        handles.append(Line2D([], [], linestyle="none", label="div.: share of runs that diverged"))
    return handles


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if np.isfinite(value) else f"{value:g}"
