"""Arrays to matplotlib figures."""

from gradclip_cli.plots.comparison import comparison_figure
from gradclip_cli.plots.detectors import DetectorLine, FalseAlarms, detectors_figure
from gradclip_cli.plots.differences import DifferenceRow, differences_figure, differences_title
from gradclip_cli.plots.gradients import gradients_figure
from gradclip_cli.plots.matrix import Matrix, MatrixCell, matrix_figure, matrix_shade
from gradclip_cli.plots.multiples import Names
from gradclip_cli.plots.panels import Curve, Panel
from gradclip_cli.plots.paper import Size, TooLowError, paper_differences_figure, paper_panels_figure
from gradclip_cli.plots.repeats import RepeatPanel, repeats_figure
from gradclip_cli.plots.stability import StabilityMap, stability_figure, stability_shades
from gradclip_cli.plots.style import CREATOR, ink_on, line_style, save, save_printed, save_to
from gradclip_cli.plots.trace import Applied, GradientTrace, Updates
from gradclip_cli.plots.tuning import TunedLine, tuning_figure

__all__ = [
    "CREATOR",
    "Applied",
    "Curve",
    "DetectorLine",
    "DifferenceRow",
    "FalseAlarms",
    "GradientTrace",
    "Matrix",
    "MatrixCell",
    "Names",
    "Panel",
    "RepeatPanel",
    "Size",
    "StabilityMap",
    "TooLowError",
    "TunedLine",
    "Updates",
    "comparison_figure",
    "detectors_figure",
    "differences_figure",
    "differences_title",
    "gradients_figure",
    "ink_on",
    "line_style",
    "matrix_figure",
    "matrix_shade",
    "paper_differences_figure",
    "paper_panels_figure",
    "repeats_figure",
    "save",
    "save_printed",
    "save_to",
    "stability_figure",
    "stability_shades",
    "tuning_figure",
]
