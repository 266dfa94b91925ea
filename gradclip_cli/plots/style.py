"""What all figures share: colours, fonts, names beside lines, text that is measured so that nothing is cut, saving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.typing import ColorType
from scipy.optimize import isotonic_regression

FloatArray = npt.NDArray[np.floating[Any]]
LineEnd = tuple[float, str, str]  # last value, name, colour

# Okabe and Ito 2008, "Color universal design": told apart by colour-blind readers; black first, for the baseline.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
# Told apart in grey too.
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "gradclip",  # The same picture gives the same bytes.
}


def styled() -> AbstractContextManager[None]:
    """The context in which a figure is drawn and saved."""
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]  # its stub wants the keys as literals


def line_style(index: int) -> dict[str, Any]:
    """Colour and dash of the line at `index`; 28 lines differ. Yellow, hard to see on white, is left out."""
    return {"color": COLOURS[index % (len(COLOURS) - 1)], "linestyle": DASHES[index % len(DASHES)]}


def luminance(colour: ColorType) -> float:
    """Relative luminance, 0 for black to 1 for white (WCAG 2.1)."""
    channels = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def ink(colour: ColorType) -> str:
    """The colour for text on white: darker where it would be pale."""
    red, green, blue = to_rgb(colour)
    shade = 0.72 if luminance(colour) > 0.25 else 1.0
    return to_hex((red * shade, green * shade, blue * shade))


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers where it spans few powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 1e5 * low:  # beyond it, powers of ten read better
        axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def name_lines(axes: Axes, ends: Sequence[LineEnd], *, within: bool = False) -> None:
    """Write each line's name beside its end, moved apart where they would overlap; the axes' limits must be final.

    `within` keeps the names between the axes' bottom and top, as far as there is room.
    """
    if not ends:
        return
    box = axes.get_window_extent()
    spots = [((axes.transData.transform((0, value))[1] - box.y0) / box.height, name, colour) for value, name, colour in ends]
    line = 1.3 * 10 / 72 * axes.get_figure(root=True).dpi / box.height  # type: ignore[union-attr]  # axes drawn here have a figure
    heights = _spread([spot for spot, *_ in sorted(spots)], line, (0.0, 1.0) if within else (-np.inf, np.inf))
    for height, (_, name, colour) in zip(heights, sorted(spots), strict=True):
        axes.annotate(name, (1.015, height), xycoords="axes fraction", color=colour, fontsize=10, va="center")


def _spread(spots: Sequence[float], gap: float, bounds: tuple[float, float]) -> FloatArray:
    """Move sorted places apart to at least `gap`, each as little as possible, inside the bounds where there is room."""
    ladder = gap * np.arange(len(spots))
    low, high = bounds[0], max(bounds[0], bounds[1] - ladder[-1])
    spread: FloatArray = np.clip(isotonic_regression(np.asarray(spots) - ladder).x, low, high) + ladder
    return spread


def text_width(texts: Iterable[str], size: float = 10, *, bold: bool = False) -> float:
    """Width in inches of the widest line of these texts, in the figures' font at `size` points."""
    font = FontProperties(weight="bold" if bold else "normal")
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return max((float(TextPath((0, 0), line, size, prop=font).get_extents().x1) for line in lines), default=0.0) / 72


def percent(share: float) -> str:
    """A share as a whole percentage that says 0 and 100 only where nothing is missing."""
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    return f"{share:.0%}"


def save(figure: Figure, paths: Sequence[Path]) -> None:
    """Write a figure under a temporary name and move it into place, in each path's format."""
    with styled():
        for path in paths:
            temporary = path.with_name(f".{path.name}")
            figure.savefig(temporary, format=path.suffix[1:], dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
            temporary.replace(path)
