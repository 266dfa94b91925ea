"""Many arms: a small panel an arm, in which it stands out against the baseline and all others; styles can't tell so many."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from gradclip_cli.arrays import FloatArray
from gradclip_cli.labels import SHORT, elided, split_pattern
from gradclip_cli.plots.curves import Look, draw_curve, is_within, limit_epochs, limit_values
from gradclip_cli.plots.panels import Curve, Panel
from gradclip_cli.plots.style import COLOURS, SEVERAL, StyledFigure, draw_line, drawable, fitted, fitted_in, styled

MOST = 40
"""Beyond so many arms small panels take more room than a page has."""
LETTERS = 40
"""Of a name above its panel."""
BLACK, BLUE, PALE = COLOURS[0], COLOURS[2], "#c4c4c4"
DASHED = (0, (3, 1.5))
GAP = 0.12
"""Between two small panels, in inches."""


@dataclass(frozen=True)
class Scale:
    """How large a figure's parts are."""

    text: float
    """Points of axis labels."""
    small: float
    """Points of what stands at ticks, in legends and above small panels."""
    weight: float
    """Widths of lines, as a multiple of a screen's."""
    least: float
    """Inches of a small panel's width at least."""


@dataclass(frozen=True)
class Names:
    """How arms are called: each by what stands for the stars in a `pattern`, which is empty where they share little."""

    labels: Mapping[str, str]
    pattern: str

    @classmethod
    def of(cls, names: Sequence[str]) -> Names:
        """These arms' labels, in letters that can be drawn; short names are left whole."""
        whole = [drawable(name) for name in names]
        pattern, short = split_pattern(whole) if max(map(len, whole)) > SHORT else ("", whole)
        return cls(dict(zip(names, elided(short, LETTERS), strict=True)), pattern)


@dataclass(frozen=True)
class Block:
    """A panel of many arms as small panels, in a rectangle `width` inches wide."""

    panel: Panel
    names: Names
    baseline: str
    scale: Scale
    width: float
    asked_cell_height: float | None = None

    @property
    def columns(self) -> int:
        """Small panels in a row: as many as have room, and no fewer in the last row than must be."""
        most = max(1, int((self.width - self.left + GAP) / (self.scale.least + GAP)))
        rows = math.ceil(len(self.panel.curves) / most)
        return math.ceil(len(self.panel.curves) / rows)

    @property
    def rows(self) -> int:
        return math.ceil(len(self.panel.curves) / self.columns)

    @property
    def left(self) -> float:
        """Inches of the y axis's label and numbers."""
        return (4 * self.scale.small + 1.6 * self.scale.text) / 72

    @property
    def below(self) -> float:
        """Inches of the x axis's label and numbers."""
        return (1.9 * self.scale.small + 1.8 * self.scale.text) / 72

    @property
    def cell_width(self) -> float:
        return (self.width - self.left - GAP * self.columns) / self.columns

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """What stands above each small panel, in lines that fit."""
        names = [curve.name for curve in self.panel.curves]
        return {name: fitted_in(self.names.labels[name], self.cell_width + 0.8 * GAP, self.scale.small) for name in names}

    @functools.cached_property
    def above(self) -> list[float]:
        """Inches above the small panels of each row, for their names."""
        lines = [label.count("\n") + 1 for label in self.labels.values()]
        most = [max(lines[start : start + self.columns]) for start in range(0, len(lines), self.columns)]
        return [(1.2 * many + 0.9) * self.scale.small / 72 for many in most]

    @property
    def cell_height(self) -> float:
        """Inches of a small panel's height."""
        return 0.62 * self.cell_width if self.asked_cell_height is None else self.asked_cell_height

    @property
    def height(self) -> float:
        return self.rows * self.cell_height + sum(self.above) + self.below

    def draw(self, figure: Figure, left: float, top: float, epochs: Sequence[Panel]) -> None:
        """Draw it from `left` and `top`, inches from the figure's lower left corner; the figure's size must be final.

        The axis of epochs holds those of the panels `epochs`.
        """
        first = self._add_axes(figure, 0, left, top, None)
        limit_values(first, self.panel)
        limit_epochs(first, epochs, 3)
        first.minorticks_off()
        middles, missing = self.panel.middles(), self.panel.without_line()
        for index, curve in enumerate(self.panel.curves):
            axes = self._add_axes(figure, index, left, top, first) if index else first
            if curve.name in missing:
                axes.annotate(missing[curve.name], (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=self.scale.small)
            self._draw_context(axes, curve, middles)
            self._draw_arm(axes, curve)
        self._name_axes(figure, left, top)

    def _add_axes(self, figure: Figure, index: int, left: float, top: float, first: Axes | None) -> Axes:
        """One small panel with its name, its numbers where none stands left of it or beneath it."""
        width, height = figure.get_size_inches()
        row, column = divmod(index, self.columns)
        x = left + self.left + column * (self.cell_width + GAP)
        y = top - sum(self.above[: row + 1]) - (row + 1) * self.cell_height
        place = (x / width, y / height, self.cell_width / width, self.cell_height / height)
        axes = figure.add_axes(place, sharex=first, sharey=first)
        axes.yaxis.set_visible(not column)
        axes.xaxis.set_visible(index + self.columns >= len(self.panel.curves))
        axes.tick_params(labelsize=self.scale.small, length=2, pad=2)
        axes.grid(visible=False)
        label = self.labels[self.panel.curves[index].name]
        # Where a title and labels stand is told here, or matplotlib would measure all small panels for each of them.
        axes.set_title(label, fontsize=self.scale.small, fontweight="normal", pad=2.5, linespacing=1.1, y=1.0)
        axes.xaxis.set_label_coords(0, 0)
        axes.yaxis.set_label_coords(0, 0)
        return axes

    def _draw_context(self, axes: Axes, curve: Curve, middles: Mapping[str, FloatArray]) -> None:
        """What the arm is to be seen against: the baseline, and all others."""
        pale = [each for each in self.panel.curves if each.name not in (curve.name, self.baseline)]
        lines = [np.column_stack([each.x, middles[each.name]]) for each in pale]
        axes.add_collection(LineCollection(lines, colors=PALE, linewidths=0.8 * self.scale.weight, zorder=1.52), autolim=False)
        for each in self.panel.curves:
            if each.name == self.baseline != curve.name:
                draw_line(axes, each.x, middles[each.name], color=BLACK, linestyle=DASHED, linewidth=1.4 * self.scale.weight)

    def _draw_arm(self, axes: Axes, curve: Curve) -> None:
        colour = BLACK if curve.name == self.baseline else BLUE
        draw_curve(axes, self.panel, curve, Look(curve.name, {"color": colour, "linestyle": "-"}, self.scale.weight))
        threshold, _ = self.panel.thresholds.get(curve.name, (math.nan, ""))
        if is_within(axes, threshold):
            axes.axhline(threshold, color=SEVERAL, linestyle=":", linewidth=1.2 * self.scale.weight)

    def _name_axes(self, figure: Figure, left: float, top: float) -> None:
        width, height = figure.get_size_inches()
        middle = top - (self.height - self.below) / 2
        label = fitted_in(self.panel.label, self.height - self.below, self.scale.text)
        style: dict[str, Any] = {"fontsize": self.scale.text, "linespacing": 1.1}
        figure.text(left / width, middle / height, label, rotation=90, va="center", ha="left", multialignment="center", **style)
        centre = left + self.left + (self.width - self.left - GAP) / 2
        figure.text(centre / width, (top - self.height) / height, "epoch", va="bottom", ha="center", **style)


def key(figure: Figure, names: Names, baseline: str, scale: Scale, place: tuple[float, float]) -> Legend:
    """Say in one row what small panels show, its upper left corner at a `place` in inches."""
    width, height = figure.get_size_inches()
    styles = {
        "the arm above": {"color": BLUE},
        fitted(f"baseline: {names.labels[baseline]}", LETTERS): {"color": BLACK, "linestyle": DASHED},
        "all others": {"color": PALE},
    }
    handles = [Line2D([], [], linewidth=2 * scale.weight, **style) for style in styles.values()]  # type: ignore[arg-type]
    spaces: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "handlelength": 2.4, "columnspacing": 1.2, "frameon": False}
    corner = (place[0] / width, place[1] / height)
    return figure.legend(handles, list(styles), loc="upper left", bbox_to_anchor=corner, ncols=3, fontsize=scale.small, **spaces)


