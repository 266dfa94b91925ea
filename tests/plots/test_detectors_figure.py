"""The picture of detectors: shares fall with the lead, each detector is named once, and a bare one is drawn too."""

from __future__ import annotations

import math

import numpy as np

from gradclip_cli import plots
from gradclip_cli.plots import DetectorLine, FalseAlarms


def line(name: str, quantity: int = 0, relative: bool = True) -> DetectorLine:
    seen = np.array([0.9, 0.5, 0.2, 0.0])
    costs = (np.array([0.0, 1.0, 5.0]), np.array([0.0, 0.2, 0.7]), np.array([0.0, 0.1, 0.4]))
    return DetectorLine(name, (quantity, relative), seen, seen / 10, costs, (1.0, 0.2))


ALARMS = [FalseAlarms("explosive", "loss", (2, False), 1.0, 0.5, 2.0), FalseAlarms("article", "loss", (2, False), 0.0, 0.0, 0.3)]


def test_lines_are_what_was_measured() -> None:
    figure = plots.detectors_figure("Detectors", [line("gradient norm"), line("loss", 2, False)], ALARMS, 1.0, 2)
    early, cost, false = figure.axes
    assert early.lines[0].get_xdata()[1:].tolist() == [1, 2, 3, 4]
    assert early.lines[0].get_ydata()[1:].tolist() == [0.9, 0.5, 0.2, 0.0]
    assert early.lines[0].get_linestyle() != early.lines[1].get_linestyle()
    assert early.lines[0].get_color() != early.lines[1].get_color()
    dots = [drawn for drawn in cost.lines if drawn.get_marker() == "o"]
    assert [(drawn.get_xdata()[0], drawn.get_ydata()[0]) for drawn in dots] == [(1.0, 0.2)] * 2
    assert "2 steps before" in cost.get_title(loc="left")
    ends = [drawn.get_xdata() for drawn in false.lines if len(drawn.get_xdata()) == 2]
    assert [0.5, 2.0] in [list(each) for each in ends]
    assert [text.get_text() for text in false.texts if text.get_text() in ("explosive", "article")] == ["explosive", "article"]


def test_each_detector_and_chance_stand_once_in_the_legend() -> None:
    figure = plots.detectors_figure("Detectors", [line("gradient norm"), line("loss", 2)], ALARMS, 1.0, 2)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["gradient norm", "loss", "by chance"]


def test_no_detector_and_no_bound_are_drawn_too() -> None:
    unbounded = FalseAlarms("none", "loss", (2, True), math.nan, -math.inf, math.inf)
    figure = plots.detectors_figure("$x_1$ " * 40, [], [unbounded], 0.0, 10)
    figure.canvas.draw()
    assert any("no detector" in text.get_text() for text in figure.axes[0].texts)
