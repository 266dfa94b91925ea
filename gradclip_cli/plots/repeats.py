"""Runs of one seed beside each other: a panel an arm, a column a seed, a dot a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.style import finite, fitted, fitted_in, line_style, say_nothing_to_draw, styled

# In inches.
PANEL_HEIGHT, PANEL_WIDTH, LEFT, RIGHT, BETWEEN, ABOVE, BELOW = 3.6, 2.9, 0.75, 0.2, 0.2, 0.55, 0.4
IN_A_ROW = 4
IN_ONE_ROW = 6
"""So many arms at most stand in one row, where they are compared best, if need be in panels less wide; more in even rows."""
NAME_LETTERS = 34
"""Of a name on one line above a panel of the usual width."""


@dataclass(frozen=True)
class RepeatPanel:
    """An arm's runs of S seeds, R runs of each: `values` is (S, R), NaN where there is none, and `said` stands under its name."""

    name: str
    values: FloatArray
    said: str = ""


def repeats_figure(axis: str, title: str, panels: Sequence[RepeatPanel]) -> Figure:
    """Draw each run as a dot over its seed, a bar from a seed's least to its largest; all panels on one scale.

    Seeds stand from the widest to the narrowest of each panel.
    """
    rows, columns, panel_width = _layout(len(panels))
    width = LEFT + columns * panel_width + (columns - 1) * BETWEEN + RIGHT
    height = 0.45 + rows * (PANEL_HEIGHT + ABOVE + BELOW)
    with styled():
        figure = Figure(figsize=(width, height))
        limits = _limits(panels)
        for index, panel in enumerate(panels):
            row, column = divmod(index, columns)
            left = LEFT + column * (panel_width + BETWEEN)
            bottom = BELOW + (rows - 1 - row) * (PANEL_HEIGHT + ABOVE + BELOW)
            axes = figure.add_axes((left / width, bottom / height, panel_width / width, PANEL_HEIGHT / height))
            _draw(axes, panel, line_style(index)["color"], int(NAME_LETTERS * panel_width / PANEL_WIDTH))
            axes.set_ylim(*limits)
            axes.set_ylabel(axis if not column else "")
            axes.tick_params(labelleft=not column)
        if not panels:
            say_nothing_to_draw(figure.add_axes((0.1, 0.1, 0.8, 0.8)), "no arm has replicates")
        heading = fitted_in(title, width - 0.3, 12, bold=True)
        figure.text(0.15 / width, 1 - 0.12 / height, heading, fontsize=12, weight="bold", va="top")
    return figure


def _layout(panels: int) -> tuple[int, int, float]:
    """Rows, columns, and a panel's width in inches: one row of a few, else rows that are as even as may be."""
    if panels <= IN_ONE_ROW:
        columns = max(1, panels)
        return 1, columns, min(PANEL_WIDTH, (IN_A_ROW * PANEL_WIDTH - (columns - IN_A_ROW) * BETWEEN) / columns)
    rows = -(-panels // IN_A_ROW)
    return rows, -(-panels // rows), PANEL_WIDTH


def _limits(panels: Sequence[RepeatPanel]) -> tuple[float, float]:
    """Of the y axis: all values with a margin."""
    values = np.concatenate([finite(panel.values).ravel() for panel in panels] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _draw(axes: Axes, panel: RepeatPanel, colour: str, letters: int) -> None:
    values = finite(panel.values)
    there = values[np.isfinite(values).any(axis=1)]
    if not len(there):
        say_nothing_to_draw(axes, "nothing finite")
        return
    low, high = np.nanmin(there, axis=1), np.nanmax(there, axis=1)
    order = np.argsort(low - high, kind="stable")
    places = np.arange(1.0, len(there) + 1)
    axes.vlines(places, low[order], high[order], color=colour, linewidth=1.2, alpha=0.45)
    for run in there[order].T:
        axes.plot(places, run, "o", color=colour, markersize=3.2, alpha=0.75, markeredgewidth=0)
    axes.set_xlim(0, len(there) + 1)
    axes.set_xticks([])
    axes.set_xlabel("seeds, the widest first")
    name = fitted(panel.name, letters)
    axes.set_title(f"{name}\n{fitted(panel.said, letters + 4)}" if panel.said else name, fontsize=11)
