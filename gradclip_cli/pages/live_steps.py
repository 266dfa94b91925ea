"""The live figure of a run's steps, which the page's script fills with any of the runs that the page holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.pages.live_figures import blank
from gradclip_cli.pages.numbers import packed, short
from gradclip_cli.pages.steps import Measure, Trace
from gradclip_cli.plots.style import known

COLUMNS = ("x", "left", "right", "low", "high", "after_low", "after_high", "loss_low", "loss_high", "share", "percent")
WIDE = 1000
"""From so many times its smallest value on, a loss that is never below zero is drawn on a logarithmic axis."""
STRIP = 0.04
"""The height of the strip of clipped steps, as a share of the figure's."""


def steps_figure(traces: Sequence[Trace]) -> Any:
    """Norms and, beneath, the loss on the same steps, with a crosshair through both; the source is `steps`.

    In the upper figure stand the threshold and, at the foot, the strip of clipped steps. The spans `threshold` and `cursor` are
    the script's to move, and so are the colours of what is named `after`.
    """
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, CrosshairTool, Span

    source = ColumnDataSource({name: [1.0, 1.0] for name in COLUMNS}, name="steps")  # without a value Bokeh warns of axes
    norms, losses = _norms(source), _losses(source, log=is_wide(traces))
    losses.x_range = norms.x_range
    at_step = Span(dimension="height", line_dash="dotted", line_color="#555555")
    for each in (norms, losses):
        each.add_tools(CrosshairTool(overlay=[at_step, Span(dimension="width", line_dash="dotted", line_color="#555555")]))
        each.add_layout(Span(name="cursor", dimension="height", location=0, line_color="#d55e00", visible=False))
    return column(norms, losses, sizing_mode="stretch_width")


def _norms(source: Any) -> Any:
    from bokeh.models import HoverTool, LinearScale, Range1d, Span

    shown = blank("step", "", log=True)
    for name, low, high, colour in (("before", "low", "high", "#8a8a8a"), ("after", "after_low", "after_high", "#000000")):
        label = {"source": source, "color": colour, "legend_label": f"{name} clipping", "name": name}
        shown.varea("x", low, high, fill_alpha=0.5, **label)
        shown.line("x", high, **label)
    shown.extra_y_ranges, shown.extra_y_scales = {"strip": Range1d(0, 1)}, {"strip": LinearScale()}
    strip = {"source": source, "y_range_name": "strip", "fill_alpha": "share", "color": None, "fill_color": "#000000"}
    shown.quad(left="left", right="right", bottom=0, top=STRIP, **strip)
    shown.add_layout(Span(name="threshold", dimension="width", location=1.0, line_width=2, line_dash="dashed"))
    dots = shown.scatter("x", "high", source=source, size=8, fill_alpha=0, line_alpha=0)
    tips = [("step", "@x{0}"), ("before clipping", "@low{0.000} to @high{0.000}"), ("largest after", "@after_high{0.000}")]
    shown.add_tools(HoverTool(renderers=[dots], tooltips=[*tips, ("clipped", "@percent{0}%")], mode="vline"))
    shown.legend.orientation, shown.legend.click_policy = "horizontal", "hide"
    shown.add_layout(shown.legend[0], "above")
    return shown


def _losses(source: Any, *, log: bool) -> Any:
    from bokeh.models import HoverTool

    shown = blank("step", "loss", log=log, height=220)
    shown.varea("x", "loss_low", "loss_high", source=source, color="#555555", fill_alpha=0.4)
    shown.line("x", "loss_high", source=source, color="#555555")
    dots = shown.scatter("x", "loss_high", source=source, size=8, fill_alpha=0, line_alpha=0)
    tips = [("step", "@x{0}"), ("loss", "@loss_low{0.000} to @loss_high{0.000}")]
    shown.add_tools(HoverTool(renderers=[dots], tooltips=tips, mode="vline"))
    return shown


def is_wide(traces: Sequence[Trace]) -> bool:
    """Whether losses are so far apart that only a logarithmic axis shows them, and none is below zero."""
    values = known(np.concatenate([edge for trace in traces for edge in trace.loss] or [np.zeros(0)]))
    return bool(len(values) and values.min() > 0 and values.max() > WIDE * values.min())


def held(trace: Trace, colour: str) -> dict[str, Any]:
    """A run's steps as the script takes them."""
    return {
        "name": trace.name,
        "title": trace.title,
        "colour": colour,
        "clips": trace.clips,
        "steps": trace.recorded,
        "x": packed(trace.steps),
        "share": packed(trace.clipped),
        "loss": _edges(trace.loss, log=bool((known(np.concatenate(trace.loss)) > 0).all())),
        "measures": [_measure(each, clips=trace.clips) for each in trace.measures],
    }


def _measure(measure: Measure, *, clips: bool) -> dict[str, Any]:
    return {
        "name": measure.name,
        "unit": measure.unit,
        "clipping": measure.clipping,
        "before": _edges(measure.before, log=True),
        "after": _edges(measure.after, log=True) if clips else [],
        "spread": packed(measure.spread, log=True),
        "finite": measure.finite,
        "infinite": measure.infinite,
        "threshold": None if measure.threshold is None else short(measure.threshold),
    }


def _edges(edges: tuple[FloatArray, FloatArray], *, log: bool) -> list[dict[str, Any]]:
    """The smallest and the largest of each bin; once, where they are the same."""
    low, high = edges
    both = (high,) if np.array_equal(low, high, equal_nan=True) else (low, high)
    return [packed(edge, log=log) for edge in both]
