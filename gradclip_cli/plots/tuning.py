"""Arms by a setting that they were tuned over: a line an arm, a dot a seed, and the range that is as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.style import drawable, fitted_in, ink, line_style, name_lines, styled

SIZE = (8.6, 4.6)
ROOM = 2.5
"""Beside the lines, for their names, in inches."""
SHOWN = 12.0
"""So far below the best, in the scores' unit, the axis goes: what matters is near the top."""


@dataclass(frozen=True)
class TunedLine:
    """An arm's scores at N values: `values` is (N,), ascending, `scores` (N, seeds)."""

    name: str
    values: FloatArray
    scores: FloatArray


def tuning_figure(metric: str, axis: str, tolerance: float, lines: Sequence[TunedLine]) -> Figure:
    """Draw each arm's mean over seeds by a logarithmic axis, thick within tolerance of its best, and its seeds as dots."""
    width, height = SIZE
    with styled():
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes((0.75 / width, 0.6 / height, (width - 0.75 - ROOM) / width, (height - 1.2) / height))
        for index, line in enumerate(lines):
            _draw(axes, line, line_style(index), tolerance, index)
        best = max(float(line.scores.max()) for line in lines)
        worst = min(float(line.scores.min()) for line in lines)
        axes.set_ylim(max(worst - 0.5, best - SHOWN), best + 0.6)
        axes.set_xscale("log")
        ticks = np.unique(np.concatenate([line.values for line in lines]))
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=axis, ylabel=metric)
        title = f"{metric[:1].upper()}{metric[1:]} by {axis}: thick within {tolerance:g} of an arm's best"
        figure.text(
            0.15 / width, 1 - 0.12 / height, fitted_in(title, width - 0.3, 12, bold=True), fontsize=12, weight="bold", va="top"
        )
        low = axes.get_ylim()[0]
        ends = [
            (max(float(line.scores[-1].mean()), low), drawable(line.name), ink(line_style(index)["color"]))
            for index, line in enumerate(lines)
        ]
        name_lines(axes, ends)
    return figure


def _draw(axes: Axes, line: TunedLine, style: dict[str, object], tolerance: float, index: int) -> None:
    mean = line.scores.mean(axis=1)
    axes.plot(line.values, mean, linewidth=1.3, **style)  # type: ignore[arg-type]  # what a style holds
    good = mean >= mean.max() - tolerance
    axes.plot(
        line.values, np.where(good, mean, np.nan), linewidth=4.5, alpha=0.55, color=str(style["color"]), solid_capstyle="round"
    )
    shift = 1 + 0.012 * (index - 1.5)  # so that arms' dots stand beside each other
    for seed in line.scores.T:
        axes.plot(line.values * shift, seed, ".", markersize=3.5, color=str(style["color"]), alpha=0.6)
