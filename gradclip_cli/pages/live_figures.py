"""What all live figures share: a blank one, and how one stands in the page as JSON."""

from __future__ import annotations

from typing import Any

HEIGHT = 320
"""Of a figure, in pixels."""
RANGE = 0.06
"""How far axes go beyond what they show, as a share of it."""


def blank(x: str, y: str, *, log: bool = False, height: int = HEIGHT) -> Any:
    """A figure as wide as there is room for, with tools for zooming only; its title stands above it, where it can be broken."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    made = figure(
        x_axis_label=x,
        y_axis_label=y,
        y_axis_type="log" if log else "linear",
        x_range=Range1d(0, 1),
        height=height,
        sizing_mode="stretch_width",
        tools="box_zoom,pan,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
    )
    made.toolbar.logo, made.toolbar.autohide = None, True
    made.y_range.only_visible = True
    return made


def draw(shown: Any, source: Any, glyph: Any, name: str) -> Any:
    """Draw a glyph of a source, or of columns, under a name; it looks the same whether it is chosen or not.

    Bokeh's own functions for it make three more glyphs, for states that these figures don't have: most of their bytes and time.
    """
    from bokeh.models import ColumnDataSource

    held = source if isinstance(source, ColumnDataSource) else ColumnDataSource(source)
    states = dict.fromkeys(("selection_glyph", "nonselection_glyph", "muted_glyph"))
    return shown.add_glyph(held, glyph, name=name, **states)


def item(figure: Any, target: str) -> dict[str, Any]:
    """A figure as JSON, whose parts are numbered from 1: Bokeh's own numbers depend on what else the process made."""
    from bokeh.embed import json_item

    numbers: dict[str, str] = {}

    def numbered(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: number(child) if key in ("id", "root_id") else numbered(child) for key, child in part.items()}
        return [numbered(child) for child in part] if isinstance(part, list | tuple) else part

    def number(found: str) -> str:
        return numbers.setdefault(found, f"{target}-{len(numbers) + 1}")

    made: dict[str, Any] = numbered(json_item(figure, target))
    return made
