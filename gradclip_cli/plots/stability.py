"""A grid of arms: how good the final metric is in each cell, how often its runs diverged, and where each row is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Bbox

from gradclip_cli.arrays import FloatArray
from gradclip_cli.labels import elided
from gradclip_cli.plots.style import drawable, fitted, fitted_in, ink_on, percent, short_names, styled, text_width

# In inches.
ROW_HEIGHT, LEAST_COLUMN, WIDEST_COLUMN, TITLE, LINE_HEIGHT, LEGEND_LINE = 0.55, 0.95, 1.5, 0.5, 0.2, 0.23
# In letters; a row's label is wrapped, a column's slanted.
ROW_LETTERS, ROW_LINE, COLUMN_LETTERS, MOST_LETTERS = 128, 64, 40, 120
WIDEST_TITLE = 9.0  # inches, before it is wrapped
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
        shared, rows = short_names(stability.rows)
        labels = [fitted(label, ROW_LINE) for label in elided(rows, ROW_LETTERS)]
        _label(axes, stability, labels)
        bar = _lay_out(figure, axes, stability, labels, [f"The label of each row begins with {shared}"] if shared else [])
        if np.isfinite(stability.values).any():
            _add_colour_bar(figure, mesh, stability, bar)
        if handles := _legend(stability):
            figure.legend(handles=handles, loc="lower left", frameon=False, fontsize=10, borderaxespad=0.3)
    return figure


def stability_shades(stability: StabilityMap) -> list[list[str | None]]:
    """The colour of each cell, (R, C) as `#rrggbb`, brighter where it is better; None where it has no value."""
    shade, scale = _shade(stability.higher_is_better), _scale(stability.values)
    shown = np.clip(stability.values, scale.vmin, scale.vmax)
    return [[None if np.isnan(value) else to_hex(shade(scale(value))) for value in row] for row in shown]


def _shade(higher_is_better: bool) -> Colormap:
    return matplotlib.colormaps["viridis" if higher_is_better else "viridis_r"]


def _draw_cells(axes: Axes, stability: StabilityMap) -> QuadMesh:
    """Colour and write each cell, frame the best ones; return the coloured mesh. An infinite value has an end's colour."""
    values = stability.values
    scale = _scale(values)
    shade = _shade(stability.higher_is_better)
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
    lines = [] if np.isnan(value) else [_three_digits(value)]
    if diverged > 0:
        lines.append(f"{percent(diverged)} div.")
    if colour is None:
        axes.add_patch(Rectangle((column + 0.01, row + 0.02), 0.98, 0.96, **MISSING))
    style: dict[str, Any] = {
        "color": "black" if colour is None else ink_on(colour),
        "ha": "center",
        "va": "center",
        "linespacing": 1.25,
    }
    if colour is None:
        style["bbox"] = {"facecolor": "white", "linewidth": 0, "pad": 1}  # or the hatching would cross it
    if lines:
        axes.text(column + 0.5, row + 0.5, "\n".join(lines), fontsize=10, **style)


def _frame(axes: Axes, row: int, column: int, columns: int) -> None:
    """Frame a row's best cell; where that is at the grid's edge, an arrow points to where a better one may be."""
    for colour, width in FRAME:
        axes.add_patch(Rectangle((column + 0.05, row + 0.08), 0.9, 0.84, fill=False, edgecolor=colour, linewidth=width, zorder=4))
    for edge, marker, place in ((0, "<", 0.01), (columns - 1, ">", 0.99)):
        if column == edge:
            style: dict[str, Any] = {"color": "black", "markeredgecolor": "white", "zorder": 5, "clip_on": False}
            axes.plot(column + place, row + 0.5, marker, markersize=11, linestyle="none", **style)


def _label(axes: Axes, stability: StabilityMap, rows: Sequence[str]) -> None:
    axes.set_xticks(np.arange(len(stability.columns)) + 0.5, _column_labels(stability))
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.set_xlim(0, len(stability.columns))
    axes.set_ylim(len(stability.rows), 0)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", pad=9)  # beside the arrows
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _column_labels(stability: StabilityMap) -> list[str]:
    labels = elided([drawable(label) for label in stability.columns], COLUMN_LETTERS)
    return [fitted(label, COLUMN_LETTERS) for label in labels]


