"""Arms compared: their curves side by side, in panels of losses, metrics and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from gradclip_cli.labels import ELLIPSIS, SHORT, elided, split_beginning
from gradclip_cli.plots.curves import Look, draw_curve, is_within, limit_epochs, limit_values
from gradclip_cli.plots.multiples import MOST, multiples_figure
from gradclip_cli.plots.panels import Panel
from gradclip_cli.plots.style import (
    LINE_STYLES,
    SAMPLE,
    SEVERAL,
    LineEnd,
    StyledFigure,
    fitted,
    fitted_in,
    ink,
    known,
    line_style,
    name_lines,
    say_nothing_to_draw,
    short_names,
    styled,
    text_width,
)

# In inches.
LEFT, PANEL_WIDTH, PANEL_HEIGHT, TITLE, FOOT, LINE_HEIGHT = 0.95, 4.4, 2.75, 0.42, 0.55, 0.2
# So many arms at most are named beside their lines, and drawn with their bands and single runs.
FEW = 8
MOST_THRESHOLDS = 6  # named one by one
MOST_LISTED = 100  # letters of arms' names at a threshold


def comparison_figure(panels: Sequence[Panel], columns: int = 2, among: Sequence[Panel] = ()) -> StyledFigure:
    """Draw the panels, so many in a row: losses, metrics, gradients. Where they don't fill the last row, it ends early.

    Where the figure is one of several, `among` are the panels of all: an arm looks the same in each, and so do the epochs.

    A few arms with short names are named beside their lines, with long ones in a legend below; many have a small panel each,
    and more than there is room for are one line each.
    """
    among = among or panels
    names = list(dict.fromkeys(curve.name for panel in among for curve in panel.curves))
    if FEW < len(names) <= MOST:
        return multiples_figure(panels, columns, among)
    shared, short = short_names(names)
    looks = {name: Look(label, line_style(index)) for index, (name, label) in enumerate(zip(names, short, strict=True))}
    beside = len(names) <= FEW and max(map(len, short), default=0) <= SHORT
    heading = [f"The name of each arm begins with {shared}"] if shared else []
    heading += [_crowd_sentence(len(names))] if len(names) > FEW else []
    with styled():
        figure = StyledFigure()
        grid = figure.subplots(-(-len(panels) // columns), columns, sharex=True, squeeze=False)
        drawn = list(zip(grid.flat, panels, strict=False))
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        limit_epochs(grid[0, 0], among)
        ends = [_draw_panel(axes, panel, looks) for axes, panel in drawn]
        feet = [_draw_foot(axes, panel, looks, beside=beside) for axes, panel in drawn]
        if not beside:
            _place(figure, grid, 0.15, heading, feet, _draw_legend(figure, list(looks.values()), columns))
            return figure
        room = 0.15 + 1.2 * SAMPLE + text_width(name for panel_ends in ends for _, name, _ in panel_ends)
        _place(figure, grid, room, heading, feet, None)
        for (axes, panel), panel_ends in zip(drawn, ends, strict=True):
            name_lines(axes, panel_ends, [looks[curve.name].line for curve in panel.curves])
    return figure


def _crowd_sentence(arms: int) -> str:
    repeated = f"; after {LINE_STYLES} of them colours, dashes and markers repeat" if arms > LINE_STYLES else ""
    return f"{arms} arms, each as one line, without single seeds and intervals{repeated}"


def _place(
    figure: Figure, grid: Any, room: float, heading: Sequence[str], feet: Sequence[Legend | None], legend: Legend | None
) -> None:
    """Size the figure so that panels keep their size in inches, with `room` right of each, and write the heading."""
    columns = grid.shape[1]
    below = [FOOT + max(_size(foot)[1] for foot in feet[row : row + columns]) for row in range(0, len(feet), columns)]
    column = LEFT + PANEL_WIDTH + room
    width = max(columns * column + 0.1, _size(legend)[0])
    lines = "\n".join(fitted_in(line, width - 0.3, 11) for line in heading)
    above = 0.1 + (LINE_HEIGHT * (lines.count("\n") + 1) + 0.05 if lines else 0.0)
    bottom = _size(legend)[1] + 0.1 if legend else 0.05
    height = above + bottom + len(grid) * (TITLE + PANEL_HEIGHT) + sum(below)
    figure.set_size_inches(width, height)
    for (row, line), axes in np.ndenumerate(grid):
        low = height - above - (row + 1) * (TITLE + PANEL_HEIGHT) - sum(below[:row])
        axes.set_position(((LEFT + line * column) / width, low / height, PANEL_WIDTH / width, PANEL_HEIGHT / height))
    if lines:
        figure.text(0.15 / width, 1 - 0.1 / height, lines, fontsize=11, va="top", linespacing=1.2)


def _size(legend: Legend | None) -> tuple[float, float]:
    """Width and height in inches."""
    if legend is None:
        return 0.0, 0.0
    box, dots = legend.get_window_extent(), legend.get_figure(root=True).dpi  # type: ignore[union-attr]  # it has a figure
    return float(box.width / dots), float(box.height / dots)


def _draw_legend(figure: Figure, looks: Sequence[Look], panels: int) -> Legend:
    """Name all arms beneath so many panels in a row, in as many columns as have room; the more arms, the fewer letters each."""
    letters = 200 if len(looks) <= 12 else 132 if len(looks) <= 40 else 66
    labels = [fitted(label, 50) for label in elided([look.label for look in looks], letters)]
    columns = max(1, min(len(looks), int(panels * (LEFT + PANEL_WIDTH) / (text_width(labels) + 0.75))))
    handles = [Line2D([], [], linewidth=2, **{**look.line, "markevery": None}) for look in looks]
    style: dict[str, Any] = {"handlelength": 3.4, "columnspacing": 1.5, "borderaxespad": 0.5, "frameon": False, "fontsize": 10}
    return figure.legend(handles, labels, loc="lower left", ncols=columns, **style)


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> list[LineEnd]:
    """Draw each curve and the thresholds; return the lines' ends, at the bottom and with the reason for arms without a line."""
    missing = panel.without_line()
    limit_values(axes, panel)
    for curve in panel.curves:
        draw_curve(axes, panel, curve, looks[curve.name], whole=len(looks) <= FEW)
    for (threshold, _), names in panel.curves_by_threshold().items():
        if is_within(axes, threshold):
            axes.axhline(threshold, color=threshold_colour(names, looks), linestyle=":", linewidth=1.2)
    if len(missing) == len(panel.curves):
        say_nothing_to_draw(axes, "nothing finite above zero" if panel.log else "nothing finite")
    axes.set_title(fitted_in(panel.title, PANEL_WIDTH + 0.45, 12, bold=True))
    axes.set_ylabel(fitted_in(panel.unit, PANEL_HEIGHT, 11))
    axes.set_xlabel("epoch")
    axes.xaxis.set_tick_params(labelbottom=True)
    ends: list[LineEnd] = []
    for name, middle in panel.middles().items():
        label, reason = fitted(looks[name].label, SHORT), f": {missing[name]}" if name in missing else ""
        last = axes.get_ylim()[0] if reason else float(known(middle)[-1])
        ends.append((last, f"{label}{reason}", ink(looks[name].line["color"])))
    return ends


