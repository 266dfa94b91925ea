"""Detectors of explosion in one picture: how early each sees a divergence, at what cost it could, and its false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from gradclip_cli.arrays import FloatArray
from gradclip_cli.plots.style import COLOURS, fitted_in, known, say_nothing_to_draw, styled

# In inches.
PANEL, HEIGHT, LEFT, BETWEEN, RIGHT, ABOVE, BELOW, LEGEND_LINE = 3.7, 3.7, 0.8, 0.75, 0.25, 0.85, 0.65, 0.26
LEGEND_COLUMNS = 2
BEYOND = 6
"""Times the allowed rate of false alarms that the axis of costs reaches, at most."""
FIRST = 0.8
"""Where the axis of steps begins, so that what is seen 1 step before shows."""
CHANCE, GREY = "by chance", "#b9b9b9"


@dataclass(frozen=True)
class DetectorLine:
    """A detector: its name, and its `style`: the number of its quantity, and whether over the running median.

    By 1 to H steps before the event: `seen` (H,), the share of events seen that early, and `by_chance` (H,) the same of moments
    at which nothing happened. `costs`, by other thresholds: false alarms per 1,000 steps, the share of events seen early, and
    that by chance, (T,) each; `fixed` is the first two at its own threshold.
    """

    name: str
    style: tuple[int, bool]
    seen: FloatArray
    by_chance: FloatArray
    costs: tuple[FloatArray, FloatArray, FloatArray]
    fixed: tuple[float, float]


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms per 1,000 steps of a detector in an arm, with the ends of its interval."""

    arm: str
    detector: str
    style: tuple[int, bool]
    rate: float
    low: float
    high: float


def detectors_figure(
    title: str, lines: Sequence[DetectorLine], alarms: Sequence[FalseAlarms], allowed: float, early: int
) -> Figure:
    """Draw three panels: events seen by lead, seen early by cost with a dot at each fixed threshold, and false alarms by arm.

    `allowed` is the rate of false alarms at which thresholds were fixed; early is so many steps before the event.
    """
    rows = -(-(len(lines) + 1) // LEGEND_COLUMNS)
    below = BELOW + 0.15 + rows * LEGEND_LINE
    width, height = LEFT + 3 * PANEL + 2 * BETWEEN + RIGHT, ABOVE + HEIGHT + below
    with styled():
        figure = Figure(figsize=(width, height))
        first, second, third = (
            figure.add_axes(((LEFT + i * (PANEL + BETWEEN)) / width, below / height, PANEL / width, HEIGHT / height))
            for i in range(3)
        )
        _draw_early(first, lines)
        _draw_cost(second, lines, allowed)
        second.set_title(f"At what cost, {early} steps before")
        _draw_false_alarms(third, alarms, allowed)
        handles, names = first.get_legend_handles_labels()
        figure.legend(handles, names, loc="lower left", bbox_to_anchor=(0.1 / width, 0.02), ncols=LEGEND_COLUMNS, frameon=False)
        heading = fitted_in(title, width - 0.4, 13, bold=True)
        figure.text(0.2 / width, 1 - 0.15 / height, heading, fontsize=13, weight="bold", va="top")
    return figure


def _look(style: tuple[int, bool]) -> dict[str, Any]:
    """A colour for the quantity, dashed where it is as it is."""
    quantity, relative = style
    return {"color": COLOURS[1:][quantity % 6], "linestyle": "-" if relative else (0, (4, 1.6)), "linewidth": 2.2}


def _draw_early(axes: Axes, lines: Sequence[DetectorLine]) -> None:
    axes.set_title("How early")
    axes.set_xlabel("steps before the divergence, at least")
    axes.set_ylabel("share of divergences seen")
    _shares(axes)
    if not lines:
        say_nothing_to_draw(axes, "no detector")
        return
    steps = np.array([FIRST, *range(1, len(lines[0].seen) + 1)])
    by_chance = np.array([line.by_chance for line in lines])
    for line in lines:
        axes.step(steps, _from_the_edge(line.seen), where="pre", label=fitted_in(line.name, 5, 10), **_look(line.style))
    least, largest = (_from_the_edge(ends) for ends in (by_chance.min(axis=0), by_chance.max(axis=0)))
    axes.fill_between(steps, least, largest, color=GREY, linewidth=1.5, label=CHANCE)
    axes.set_xscale("log")
    axes.set_xlim(FIRST, max(2, len(steps) - 1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _from_the_edge(shares: FloatArray) -> FloatArray:
    """Shares by steps from 1, the first also at the axis's edge."""
    return np.concatenate([shares[:1], shares])


def _draw_cost(axes: Axes, lines: Sequence[DetectorLine], allowed: float) -> None:
    axes.set_xlabel("false alarms per 1,000 steps")
    _shares(axes)
    most = max([allowed, *(line.fixed[0] for line in lines)])
    for line in lines:
        rates, shares, by_chance = line.costs
        axes.plot(rates, by_chance, color=GREY, linewidth=1.5)
        axes.plot(rates, shares, **_look(line.style))
        axes.plot(*line.fixed, "o", color=_look(line.style)["color"], markersize=8, markeredgecolor="white", zorder=5)
    axes.set_xlim(0, max(BEYOND * allowed, 1.3 * most) or 1)
    _draw_allowed(axes, allowed, 0.95)


def _draw_false_alarms(axes: Axes, alarms: Sequence[FalseAlarms], allowed: float) -> None:
    axes.set_title("False alarms on fresh seeds")
    axes.set_xlabel("per 1,000 steps, with 95% intervals")
    places = _places(alarms)
    for place, each in zip(places, alarms, strict=True):
        look = _look(each.style)
        ends = [each.low, min(each.high, 1e6)]
        axes.plot(ends, [place, place], color=look["color"], linestyle=look["linestyle"], linewidth=2.2)
        axes.plot(each.rate, place, "o", color=look["color"], markersize=7, markeredgecolor="white")
    arms = list(dict.fromkeys(each.arm for each in alarms))
    for arm in arms:
        first = next(place for place, each in zip(places, alarms, strict=True) if each.arm == arm)
        name = fitted_in(arm, PANEL - 0.3, 10, bold=True)
        axes.annotate(name, (0.02, first - 0.75), xycoords=("axes fraction", "data"), weight="bold", fontsize=10, va="center")
    axes.set_ylim(max([*places, 0]) + 0.7, -1.2)
    axes.set_yticks([])
    axes.set_xlim(0, 1.1 * max([allowed, *known(np.array([each.high for each in alarms]))]) or 1)
    _draw_allowed(axes, allowed, 0.01)


def _places(alarms: Sequence[FalseAlarms]) -> list[float]:
    """A row each, with room above the first of an arm for its name."""
    arms = [each.arm for each in alarms]
    return [index + 1.2 * len(dict.fromkeys(arms[: index + 1])) - 1.2 for index in range(len(alarms))]


def _draw_allowed(axes: Axes, allowed: float, height: float) -> None:
    axes.axvline(allowed, color="#555555", linewidth=1, linestyle=(0, (1, 1.5)), zorder=1)
    axes.annotate(
        "allowed", (allowed, height), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points", fontsize=9
    )


def _shares(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
