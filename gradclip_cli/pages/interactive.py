"""What of a page can be looked at closely where Bokeh is installed: its curves, and the differences by seed.

Bokeh's own script stands in the page, so that no host is asked for it. Without Bokeh the page has its pictures alone.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.evidence import figures
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages.steps import Trace
from gradclip_cli.plots import Curve, Panel, line_style
from gradclip_cli.plots.ranges import NEAR
from gradclip_cli.plots.style import known, positive

PAIRS = "pairs"
MOST_LINES = 100
"""Beyond so many runs of an arm, single ones can't be told apart."""
MOST_POINTS = 20
"""Of more points on a line none is drawn; they can be pointed at all the same."""
HEIGHT = 320
"""Of a figure, in pixels."""
RANGE = 0.06
"""How far axes go beyond what they show, as a share of it."""


def is_installed() -> bool:
    """Whether Bokeh is there."""
    return importlib.util.find_spec("bokeh") is not None


def script() -> str:
    """Bokeh's own script, without what needs widgets, tables or WebGL."""
    from bokeh.resources import Resources

    return str(Resources(mode="inline", components=["bokeh"]).js_raw[0])


def data(compared: Comparison, panels: Sequence[Panel], traces: Sequence[Trace] = ()) -> str:
    """All figures as the page's script wants them, in JSON that can't end the element it stands in."""
    colours = {part.arm.name: str(line_style(place)["color"]) for place, part in enumerate(compared.arms)}
    made = {f"panel-{number}": (panel.title, _panel_figure(panel, colours)) for number, panel in enumerate(panels)}
    if compared.others:
        title = figures.difference_axis(compared.metric, compared.baseline.arm.name).replace("to the right", "above")
        made[PAIRS] = title.replace("to the left", "below"), _pairs_figure(compared, colours)
    items = [
        {"place": place, "title": f"{title[:1].upper()}{title[1:]}", "item": _item(figure, f"live-{place}")}
        for place, (title, figure) in made.items()
    ]
    items += [_steps_item(number, trace, colours[trace.arm]) for number, trace in enumerate(traces)]
    arms = [{"name": name, "colour": colour} for name, colour in colours.items()]
    return json.dumps({"arms": arms, "figures": items}).replace("<", "\\u003c")


def _steps_item(number: int, trace: Trace, colour: str) -> dict[str, Any]:
    """A run's steps, with what the slider of thresholds counts by."""
    place = f"steps-{number}"
    slider = {"norms": [float(f"{norm:.5g}") for norm in trace.norms], "steps": trace.recorded, "at": trace.threshold}
    return {"place": place, "title": trace.title, "item": _item(_steps_figure(trace, colour), f"live-{place}"), "slider": slider}


def _item(figure: Any, target: str) -> dict[str, Any]:
    """A figure as JSON, whose parts are numbered from 1: Bokeh's own numbers depend on what else the process made."""
    from bokeh.embed import json_item

    numbers: dict[str, str] = {}

    def numbered(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: number(child) if key in ("id", "root_id") else numbered(child) for key, child in part.items()}
        return [numbered(child) for child in part] if isinstance(part, list) else part

    def number(found: str) -> str:
        return numbers.setdefault(found, f"{target}-{len(numbers) + 1}")

    item: dict[str, Any] = numbered(json_item(figure, target))
    return item


def _blank(x: str, y: str, *, log: bool = False) -> Any:
    """A figure as wide as there is room for, with tools for zooming only; its title stands above it, where it can be broken."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    blank = figure(
        x_axis_label=x,
        y_axis_label=y,
        y_axis_type="log" if log else "linear",
        x_range=Range1d(0, 1),
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="box_zoom,pan,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
    )
    blank.toolbar.logo, blank.toolbar.autohide = None, True
    blank.y_range.only_visible = True
    return blank


def _panel_figure(panel: Panel, colours: dict[str, str]) -> Any:
    """One panel: a line an arm with its interval, runs thin beneath, thresholds dotted, crosses where runs diverged."""
    from bokeh.models import HoverTool

    shown = _blank("epoch", panel.unit, log=panel.log)
    middles = panel.middles()
    lines = [_draw_curve(shown, panel, curve, middles[curve.name], colours) for curve in panel.curves]
    for name, threshold in _near_thresholds(panel).items():
        ends = [0.0, float(max(curve.x.max(initial=1.0) for curve in panel.curves))]
        shown.line(ends, [threshold] * 2, color=colours[name], line_dash="dotted", line_width=1.5, name=name)
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


def _draw_curve(shown: Any, panel: Panel, curve: Curve, middle: FloatArray, colours: dict[str, str]) -> Any:
    """Draw one arm; return what is pointed at."""
    from bokeh.models import ColumnDataSource

    x, style = curve.x.astype(np.float32), {"color": colours[curve.name], "name": curve.name}
    place = list(colours).index(curve.name)
    if curve.peaks is not None:
        shown.line(x, panel.shown(curve.peaks).astype(np.float32), line_alpha=0.6, **style)
    elif 1 < len(curve.values) <= MOST_LINES:
        runs = [panel.shown(values).astype(np.float32) for values in curve.values]
        shown.multi_line([x] * len(runs), runs, line_alpha=min(0.35, 3 / len(runs)), line_width=0.8, **style)
    low, high = _band(panel, curve, middle)
    if curve.band is not None:
        shown.varea(x, low.astype(np.float32), high.astype(np.float32), fill_alpha=0.2, **style)
    columns = {"x": x, "y": middle.astype(np.float32), "told": [f"{value:.4g}" for value in middle]}
    columns["interval"] = [f"{a:.4g} to {b:.4g}" if math.isfinite(a) else "-" for a, b in zip(low, high, strict=True)]
    source = ColumnDataSource(columns)
    line = shown.line("x", "y", source=source, line_width=2.5, line_dash=_dash(place), **style)
    unseen = {"fill_alpha": 0, "line_alpha": 0} if len(x) > MOST_POINTS else {}
    points = shown.scatter("x", "y", source=source, size=6, **unseen, **style)
    _draw_crosses(shown, panel, curve, style)
    return points if len(known(middle)) else line


def _band(panel: Panel, curve: Curve, middle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The interval of an arm's middle, within what is possible; unknown where there is none."""
    if curve.band is None:
        return np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    low, high = (np.clip(panel.shown(edge), *panel.bounds) for edge in curve.band)
    return low, high


