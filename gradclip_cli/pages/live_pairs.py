"""The live figures that the page's script fills: the differences of a look seed by seed, and the curves of twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradclip_cli.pages.live_figures import blank, draw


def pairs_figure(colours: Mapping[str, str]) -> Any:
    """Differences by seed: for each arm, by its place, sources `dots-N` and `typical-N`.

    A dot is a seed's difference; a dashed line is the typical one, with its interval as a band. Dots can be chosen.
    """
    from bokeh.models import ColumnDataSource, HoverTool, Line, Scatter, TapTool, VArea

    shown, dots = blank("seed", "difference"), []
    zero = ColumnDataSource({"x": [0, 1], "y": [0, 0]}, name="zero")
    draw(shown, zero, Line(x="x", y="y", line_color="#555555"), "no difference")
    for place, (name, colour) in enumerate(colours.items()):
        typical = ColumnDataSource({key: [] for key in ("x", "y", "low", "high")}, name=f"typical-{place}")
        seeds = ColumnDataSource({key: [] for key in ("x", "y", "seed", "told")}, name=f"dots-{place}")
        draw(shown, typical, VArea(x="x", y1="low", y2="high", fill_color=colour, fill_alpha=0.12), name)
        draw(shown, typical, Line(x="x", y="y", line_color=colour, line_width=2, line_dash="dashed"), name)
        dots.append(draw(shown, seeds, Scatter(x="x", y="y", size=9, line_color=colour, fill_color=colour, fill_alpha=0.6), name))
    tips = [("arm", "$name"), ("seed", "@seed"), ("difference", "@told")]
    shown.add_tools(HoverTool(renderers=dots, tooltips=tips), TapTool(renderers=dots))
    return shown


def twins_figure() -> Any:
    """Curves by epoch of a run and its twin: sources `lines` and `points`."""
    from bokeh.models import ColumnDataSource, HoverTool

    shown = blank("epoch", "", height=260)
    lines = ColumnDataSource({"xs": [[0, 1]], "ys": [[0, 1]], "colour": ["#000000"], "dash": ["solid"]}, name="lines")
    points = ColumnDataSource({key: [] for key in ("x", "y", "colour", "arm")}, name="points")
    shown.multi_line("xs", "ys", source=lines, color="colour", line_dash="dash", line_width=2.5)
    dots = shown.scatter("x", "y", source=points, color="colour", size=6)
    shown.add_tools(HoverTool(renderers=[dots], tooltips=[("arm", "@arm"), ("epoch", "@x"), ("value", "@y{0.[0000]}")]))
    return shown