SCREEN = Scale(text=11, small=9, weight=0.8, least=0.95)
BLOCK_WIDTH, TITLE, BETWEEN, MARGIN = 6.4, 0.42, 0.3, 0.15


def multiples_figure(panels: Sequence[Panel], columns: int, among: Sequence[Panel]) -> StyledFigure:
    """The panels of up to `MOST` arms, so many in a row, each as small panels; `among` as `comparison_figure` takes it."""
    arms = list(dict.fromkeys(curve.name for panel in among for curve in panel.curves))
    names = Names.of(arms)
    blocks = [Block(panel, names, arms[0], SCREEN, BLOCK_WIDTH) for panel in panels]
    heights = [max(block.height for block in blocks[row : row + columns]) for row in range(0, len(blocks), columns)]
    width = columns * (BLOCK_WIDTH + BETWEEN) + MARGIN
    heading = fitted_in(f"Arms are named by what stands for * in {names.pattern}", width - 0.3, 11) if names.pattern else ""
    above = 0.45 + 0.2 * (heading.count("\n") + 1) if heading else 0.4
    with styled():
        figure = StyledFigure(figsize=(width, above + sum(heights) + len(heights) * TITLE + 0.1))
        height = figure.get_size_inches()[1]
        key(figure, names, arms[0], SCREEN, (MARGIN, height - 0.12))
        figure.text(MARGIN / width, 1 - 0.38 / height, heading, fontsize=11, va="top", linespacing=1.2)
        for index, block in enumerate(blocks):
            row, column = divmod(index, columns)
            left = MARGIN + column * (BLOCK_WIDTH + BETWEEN)
            top = height - above - sum(heights[:row]) - (row + 1) * TITLE
            title = fitted_in(block.panel.title, BLOCK_WIDTH, 12, bold=True)
            figure.text(left / width, (top + 0.08) / height, title, fontsize=12, weight="bold", va="bottom")
            block.draw(figure, left, top, among)
    return figure
