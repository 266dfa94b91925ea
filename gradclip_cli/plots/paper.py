"""Figures for a paper: exactly as wide as a column, with text that is read at that size and no title, which a caption says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from gradclip_cli.plots.comparison import FEW, listed, threshold_colour
from gradclip_cli.plots.curves import Look, draw_curve, is_within, limit_epochs, limit_values
from gradclip_cli.plots.differences import DifferenceRow, counted_labels, draw_rows
from gradclip_cli.plots.multiples import Block, Names, Scale, key
from gradclip_cli.plots.panels import Panel
from gradclip_cli.plots.style import fitted_in, line_style, printed, text_width

PAPER = Scale(text=8, small=7, weight=0.55, least=0.85)
SHAPE, TALLEST = 0.62, 3.2
"""Height of a panel as a share of its width, and at most, in inches."""
LEAST_PANEL, LEAST_CELL, LEAST_ROW = 1.0, 0.3, 0.2
"""Inches of height that a panel, a small panel and a row of differences need to be read."""
SIDE_BY_SIDE = 2.2
"""Inches that each of several panels must have to stand beside another."""
HANDLE = 2.6
"""Length of a legend's lines, in letters."""
COLUMN_GAP = 1.2
"""Between a legend's columns, in letters."""
EDGE, BETWEEN = 0.04, 0.12
"""Inches around everything, and between panels that stand on each other."""
LABELS = 0.4
"""Of the width at most is for arms' names beside their differences."""
NUMBERS = 0.45
"""Inches of what stands beneath axes: their numbers and their label."""


@dataclass(frozen=True)
class Size:
    """Inches of a figure; its height follows from its width and from what it shows unless it is given."""

    width: float
    height: float | None = None

    def height_for(self, usual: float, least: float) -> float:
        """The height that was asked for, else the usual one. Raises TooLowError where it is less than what is needed."""
        if self.height is not None and self.height < least:
            raise TooLowError(least)
        return usual if self.height is None else self.height


class TooLowError(ValueError):
    """A figure can't be read at the height that was asked for; `least` is what it needs, in inches."""

    def __init__(self, least: float) -> None:
        self.least = math.ceil(10 * least) / 10
        super().__init__(f"needs a height of {self.least:.1f}in")


def paper_panels_figure(panels: Sequence[Panel], names: Names, size: Size) -> Figure:
    """One or several panels with one legend, an arm alike in all; of many arms each has a small panel. Raises TooLowError."""
    with printed():
        return _lines(panels, names, size) if len(names.labels) <= FEW else _multiples(panels, names, size)


def _lines(panels: Sequence[Panel], names: Names, size: Size) -> Figure:
    looks = {name: Look(label, line_style(index), PAPER.weight) for index, (name, label) in enumerate(names.labels.items())}
    columns = max(1, min(len(panels), int(size.width / SIDE_BY_SIDE)))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(layout=ConstrainedLayoutEngine(w_pad=EDGE, h_pad=EDGE))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, looks, panels)
    above = _draw_legend(figure, _entries(list(grid.flat)[: len(panels)], panels, looks), size.width)
    usual = above + rows * min(TALLEST, SHAPE * size.width / columns)
    height = size.height_for(usual, above + rows * LEAST_PANEL)
    figure.set_size_inches(size.width, height)
    for index, axes in enumerate(grid.flat):
        if index < len(panels):
            axes.set_ylabel(fitted_in(panels[index].label, (height - above) / rows - NUMBERS, PAPER.text))
            axes.set_title(_letter(index, panels), fontsize=PAPER.text)
        else:
            axes.set_axis_off()
    return figure


def _letter(index: int, panels: Sequence[Panel]) -> str:
    """What a caption calls one of several panels."""
    return f"({chr(ord('a') + index)})" if len(panels) > 1 else ""


def _draw(axes: Axes, panel: Panel, looks: Mapping[str, Look], panels: Sequence[Panel]) -> None:
    limit_values(axes, panel)
    limit_epochs(axes, panels)
    for curve in panel.curves:
        draw_curve(axes, panel, curve, looks[curve.name])
    for (threshold, _), names in panel.curves_by_threshold().items():
        if is_within(axes, threshold):
            axes.axhline(threshold, color=threshold_colour(names, looks), linestyle=":", linewidth=0.8)
    axes.set_xlabel("epoch")


