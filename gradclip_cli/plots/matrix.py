"""Problems crossed with rules: in each cell what a rule did to a problem, coloured by how many seeds it helped or hurt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradclip_cli.plots.style import fitted, fitted_in, ink_on, styled, text_width

# In inches.
CELL_WIDTH, CELL_HEIGHT, TITLE, COLUMN_LINE, BAR, RIGHT, LINE = 1.75, 0.78, 0.55, 0.35, 1.05, 0.2, 0.19
LABEL_LETTERS, COLUMN_LETTERS = 30, 20
_SHADE, _SCALE = matplotlib.colormaps["PuOr"], Normalize(-1.6, 1.6)  # not so dark at its ends that text is lost


@dataclass(frozen=True)
class MatrixCell:
    """What stands in a cell, and the share of seeds that are better less that of those that are worse, -1 to 1."""

    lines: Sequence[str]
    balance: float | None
    """None where nothing is said by it: the cell stays white."""
    shown: bool = False
    """Whether a verdict says so: the cell is framed."""


@dataclass(frozen=True)
class Matrix:
    """R problems by C rules; a cell is None where it was not trained."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Of each problem the lines of its label, the first its name."""
    cells: Sequence[Sequence[MatrixCell | None]]


def matrix_figure(matrix: Matrix) -> Figure:
    """Draw the table: blue is better on most seeds, orange worse; framed where a verdict says so, empty where not trained."""
    rows = [[fitted(line, LABEL_LETTERS) for line in lines] for lines in matrix.rows]
    heights = [max(CELL_HEIGHT, 0.2 + LINE * sum(line.count("\n") + 1 for line in lines)) for lines in rows]
    left = 0.35 + max((text_width(lines, 11) for lines in rows), default=0.0)
    wide, tall = CELL_WIDTH * len(matrix.columns), sum(heights)
    width, height = left + wide + RIGHT, TITLE + COLUMN_LINE + tall + BAR
    with styled():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, BAR / height, wide / width, tall / height))
        axes.set(xlim=(0, wide), ylim=(tall, 0), xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        top = 0.0
        for lines, deep, cells in zip(rows, heights, matrix.cells, strict=True):
            _label(axes, lines, top + deep / 2)
            for column, cell in enumerate(cells):
                if cell:
                    colour = _SHADE(_SCALE(cell.balance)) if cell.balance is not None else "white"
                    _draw(axes, cell, colour, (column * CELL_WIDTH, top, deep))
            top += deep
        for column, name in enumerate(matrix.columns):
            place = ((column + 0.5) * CELL_WIDTH, -0.1)
            axes.annotate(fitted(name, COLUMN_LETTERS), place, ha="center", va="bottom", annotation_clip=False, weight="bold")
        figure.text(
            0.15 / width,
            1 - 0.12 / height,
            fitted_in(matrix.title, width - 0.3, 12, bold=True),
            fontsize=12,
            weight="bold",
            va="top",
        )
        _explain(figure, (left / width, 0.62 / height, min(wide, 3.4) / width, 0.16 / height))
    return figure


def matrix_shade(balance: float) -> str:
    """The colour of a cell as `#rrggbb`: blue is better on most seeds, orange worse."""
    return to_hex(_SHADE(_SCALE(balance)))


def _label(axes: Axes, lines: Sequence[str], middle: float) -> None:
    """A problem's name, and what is said of it beneath in grey."""
    name, *others = lines
    style: dict[str, Any] = {"ha": "right", "annotation_clip": False}
    beneath = "\n".join(others)
    deep = LINE * (beneath.count("\n") + 1) if beneath else 0.0
    axes.annotate(name, (-0.12, middle - deep / 2), va="center", weight="bold", **style)
    if beneath:
        axes.annotate(beneath, (-0.12, middle + 0.12), va="center", fontsize=9, color="#555555", **style)


def _draw(axes: Axes, cell: MatrixCell, colour: Any, place: tuple[float, float, float]) -> None:
    left, top, deep = place
    axes.add_patch(
        Rectangle((left + 0.02, top + 0.02), CELL_WIDTH - 0.04, deep - 0.04, facecolor=colour, edgecolor="#cccccc", linewidth=0.8)
    )
    if cell.shown:
        frame = Rectangle((left + 0.05, top + 0.05), CELL_WIDTH - 0.1, deep - 0.1, fill=False, edgecolor="black", linewidth=2)
        axes.add_patch(frame)
    first, *others = cell.lines
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink_on(colour)}
    lines = len(others) + 1
    for number, (text, size) in enumerate([(first, 11), *((other, 8.5) for other in others)]):
        height = top + deep / 2 + (number - (lines - 1) / 2) * LINE
        axes.annotate(text, (left + CELL_WIDTH / 2, height), fontsize=size, weight="bold" if not number else "normal", **style)


def _explain(figure: Figure, place: tuple[float, float, float, float]) -> None:
    """What colours and frames mean."""
    axes = figure.add_axes(place)
    axes.imshow([[value / 50 for value in range(-50, 51)]], cmap=_SHADE, norm=_SCALE, aspect="auto", extent=(-1, 1, 0, 1))
    axes.set(yticks=[], xticks=[-1, 0, 1], xticklabels=["worse on all seeds", "even", "better on all"])
    axes.tick_params(labelsize=9, length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.text(place[0], 0.12 / figure.get_figheight(), "framed: shown by the test, adjusted over all cells", fontsize=9)
