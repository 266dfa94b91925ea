"""Arms compared: how far each seed of an arm is from its twin in the baseline, or each run from it; what is typical, the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradclip_cli.arrays import FloatArray
from gradclip_cli.labels import elided
from gradclip_cli.plots.ranges import bulk_limits
from gradclip_cli.plots.style import (
    StyledFigure,
    finite,
    fitted,
    fitted_in,
    ink,
    known,
    line_style,
    say_nothing_to_draw,
    short_names,
    styled,
    text_width,
)
from gradclip_cli.texts import MINUS

MOST_ROWS, FEW = 300, 8
# Of a row, from its middle: up to its dots, down to what lies beyond the axis.
DOTS, BENEATH = 0.12, 0.38
MOST_LISTED = 3  # values beyond the axis, one by one
# In inches.
ROW_WIDTH, LINE_HEIGHT = 6.6, 0.2


@dataclass(frozen=True)
class DifferenceRow:
    """One arm's differences, a value a seed or run: the typical one, its interval (infinite where there is none), the mean."""

    name: str
    differences: Sequence[float]
    typical: float
    low: float
    high: float
    mean: float = math.nan
    against: int | None = None
    """How many of the baseline's runs its own are held against where nothing pairs them; None for pairs."""


def differences_figure(
    axis: str, rows: Sequence[DifferenceRow], possible: tuple[float, float] = (-math.inf, math.inf)
) -> StyledFigure:
    """Draw each difference, of a seed or an unpaired run, as a dot, the typical one with interval and mean beneath, and zero.

    Nothing is drawn beyond what is possible. Differences that would flatten all others are arrows at the edge, with their values.

    Of more than `MOST_ROWS` arms the first are drawn, and this is said.
    """
    shown = rows[:MOST_ROWS]
    shared, labels, height = _row_labels(shown)
    heading = [differences_title(shown)]
    heading += [f"The first {MOST_ROWS} of {len(rows):,} arms"] if len(shown) < len(rows) else []
    heading += [f"The name of each arm begins with {shared}"] if shared else []
    with styled():
        figure = StyledFigure()
        axes = figure.subplots()
        draw_rows(axes, shown, labels, possible, size=min(1.0, height**0.5))
        _place_rows(figure, axes, 0.2 + text_width(labels, 11), height * max(1, len(shown)), axis, heading)
    return figure


def _row_labels(rows: Sequence[DifferenceRow]) -> tuple[str, list[str], float]:
    """What the arms' names begin with, the rows' labels, and a row's height in inches; the more rows, the less of each."""
    shared, short = short_names([row.name for row in rows])
    letters, height = (200, 1.1) if len(rows) <= FEW else (108, 0.6) if len(rows) <= 40 else (72, 0.36)
    labels = [fitted(label, 40) for label in elided(short, letters)]
    labels = counted_labels(labels, rows)
    return shared, labels, max([height, *(0.1 + 0.2 * (label.count("\n") + 1) for label in labels)])


def counted_labels(labels: Sequence[str], rows: Sequence[DifferenceRow]) -> list[str]:
    """The rows' labels, with how many seeds or runs each has where they don't have as many."""
    if len({_counted(row) for row in rows}) <= 1:
        return list(labels)
    return [f"{label}\n{_counted(row)}" for label, row in zip(labels, rows, strict=True)]


def _counted(row: DifferenceRow) -> str:
    noun = "seed" if row.against is None else "run"
    told = f"{len(row.differences)} {noun}{'' if len(row.differences) == 1 else 's'}"
    return told if row.against is None else f"{told} against {row.against}"


def differences_title(rows: Sequence[DifferenceRow]) -> str:
    """What a figure of these rows shows."""
    counts = {_counted(row) for row in rows}
    of = f" of {counts.pop()}" if len(counts) == 1 else ""
    interval = " with its interval" if any(math.isfinite(row.low) for row in rows) else ""
    whose, dots = _kind({row.against is None for row in rows})
    return f"{whose}{of}: {dots} (dots), the typical one{interval} (diamond), the mean (bar)"


def _kind(paired: set[bool]) -> tuple[str, str]:
    """What rows of these kinds are called, and what their dots are."""
    run = "each run from what the baseline typically has"
    if paired == {True, False}:
        return "Differences", f"each seed, or unpaired {run}"
    return ("Unpaired differences", run) if paired == {False} else ("Paired differences", "each seed")