def _draw_crosses(shown: Any, panel: Panel, curve: Curve, style: dict[str, Any]) -> None:
    """Mark where runs diverged, each at its last value."""
    ends = [
        (epoch, float(there[-1]))
        for values, epoch in zip(panel.shown(curve.values), curve.diverged, strict=True)
        if epoch is not None and len(there := known(values))
    ]
    if ends:
        shown.scatter(*map(list, zip(*ends, strict=True)), marker="x", size=10, line_width=3, **style)


def _pairs_figure(compared: Comparison, colours: dict[str, str]) -> Any:
    """Each arm's difference on each seed, with the typical one as a line: seeds that move all arms stand out."""
    from bokeh.models import HoverTool

    unit = compared.metric.unit.name
    shown = _blank("run" if compared.unpaired else "seed", f"difference{f' ({unit})' if unit else ''}")
    every = [seed for part in compared.others if part.against for seed in part.against.seeds] or [0, 1]
    low, high = min(every) - 0.5, max(every) + 0.5
    shown.x_range.start, shown.x_range.end = low, high
    shown.line([low, high], [0.0, 0.0], color="#555555")
    dots = []
    for part, row in zip([part for part in compared.others if part.against], figures.difference_rows(compared), strict=True):
        assert part.against
        style: dict[str, Any] = {"color": colours[part.arm.name], "name": part.arm.name}
        seeds = part.against.seeds
        told = [compared.metric.unit.amount(float(value), sign=True) for value in row.differences]
        columns = {
            "x": list(map(float, seeds)),
            "y": list(map(float, row.differences)),
            "seed": list(map(str, seeds)),
            "told": told,
        }
        dots.append(shown.scatter("x", "y", source=columns, size=9, fill_alpha=0.6, **style))
        if math.isfinite(row.low):
            shown.varea([low, high], [row.low] * 2, [row.high] * 2, fill_alpha=0.12, **style)
        shown.line([low, high], [row.typical] * 2, line_width=2, line_dash="dashed", **style)
    shown.add_tools(HoverTool(renderers=dots, tooltips=[("arm", "$name"), ("seed", "@seed"), ("difference", "@told")]))
    return shown


def _steps_figure(trace: Trace, colour: str) -> Any:
    """A run's norms before and after clipping, from the smallest to the largest of each bin, and where clipping acted."""
    from bokeh.models import HoverTool, Span

    shown = _blank("step", "global L2 norm", log=True)
    x, before, after = trace.steps, [positive(edge) for edge in trace.before], [positive(edge) for edge in trace.after]
    shown.x_range.start, shown.x_range.end = 0, float(x[-1]) * (1 + RANGE)
    style = {"before clipping": (before, "#8a8a8a"), "after clipping": (after, colour)}
    for name, ((low, high), shade) in list(style.items())[: 2 if trace.clips else 1]:
        shown.varea(x, low, high, color=shade, fill_alpha=0.5, legend_label=name)
        shown.line(x, high, color=shade, legend_label=name)
    lowest = float(known(np.concatenate([*before, *after])).min(initial=np.inf))
    lowest = lowest if math.isfinite(lowest) else 1.0
    half = (x[1] - x[0]) / 2 if len(x) > 1 else 0.5
    columns = {"left": x - half, "right": x + half, "share": trace.clipped}
    columns |= {"bottom": np.full(len(x), lowest / 1.6), "top": np.full(len(x), lowest / 1.2)}
    shown.quad("left", "right", "top", "bottom", source=columns, fill_alpha="share", color=None, fill_color="#000000")
    shown.add_layout(Span(name="threshold", dimension="width", location=trace.threshold or 1.0, line_width=2, line_dash="dashed"))
    points = {"x": x, "y": before[1], "low": before[0], "left": after[1], "share": 100 * trace.clipped}
    dots = shown.scatter("x", "y", source=points, size=8, fill_alpha=0, line_alpha=0)
    tips = [("step", "@x{0}"), ("before clipping", "@low{0.000} to @y{0.000}"), ("largest after", "@left{0.000}")]
    shown.add_tools(HoverTool(renderers=[dots], tooltips=[*tips, ("clipped", "@share{0}%")]))
    shown.legend.orientation, shown.legend.click_policy = "horizontal", "hide"
    shown.add_layout(shown.legend[0], "above")
    return shown