def threshold_colour(names: Sequence[str], looks: Mapping[str, Look]) -> str:
    """That of the arm that has the threshold; of several, another one."""
    return str(looks[names[0]].line["color"]) if len(names) == 1 else SEVERAL


def _draw_foot(axes: Axes, panel: Panel, looks: Mapping[str, Look], *, beside: bool) -> Legend | None:
    """Say beneath a panel which thresholds it shows, and, where they aren't named beside it, which arms have no line in it."""
    handles: list[Artist] = []
    texts: list[str] = []
    thresholds = panel.curves_by_threshold()
    for (threshold, scope), names in list(thresholds.items())[:MOST_THRESHOLDS]:
        beyond = "" if is_within(axes, threshold) else " ↑" if threshold > axes.get_ylim()[1] else " ↓"
        texts.append(f"threshold {threshold:g} ({scope}): {listed([looks[name].label for name in names])}{beyond}")
        handles.append(Line2D([], [], color=threshold_colour(names, looks), linestyle=":", linewidth=1.2))
    if rest := list(thresholds)[MOST_THRESHOLDS:]:
        texts.append(f"and {len(rest)} more thresholds, {rest[-1][0]:g} to {rest[0][0]:g}")
        handles.append(Line2D([], [], color=SEVERAL, linestyle=":", linewidth=1.2))
    missing = {} if beside else panel.without_line()
    for reason in dict.fromkeys(missing.values()) if len(missing) < len(panel.curves) else ():
        texts.append(f"{reason}: {listed([looks[name].label for name in missing if missing[name] == reason])}")
        handles.append(Line2D([], [], linestyle="none"))
    if not texts:
        return None
    place = axes.transAxes + ScaledTranslation(0, -FOOT, axes.figure.dpi_scale_trans)
    style: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "handlelength": 1.8, "frameon": False, "fontsize": 9}
    lines = [fitted_in(text, PANEL_WIDTH - 0.4, 9) for text in texts]
    return axes.legend(handles, lines, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=place, **style)


def listed(labels: Sequence[str]) -> str:
    """These arms in short: all, what they begin with and their number, or the first ones."""
    separator = "; " if any("," in label for label in labels) else ", "
    whole = separator.join(labels)
    if len(whole) <= MOST_LISTED:
        return whole
    shared, _ = split_beginning(labels)
    if shared:
        return f"{len(labels)} arms, {shared}{ELLIPSIS}"
    return separator.join(elided(labels[:3], SHORT)) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