def _entries(drawn: Sequence[Axes], panels: Sequence[Panel], looks: Mapping[str, Look]) -> dict[str, Line2D]:
    """A legend's lines by what they are called: the arms, with the reason where nothing of one is drawn, and the thresholds."""
    missing = {name: reason for panel in panels for name, reason in panel.without_line().items()} if len(panels) == 1 else {}
    entries = {
        f"{look.label}: {missing[name]}" if name in missing else look.label: Line2D(
            [], [], linewidth=2 * PAPER.weight, **{**look.line, "markevery": None}
        )
        for name, look in looks.items()
    }
    for axes, panel in zip(drawn, panels, strict=True):
        for (threshold, _), names in panel.curves_by_threshold().items():
            if is_within(axes, threshold):
                colour = threshold_colour(names, looks)
                text = f"threshold {threshold:g} ({listed([looks[name].label for name in names])})"
                entries[text] = Line2D([], [], color=colour, linestyle=":", linewidth=0.8)
    return entries


def _draw_legend(figure: Figure, entries: Mapping[str, Line2D], width: float) -> float:
    """Name what is drawn above it, in as many columns as the width has room for; return the height of that in inches."""
    handle = (HANDLE + 0.8) * PAPER.small / 72
    labels = [fitted_in(entry, width - handle - 2 * EDGE, PAPER.small) for entry in entries]
    widths = [handle + COLUMN_GAP * PAPER.small / 72 + text_width([label], PAPER.small) for label in labels]
    columns = next((many for many in range(len(labels), 1, -1) if _columns_width(widths, many) <= width), 1)
    rows = math.ceil(len(labels) / columns)
    lines = max(label.count("\n") + 1 for label in labels) * rows
    style: dict[str, Any] = {"handlelength": HANDLE, "columnspacing": COLUMN_GAP, "borderpad": 0, "borderaxespad": 0.4}
    style |= {"labelspacing": 0.3, "frameon": False, "fontsize": PAPER.small}
    figure.legend(list(entries.values()), labels, loc="outside upper left", ncols=columns, **style)
    return (1.45 * lines + 0.6) * PAPER.small / 72


def _columns_width(widths: Sequence[float], columns: int) -> float:
    """How wide a legend of entries of these widths is in so many columns, as matplotlib fills them."""
    return sum(float(max(column)) for column in np.array_split(np.array(widths), columns))


def _multiples(panels: Sequence[Panel], names: Names, size: Size) -> Figure:
    """The panels on each other, each as small panels."""
    baseline, width = next(iter(names.labels)), size.width - 2 * EDGE
    above = (1.6 * PAPER.small + 3) / 72
    blocks = [Block(panel, names, baseline, PAPER, width) for panel in panels]
    beside = above + EDGE + BETWEEN * (len(blocks) - 1)
    usual = beside + sum(block.height for block in blocks)
    least = usual - sum(block.rows * (block.cell_height - LEAST_CELL) for block in blocks)
    height = size.height_for(usual, least)
    each = sum(block.rows * block.cell_height for block in blocks) + height - usual
    rows = sum(block.rows for block in blocks)
    blocks = [replace(block, asked_cell_height=each / rows) for block in blocks]
    figure = Figure(figsize=(size.width, height))
    key(figure, names, baseline, PAPER, (EDGE, height - EDGE))
    top = height - above
    for index, block in enumerate(blocks):
        figure.text(EDGE / size.width, top / height, _letter(index, panels), fontsize=PAPER.text, va="top")
        block.draw(figure, EDGE, top, panels)
        top -= block.height + BETWEEN
    return figure


def paper_differences_figure(
    axis: str, rows: Sequence[DifferenceRow], possible: tuple[float, float], names: Names, size: Size
) -> Figure:
    """The differences from the baseline, a row an arm, with nothing beyond what is `possible`. Raises TooLowError."""
    tall = 0.42 if len(rows) <= FEW else 0.3
    label = _evenly(axis, size.width - 2 * EDGE)
    below = (1.9 * PAPER.small + 1.25 * PAPER.text * (label.count("\n") + 1) + 6) / 72
    height = size.height_for(below + tall * max(1, len(rows)), below + LEAST_ROW * max(1, len(rows)))
    with printed():
        figure = Figure(figsize=(size.width, height), layout=ConstrainedLayoutEngine(w_pad=EDGE, h_pad=EDGE))
        axes = figure.subplots()
        labels = [fitted_in(names.labels[row.name], LABELS * size.width, PAPER.small) for row in rows]
        draw_rows(axes, rows, counted_labels(labels, rows), possible, size=PAPER.weight)
        figure.supxlabel(label, fontsize=PAPER.text)
    return figure


def _evenly(text: str, inches: float) -> str:
    """The text in as few lines as fit, of which none is much shorter than the others."""
    lines = fitted_in(text, inches, PAPER.text)
    while (narrower := fitted_in(text, 0.95 * inches, PAPER.text)).count("\n") == lines.count("\n") > 0:
        lines, inches = narrower, 0.95 * inches
    return lines
