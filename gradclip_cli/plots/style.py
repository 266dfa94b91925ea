"""What all figures share: colours, fonts, names beside lines, text made safe and measured so that nothing is cut, saving."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.typing import ColorType

from gradclip_cli.arrays import FloatArray
from gradclip_cli.labels import split_beginning, wrapped
from gradclip_cli.texts import for_picture, for_terminal

LineEnd = tuple[float, str, str]  # last value, name, colour

# Okabe and Ito 2008, "Color universal design": told apart by colour-blind readers; black first, for the baseline.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
SEVERAL = "#555555"  # what belongs to several lines, or to none
# Told apart in grey too.
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKERS = ("", "o", "s", "^", "D", "v")
PLAIN_STYLES = (len(COLOURS) - 1) * len(DASHES)
LINE_STYLES = PLAIN_STYLES * len(MARKERS)
# A picture of more pixels can't be drawn, or takes more memory than it is worth.
DOTS_PER_INCH, MOST_PIXELS_A_SIDE, MOST_PIXELS = 120, 32_000, 100_000_000
NOTEBOOK_PIXELS_PER_INCH = 72  # as wide as matplotlib's own are there; drawn with twice as many dots
SAMPLE = 0.3
"""Inches of a line that stand before its name."""
FARTHEST = 1e200  # from 0; beyond, the arithmetic of axes overflows
TICKS = {"major.size": 2.5, "minor.size": 1.5, "major.width": 0.6, "minor.width": 0.4, "major.pad": 2}
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


PRINTED = {
    **STYLE,
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "normal",
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    **{f"{axis}tick.{size}": points for axis in "xy" for size, points in TICKS.items()},
    "pdf.fonttype": 42,  # TrueType, which publishers ask for, and text that can be searched
    "svg.fonttype": "none",  # text, not outlines
}
CREATOR = "gradclip compare --figure"
"""What a file of a figure for a paper says of who made it, by which it is known as gradclip's."""
PRINTED_DOTS = 300


def printed() -> AbstractContextManager[None]:
    """The context in which a figure for a paper is drawn and saved."""
    return matplotlib.rc_context(PRINTED)  # type: ignore[arg-type]  # its stub wants the keys as literals


def styled() -> AbstractContextManager[None]:
    """The context in which a figure is drawn and saved."""
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]  # its stub wants the keys as literals


class StyledFigure(Figure):
    """A figure that looks the same whoever draws it, and that a notebook shows by itself; pyplot knows nothing of it."""

    def draw(self, renderer: RendererBase) -> None:
        with styled():
            super().draw(renderer)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """What Jupyter shows: a PNG, and the size to show it at, in pixels."""
        drawn = io.BytesIO()
        save_to(self, drawn, 2 * NOTEBOOK_PIXELS_PER_INCH)
        width, height = (round(NOTEBOOK_PIXELS_PER_INCH * inches) for inches in self.get_size_inches())
        return drawn.getvalue(), {"width": width, "height": height}