def _lay_out(figure: Figure, axes: Axes, stability: StabilityMap, rows: Sequence[str], notes: Sequence[str]) -> Bbox:
    """Size the figure after its cells, labels and title; return where the colour bar stands, as shares of the figure."""
    columns = _column_labels(stability)
    label = text_width(columns, 11)
    column = min(max(LEAST_COLUMN, label + 0.15), WIDEST_COLUMN)
    slant = label + 0.15 > column
    if slant:
        for text in axes.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    wide = len(columns) * column
    cells = len(rows) * max([ROW_HEIGHT, *(0.1 + LINE_HEIGHT * (row.count("\n") + 1) for row in rows)])
    tall = max(3 * ROW_HEIGHT, cells)  # A bar stays readable where the cells are few.
    [metric, axis] = elided([drawable(stability.metric), drawable(stability.axis)], MOST_LETTERS)
    axes.set_xlabel(below_cells := fitted_in(axis, wide + 0.6, 11))
    title = f"{metric[:1].upper()}{metric[1:]} by {axis}, mean over seeds"
    left = 0.35 + max(text_width(rows, 11), slant * (0.87 * label - column / 2))
    beside = 1.5 + 0.22 * _bar_label(stability, tall).count("\n")  # with its numbers and label
    meanings = [str(handle.get_label()) for handle in _legend(stability)]
    legend = max((text_width([meaning]) + 0.7 for meaning in meanings), default=0.0)
    width = max(left + wide + beside, min(text_width([title], 12, bold=True) + 0.4, WIDEST_TITLE), legend)
    heading = [fitted_in(title, width - 0.3, 12, bold=True), *(fitted_in(note, width - 0.3, 11) for note in notes)]
    above = TITLE + LINE_HEIGHT * ("\n".join(heading).count("\n"))
    below = 0.65 + LINE_HEIGHT * below_cells.count("\n") + slant * 0.5 * label + LEGEND_LINE * len(meanings)
    height = above + tall + below
    figure.set_size_inches(width, height)
    axes.set_position((left / width, 1 - (above + cells) / height, wide / width, cells / height))
    _write_heading(figure, heading)
    return Bbox.from_bounds((left + wide + 0.2) / width, 1 - (above + tall) / height, 0.2 / width, tall / height)


def _write_heading(figure: Figure, heading: Sequence[str]) -> None:
    """Write the title, and below it the notes, whose lines are smaller."""
    (title, *notes), (width, height) = heading, figure.get_size_inches()
    place: dict[str, Any] = {"va": "top", "linespacing": 1.2}
    figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=12, weight="bold", **place)
    if notes:
        lines = title.count("\n") + 1
        figure.text(0.15 / width, 1 - (0.12 + LINE_HEIGHT * lines) / height, "\n".join(notes), fontsize=11, **place)


def _bar_label(stability: StabilityMap, tall: float) -> str:
    """The metric's name and direction, in lines no longer than the bar."""
    [metric] = elided([drawable(stability.metric)], MOST_LETTERS)
    return f"{fitted_in(metric, tall, 11)}\n{'higher' if stability.higher_is_better else 'lower'} is better"


def _add_colour_bar(figure: Figure, mesh: QuadMesh, stability: StabilityMap, place: Bbox) -> None:
    axes = figure.add_axes(place.bounds)
    tall = place.height * figure.get_figheight()
    figure.colorbar(mesh, cax=axes, format="{x:g}").set_label(_bar_label(stability, tall))
    axes.grid(visible=False)


def _legend(stability: StabilityMap) -> list[Artist]:
    """What frames, arrows and hatching mean, for those that are there."""
    best = [column for column in stability.best if column is not None]
    handles: list[Artist] = []
    if best:
        handles.append(Patch(fill=False, edgecolor="black", linewidth=2.5, label="best of its row"))
    if {0, len(stability.columns) - 1} & set(best):
        meaning = "best at the grid's edge: a better one may lie beyond"
        handles.append(Line2D([], [], color="black", marker="<", markersize=9, linestyle="none", label=meaning))
    if np.isnan(stability.values).any():
        handles.append(Patch(**MISSING, label="no run"))
    if (stability.diverged > 0).any():
        handles.append(Line2D([], [], linestyle="none", label="div.: share of runs that diverged"))
    return handles


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if np.isfinite(value) else f"{value:g}"
