"""Arrays to matplotlib figures."""

from gradclip_cli.plots.comparison import Curve, DifferenceRow, Panel, comparison_figure, differences_figure, draw_panel
from gradclip_cli.plots.gradients import GradientTrace, gradients_figure
from gradclip_cli.plots.stability import StabilityMap, stability_figure
from gradclip_cli.plots.style import COLOURS, DASHES, STYLE, FloatArray, LineEnd, save

__all__ = [
    "COLOURS",
    "DASHES",
    "STYLE",
    "Curve",
    "DifferenceRow",
    "FloatArray",
    "GradientTrace",
    "LineEnd",
    "Panel",
    "StabilityMap",
    "comparison_figure",
    "differences_figure",
    "draw_panel",
    "gradients_figure",
    "save",
    "stability_figure",
]
