"""A panel as a live figure: a line an arm with its interval, runs thin beneath, thresholds dotted, crosses where runs end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.pages.live_figures import RANGE, blank, draw
from gradclip_cli.plots import Curve, Panel, line_style
from gradclip_cli.plots.comparison import FEW
from gradclip_cli.plots.ranges import NEAR
from gradclip_cli.plots.style import known

MOST_LINES = 300
"""Beyond so many runs in a panel, single ones are not drawn."""
MOST_POINTS = 20
"""Of more points on a line none is drawn; they can be pointed at all the same."""


@dataclass(frozen=True)
class _Pencil:
    """How the arms of a panel are drawn."""

    figure: Any
    panel: Panel
    colours: Mapping[str, str]
    plain: bool
    """Whether each arm is one line, without intervals and single runs."""


def is_plain(panel: Panel) -> bool:
    """Whether a panel's arms are so many that each is one line."""
    return len(panel.curves) > FEW


def thinned(panels: Iterable[Panel]) -> str:
    """What live panels leave out, in a sentence; nothing where nothing is."""
    most = max(panels, key=lambda panel: (len(panel.curves), _lines(panel)), default=None)
    if most and is_plain(most):
        return f"Of {len(most.curves)} arms the live curves are typical values alone, without intervals and single runs."
    runs = _lines(most) if most else 0
    return f"There are {runs:,} runs: the live curves leave single ones out." if runs > MOST_LINES else ""


def _lines(panel: Panel) -> int:
    return sum(len(curve.values) for curve in panel.curves)


def panel_figure(panel: Panel, colours: Mapping[str, str]) -> Any:
    """Any panel; `colours` has each arm's, by name, in the order in which dashes are given out."""
    from bokeh.models import HoverTool, Line

    shown = blank("epoch", panel.unit, log=panel.log)
    middles, pencil = panel.middles(), _Pencil(shown, panel, colours, is_plain(panel))
    lines = [_draw_curve(pencil, curve, middles[curve.name]) for curve in panel.curves]
    for name, threshold in _near_thresholds(panel).items():
        ends = {"x": [0.0, float(max(curve.x.max(initial=1.0) for curve in panel.curves))], "y": [threshold] * 2}
        draw(shown, ends, Line(x="x", y="y", line_color=colours[name], line_dash="dotted", line_width=1.5), name)
    last = max([1.0, *(float(curve.x.max(initial=0)) for curve in panel.curves), *_crosses_at(panel)])
    shown.x_range.start, shown.x_range.end = -RANGE * last, (1 + RANGE) * last
    tips = [("arm", "$name"), ("epoch", "@x{0.##}"), (panel.unit, "@told"), ("interval", "@interval")]
    shown.add_tools(HoverTool(renderers=lines, tooltips=tips, mode="vline" if len(lines) < 3 else "mouse"))
    return shown


def _near_thresholds(panel: Panel) -> dict[str, float]:
    """By arm: its threshold, where that would not flatten the curves."""
    values = known(
        np.concatenate([*panel.middles().values(), *(curve.peaks for curve in panel.curves if curve.peaks is not None)])
    )
    low, high = values.min(initial=np.inf) / NEAR, values.max(initial=0.0) * NEAR
    return {name: threshold for name, (threshold, _) in panel.thresholds.items() if low <= threshold <= high}


def _crosses_at(panel: Panel) -> list[float]:
    return [epoch for curve in panel.curves for epoch in curve.diverged if epoch is not None]


def _dash(place: int) -> Any:
    """The dashes of the arm at a place, as its picture has them, in pixels."""
    pattern = line_style(place)["linestyle"]
    return "solid" if isinstance(pattern, str) else [round(2.5 * length) for length in pattern[1]]


def _draw_curve(pencil: _Pencil, curve: Curve, middle: FloatArray) -> Any:
    """Draw one arm; return what is pointed at."""
    from bokeh.models import ColumnDataSource, Line, Scatter

    shown, panel = pencil.figure, pencil.panel
    x, colour = curve.x.astype(np.float32), pencil.colours[curve.name]
    low, high = _band(panel, curve, middle)
    if not pencil.plain:
        _draw_beneath(pencil, curve, (low, high))
    columns = {"x": x, "y": middle.astype(np.float32), "told": [f"{value:.4g}" for value in middle]}
    columns["interval"] = [f"{a:.4g} to {b:.4g}" if math.isfinite(a) else "-" for a, b in zip(low, high, strict=True)]
    source = ColumnDataSource(columns)
    style = {"line_width": 1.5 if pencil.plain else 2.5, "line_dash": _dash(list(pencil.colours).index(curve.name))}
    pointed = draw(shown, source, Line(x="x", y="y", line_color=colour, **style), curve.name)
    if len(x) <= MOST_POINTS and len(known(middle)):
        pointed = draw(shown, source, Scatter(x="x", y="y", size=6, line_color=colour, fill_color=colour), curve.name)
    _draw_crosses(pencil, curve)
    return pointed


def _draw_beneath(pencil: _Pencil, curve: Curve, band: tuple[FloatArray, FloatArray]) -> None:
    """Peaks or single runs, as thin lines, and the interval."""
    from bokeh.models import Line, VArea

    shown, panel, x, colour = pencil.figure, pencil.panel, curve.x.astype(np.float32), pencil.colours[curve.name]
    if curve.peaks is not None:
        peaks = {"x": x, "y": panel.shown(curve.peaks).astype(np.float32)}
        draw(shown, peaks, Line(x="x", y="y", line_color=colour, line_alpha=0.6), curve.name)
    elif len(curve.values) > 1 and _lines(panel) <= MOST_LINES:
        runs = len(curve.values)
        gaps = np.full((runs, 1), np.nan, np.float32)  # one line with gaps takes a fraction of the bytes of many
        there = {"x": np.tile(x, (runs, 1)), "y": panel.shown(curve.values).astype(np.float32)}
        lines = {axis: np.hstack([values, gaps]).ravel() for axis, values in there.items()}
        draw(shown, lines, Line(x="x", y="y", line_color=colour, line_alpha=min(0.35, 3 / runs), line_width=0.8), curve.name)
    if curve.band is not None:
        low, high = (edge.astype(np.float32) for edge in band)
        glyph = VArea(x="x", y1="low", y2="high", fill_color=colour, fill_alpha=0.2)
        draw(shown, {"x": x, "low": low, "high": high}, glyph, curve.name)


def _band(panel: Panel, curve: Curve, middle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The interval of an arm's middle, within what is possible; unknown where there is none."""
    if curve.band is None:
        return np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    low, high = (np.clip(panel.shown(edge), *panel.bounds) for edge in curve.band)
    return low, high


def _draw_crosses(pencil: _Pencil, curve: Curve) -> None:
    """Mark where runs diverged, each at its last value."""
    from bokeh.models import Scatter

    ends = [
        (epoch, float(there[-1]))
        for values, epoch in zip(pencil.panel.shown(curve.values), curve.diverged, strict=True)
        if epoch is not None and len(there := known(values))
    ]
    if ends:
        x, y = map(list, zip(*ends, strict=True))
        glyph = Scatter(x="x", y="y", marker="x", size=10, line_width=3, line_color=pencil.colours[curve.name])
        draw(pencil.figure, {"x": x, "y": y}, glyph, curve.name)