def draw_rows(
    axes: Axes, rows: Sequence[DifferenceRow], labels: Sequence[str], possible: tuple[float, float], *, size: float
) -> None:
    """Draw the rows from the top and the line of no difference; marks have `size` times those of a figure of few rows."""
    axes.axvline(0, color="#555555", linewidth=1.2 * size)
    axes.set_xlim(*_limits(rows, possible))
    for index, row in enumerate(rows):
        _draw_row(axes, index, row, possible, size)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(max(1, len(rows)) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    if not rows:
        say_nothing_to_draw(axes, "no arm shares a seed with the baseline")


def _limits(rows: Sequence[DifferenceRow], possible: tuple[float, float]) -> tuple[float, float]:
    """Of the x axis: the bulk of each row with its typical difference and interval, a little more, nothing impossible."""
    seen = finite(np.array([value for row in rows for value in (row.typical, row.low, row.high)], dtype=float))
    low, high = bulk_limits([_there(row) for row in rows], np.clip(seen, *possible))
    room = 0.05 * (high - low) or 0.05 * max(abs(high), 1.0)
    return max(low - room, possible[0]), min(high + room, possible[1])


def _there(row: DifferenceRow) -> FloatArray:
    """The differences that can be drawn."""
    return known(finite(np.asarray(row.differences, dtype=float)))


def _draw_row(axes: Axes, index: int, row: DifferenceRow, possible: tuple[float, float], size: float) -> None:
    colour = _colour(index)
    differences, (left, right) = _there(row), axes.get_xlim()
    if not len(differences):
        axes.annotate("nothing finite", (0, index), (4, 0), textcoords="offset points", va="center", fontsize=10 * size**0.5)
        return
    inside = differences[(differences >= left) & (differences <= right)]
    heights = index - DOTS - 0.22 * _stacked(inside)
    whole: dict[str, Any] = {"color": colour, "clip_on": False}
    axes.plot(inside, heights, "o", alpha=0.55, markersize=5 * size, markeredgewidth=0, **whole)
    _point_beyond(axes, index, differences, row, size)
    if np.isfinite(row.low):
        interval = np.clip([row.low, row.high], *possible)
        axes.plot(interval, [index + 0.16] * 2, color=colour, linewidth=2.5 * size, solid_capstyle="butt")
    if left <= row.mean <= right:  # not where it is unknown
        axes.plot(row.mean, index + 0.16, "|", markersize=13 * size, markeredgewidth=2 * size, **whole)
    if np.isfinite(row.typical):
        axes.plot(row.typical, index + 0.16, "D", markersize=8 * size, markeredgecolor="white", markeredgewidth=size, **whole)


def _colour(index: int) -> str:
    """That of the arm's curve, where the baseline is the first."""
    return str(line_style(index + 1)["color"])


def _point_beyond(axes: Axes, index: int, differences: FloatArray, row: DifferenceRow, size: float) -> None:
    """Draw an arrow at each edge that differences or the mean lie beyond, and write beside it how many do and which."""
    low, high = axes.get_xlim()
    told = {
        "left": _told_beyond(differences[differences < low], row.mean if row.mean < low else math.nan),
        "right": _told_beyond(differences[differences > high], row.mean if row.mean > high else math.nan),
    }
    place, colour = axes.get_yaxis_transform(), _colour(index)
    for side, edge, marker, inward in (("left", 0.0, "<", 1), ("right", 1.0, ">", -1)):
        if told[side]:
            axes.plot(edge, index + BENEATH, marker, transform=place, color=colour, markersize=6 * size, clip_on=False)
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "ha": side, "fontsize": max(6.0, 9 * size)}
            axes.annotate(told[side], (edge, index + BENEATH), (7 * inward * size, 0), xycoords=place, color=ink(colour), **style)


def _told_beyond(differences: FloatArray, mean: float) -> str:
    """What lies beyond an edge, in words; nothing where nothing does."""
    nearest_first = [f"{value:+.3g}".replace("-", MINUS) for value in sorted(differences, key=abs)]
    listed = ", ".join(nearest_first) if len(nearest_first) <= MOST_LISTED else f"{nearest_first[0]} to {nearest_first[-1]}"
    parts = [f"{len(differences)} beyond: {listed}"] if nearest_first else []
    parts += [f"mean {mean:+.3g}".replace("-", MINUS)] if math.isfinite(mean) else []
    return "; ".join(parts)


def _place_rows(figure: Figure, axes: Axes, left: float, tall: float, axis: str, heading: Sequence[str]) -> None:
    """Size the figure after its rows, labels, title and axis label."""
    width = left + ROW_WIDTH + 0.3
    title, *others = [fitted_in(line, width - 0.3, 11, bold=not index) for index, line in enumerate(heading)]
    label = fitted_in(axis, width - 0.3, 11)
    other = "\n".join(others)
    lines = [text.count("\n") + 1 if text else 0 for text in (title, other)]
    above, below = 0.2 + LINE_HEIGHT * sum(lines), 0.45 + LINE_HEIGHT * (label.count("\n") + 1)
    height = above + tall + below
    figure.set_size_inches(width, height)
    axes.set_position((left / width, below / height, ROW_WIDTH / width, tall / height))
    place: dict[str, Any] = {"fontsize": 11, "va": "top", "linespacing": 1.2}
    figure.text(0.15 / width, 1 - 0.1 / height, title, weight="bold", **place)
    figure.text(0.15 / width, 1 - (0.1 + LINE_HEIGHT * lines[0]) / height, other, **place)
    figure.text(0.5, 0.1 / height, label, fontsize=11, va="bottom", ha="center", linespacing=1.2)


def _stacked(values: FloatArray) -> FloatArray:
    """Heights from 0 to 1 that keep equal and near values from hiding each other: dots of one bin stand in a column."""
    span = np.ptp(values) or 1.0
    bins = np.round((values - np.min(values)) / span * 40).astype(int)
    place = np.array([(bins[:index] == bins[index]).sum() for index in range(len(bins))])
    heights: FloatArray = place / max(1, place.max())
    return heights
