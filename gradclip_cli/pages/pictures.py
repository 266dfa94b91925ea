"""A comparison's pictures for a page: one a panel, so that they stand side by side or beneath each other as there is room."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from gradclip_cli import plots
from gradclip_cli.evidence import figures
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.plots import Panel

DOTS_PER_INCH = 144
"""Sharp on a screen with two dots for each of the page's pixels."""
COLOURS = 128
"""Lines of a few colours and what lies between these and white need no more, and a third of the bytes."""


@dataclass(frozen=True)
class Picture:
    """A PNG as the page holds it, with the width at which its text is as large as the page's, in pixels."""

    source: str
    width: int
    height: int


def panel_pictures(panels: Sequence[Panel]) -> list[Picture]:
    """The panels of a comparison, each by itself; an arm looks alike in all."""
    return [inlined(plots.comparison_figure([panel], columns=1, among=panels)) for panel in panels]


def differences_picture(compared: Comparison) -> Picture:
    """The differences from the baseline, a dot a seed."""
    return inlined(figures.pairs_figure(compared))


def inlined(figure: Figure) -> Picture:
    """A figure as a data URI; the same figure gives the same bytes."""
    drawn, small = io.BytesIO(), io.BytesIO()
    plots.save_to(figure, drawn, DOTS_PER_INCH)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
        width, height = image.size
    source = f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
    return Picture(source, round(width * 96 / DOTS_PER_INCH), round(height * 96 / DOTS_PER_INCH))
