"""What of a page can be looked at closely where Bokeh is installed: its curves, differences by seed, twins, and steps.

Bokeh's own script stands in the page, so that no host is asked for it. Without Bokeh the page has its pictures alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages import live_panels
from gradclip_cli.pages.elements import as_json
from gradclip_cli.pages.live_figures import item
from gradclip_cli.pages.live_pairs import pairs_figure, twins_figure
from gradclip_cli.pages.live_steps import held, steps_figure
from gradclip_cli.pages.steps import Trace
from gradclip_cli.plots import Panel, line_style

__all__ = ["colours_of", "data", "data_of_panels", "held_together", "is_installed", "script", "shown_panels", "thinned"]

PAIRS = "pairs"


def is_installed() -> bool:
    """Whether Bokeh is there."""
    return importlib.util.find_spec("bokeh") is not None


def script() -> str:
    """Bokeh's own script, without what needs widgets, tables or WebGL."""
    from bokeh.resources import Resources

    return str(Resources(mode="inline", components=["bokeh"]).js_raw[0])


def data(compared: Comparison, panels: Sequence[Panel], traces: Sequence[Trace] = ()) -> str:
    """All live figures of a comparison as the page's script wants them, in JSON that can't end the element it stands in."""
    colours = colours_of([part.arm.name for part in compared.arms])
    made = shown_panels(panels, colours)
    if not compared.others:
        return held_together(colours, made, traces)
    pairs = {"place": PAIRS, "title": "", "item": item(pairs_figure(colours), f"live-{PAIRS}")}
    return held_together(colours, [*made, pairs], traces, twins=item(twins_figure(), "live-twins"))


def data_of_panels(own: Mapping[str, Panel], compared: Comparison | None = None, panels: Sequence[Panel] = ()) -> str:
    """The curves alone, for a page that can't be asked further looks: `own` are at places of their own, each with its own arms.

    `panels` are those of a comparison, at places `panel-N`.
    """
    shown = colours_of([part.arm.name for part in compared.arms] if compared else [])
    made = shown_panels(panels, shown)
    for place, panel in own.items():
        colours = colours_of([curve.name for curve in panel.curves])
        made.append({**_figure(place, panel, colours), "arms": _arms(colours)})
    return held_together(shown, made, ())


def thinned(panels: Iterable[Panel]) -> str:
    """What live panels leave out, in a sentence; nothing where nothing is, or none are live."""
    return live_panels.thinned(panels) if is_installed() else ""


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Each arm's colour, as its picture has it, by name."""
    return {name: str(line_style(place)["color"]) for place, name in enumerate(names)}


def shown_panels(panels: Sequence[Panel], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Any panels, each as a live figure at its place `panel-N`."""
    return [_figure(f"panel-{number}", panel, colours) for number, panel in enumerate(panels)]


def _figure(place: str, panel: Panel, colours: Mapping[str, str]) -> dict[str, Any]:
    return {"place": place, "title": panel.title, "item": item(live_panels.panel_figure(panel, colours), f"live-{place}")}


def _arms(colours: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "colour": colour} for name, colour in colours.items()]


def held_together(colours: Mapping[str, str], figures: Sequence[dict[str, Any]], traces: Sequence[Trace], **others: Any) -> str:
    """Live figures and the steps of any runs, for places `steps-N`, as JSON; the colours are those of arms by name."""
    steps = {}
    if traces:
        runs = [held(trace, colours.get(trace.arm, "#000000")) for trace in traces]
        steps = {"steps": {"item": item(steps_figure(traces), "live-steps"), "runs": runs}}
    return as_json({"arms": _arms(colours), "figures": list(figures), **steps, **others})