def line_style(index: int) -> dict[str, Any]:
    """Colour and dash of the line at `index`, and a marker where those repeat. Yellow, hard to see on white, is left out."""
    style = {"color": COLOURS[index % (len(COLOURS) - 1)], "linestyle": DASHES[index % len(DASHES)]}
    marker = MARKERS[index // PLAIN_STYLES % len(MARKERS)]
    return {**style, "marker": marker, "markersize": 5, "markevery": 0.12} if marker else style


def luminance(colour: ColorType) -> float:
    """Relative luminance, 0 for black to 1 for white (WCAG 2.1)."""
    channels = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def ink_on(colour: ColorType) -> str:
    """Black or white, whichever stands out more from what is behind."""
    return "white" if luminance(colour) < 0.18 else "black"  # where both stand out equally


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


def set_log_limits(axes: Axes, least: float, largest: float) -> None:
    """Make the y axis logarithmic, from a little below the least to a little above the largest value."""
    low, high = np.log10([least, largest])
    margin = max(0.18, 0.06 * (high - low))
    axes.set_ylim(10.0 ** (low - margin), 10.0 ** (high + margin))
    logarithmic(axes)


def finite(values: FloatArray) -> FloatArray:
    """The finite values, NaN elsewhere, as float64; those farther from 0 than axes can reach stand at their end."""
    return np.clip(np.where(np.isfinite(values), values, np.nan).astype(np.float64), -FARTHEST, FARTHEST)


def positive(values: FloatArray) -> FloatArray:
    """The values that a log scale can show, NaN elsewhere."""
    return np.maximum(finite(np.where(values > 0, values, np.nan)), 1 / FARTHEST)


def known(values: FloatArray) -> FloatArray:
    """The finite values."""
    return values[np.isfinite(values)]


def whole_numbers(most: int) -> matplotlib.ticker.MaxNLocator:
    """Ticks at whole numbers, about `most` of them."""
    return matplotlib.ticker.MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def draw_line(axes: Axes, x: FloatArray, values: FloatArray, **style: Any) -> None:
    """Draw a line, and a dot wherever a value stands alone between unknown ones, since a line needs two."""
    there = np.pad(np.isfinite(values), 1)
    if there.any():  # or matplotlib, asked for markers, fails
        axes.plot(x, values, **style)
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    if alone.any():
        axes.plot(x[alone], values[alone], "o", color=style["color"], markersize=4, clip_on=style.get("clip_on", True))


def say_nothing_to_draw(axes: Axes, why: str) -> None:
    """Write in the middle of the axes why they are empty."""
    axes.annotate(why, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", backgroundcolor="white")


def name_lines(axes: Axes, ends: Sequence[LineEnd], lines: Sequence[dict[str, Any]] = ()) -> None:
    """Write each line's name beside its end, moved apart where they would overlap; the axes' place and limits must be final.

    The names stay between the axes' bottom and top, as far as there is room. With the style of each of the `lines`, a piece
    of it stands before its name, so that the two are found together without colours.
    """
    if not ends:
        return
    box, dots = axes.get_window_extent(), axes.get_figure(root=True).dpi  # type: ignore[union-attr]  # axes drawn here have a figure
    spots = [((axes.transData.transform((0, value))[1] - box.y0) / box.height, name, colour) for value, name, colour in ends]
    order = sorted(range(len(spots)), key=spots.__getitem__)
    heights = _spread([spots[index][0] for index in order], 1.3 * 10 / 72 * dots / box.height)
    piece = SAMPLE * dots / box.width if lines else 0.0
    for height, index in zip(heights, order, strict=True):
        _, name, colour = spots[index]
        axes.annotate(name, (1.015 + 1.2 * piece, height), xycoords="axes fraction", color=colour, fontsize=10, va="center")
        if lines:
            style = {**lines[index], "markevery": None, "transform": axes.transAxes, "clip_on": False}
            axes.add_line(Line2D([1.015, 1.015 + piece], [height] * 2, linewidth=2, **style))


def _spread(spots: Sequence[float], gap: float) -> FloatArray:
    """Move sorted places apart to at least `gap`, each as little as possible, inside 0 to 1 where there is room."""
    ladder = gap * np.arange(len(spots))
    spread: FloatArray = np.clip(ascending(np.asarray(spots) - ladder), 0.0, max(0.0, 1 - ladder[-1])) + ladder
    return spread


def ascending(values: FloatArray) -> FloatArray:
    """The nearest values (n,), in least squares, that never fall: the max-min formula (Barlow et al. 1972), for few values.

    SciPy's isotonic regression gives the same, but its import takes a tenth of a comparison's time.
    """
    places = range(len(values))
    return np.array(
        [max(min(values[low : high + 1].mean() for high in places[at:]) for low in places[: at + 1]) for at in places]
    )


def fitted(text: str, letters: int) -> str:
    """Any text as a figure draws it literally, in lines of at most `letters`: all that is not our own goes through here."""
    return "\n".join(for_picture(line) for line in wrapped(drawable(text), letters))


def fitted_in(text: str, inches: float, size: float, *, bold: bool = False) -> str:
    """Any text as `fitted` makes it, in lines no wider than `inches` at `size` points."""
    letters = max(1, int(inches * 72 / (0.5 * size)))
    while text_width([lines := fitted(text, letters)], size, bold=bold) > inches and letters > 1:
        letters = int(0.9 * letters)
    return lines


def short_names(names: Sequence[str]) -> tuple[str, list[str]]:
    """What long names begin with, and the rest of each, in letters that can be drawn; `fitted` is still to come."""
    return split_beginning([drawable(name) for name in names])


def drawable(text: str) -> str:
    """The text on one line; what can't be seen, or isn't in the figures' font, is written out as in Python."""
    font = _letters_of_the_font()
    return "".join(
        letter if ord(letter) in font else letter.encode("unicode_escape").decode("ascii") for letter in for_terminal(text)
    )


@functools.cache
def _letters_of_the_font() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def text_width(texts: Iterable[str], size: float = 10, *, bold: bool = False) -> float:
    """Width in inches of the widest line of these texts, in the figures' font at `size` points."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    lines = {line for text in texts for line in text.splitlines()}
    return (
        max((float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) for line in lines), default=0.0) / 72
    )


def percent(share: float) -> str:
    """A share as a whole percentage that says 0 and 100 only where nothing is missing."""
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    return f"{share:.0%}"


def save(figure: Figure, paths: Sequence[Path]) -> None:
    """Write a figure under a temporary name and move it into place, in each path's format; a huge one in fewer dots."""
    with styled():
        for path in paths:
            temporary = path.with_name(f".{path.name}")
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(temporary, format=path.suffix[1:], dpi=_dots(figure, DOTS_PER_INCH), metadata=metadata)
            temporary.replace(path)


def save_to(figure: Figure, file: BinaryIO, dots_per_inch: int) -> None:
    """Write a figure as a PNG into a file that is open; a huge one in fewer dots."""
    with styled():
        figure.savefig(file, format="png", dpi=_dots(figure, dots_per_inch))


def save_printed(figure: Figure, file: BinaryIO, form: str) -> None:
    """Write a figure for a paper as a pdf, svg or png, at its size to the point; without a date, so that bytes stay the same."""
    about: dict[str, dict[str, Any]] = {
        "pdf": {"Creator": CREATOR, "CreationDate": None},
        "svg": {"Creator": CREATOR, "Date": None},
        "png": {"Software": CREATOR},
    }
    with printed():
        figure.savefig(file, format=form, dpi=_dots(figure, PRINTED_DOTS), metadata=about[form])


def _dots(figure: Figure, wanted: int) -> float:
    """Dots an inch: so many, or what a picture of its size can have."""
    width, height = figure.get_size_inches()
    return float(min(wanted, MOST_PIXELS_A_SIDE / max(width, height), (MOST_PIXELS / (width * height)) ** 0.5))
