"""A comparison's figure for a paper: the panels that were asked for, at a given size, in files of its own; and its caption."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli import files
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import figures, report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.files import replacing, writing
from gradclip_cli.gradients.scopes import ALL_TOGETHER
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.plots import Names, Panel, Size

DIFFERENCES = "differences"
TALLEST = 9.5
"""Inches of a page between its margins, about."""


@dataclass(frozen=True)
class PaperFigure:
    """What is to be drawn for a paper: `panels` by their names, without any the one of the metric; sizes in inches."""

    panels: tuple[str, ...]
    width: float
    height: float | None = None


def drawn(compared: Comparison, wanted: PaperFigure) -> tuple[Figure, str]:
    """The figure and what its caption must say. Raises ReportError where these runs can't give it."""
    from gradclip_cli import plots
    from gradclip_cli.plots.multiples import MOST

    if len(compared.arms) > MOST:
        raise ReportError(f"A figure for a paper holds up to {MOST} arms, and these are {len(compared.arms)}: name fewer.")
    known = {panel.name: panel for panel in figures.panels(compared)}
    asked = wanted.panels or (_usual(compared, known),)
    _require_known(asked, known)
    names = plots.Names.of([part.arm.name for part in compared.arms])
    size = plots.Size(wanted.width, wanted.height)
    try:
        if asked == (DIFFERENCES,):
            figure, said = _differences(compared, names, size)
        else:
            chosen = [known[name] for name in asked]
            figure, said = plots.paper_panels_figure(chosen, names, size), _caption(chosen, report.counting(compared))
    except plots.TooLowError as error:
        instead = "give a greater --height or --width, or name fewer arms"
        raise ReportError(f"--height {wanted.height:.3g}in is too low: this figure {error}; {instead}.") from None
    return figure, " ".join(filter(None, [said, _called(names)]))


def _usual(compared: Comparison, known: dict[str, Panel]) -> str:
    """The panel of what verdicts are about, else the first."""
    return compared.metric.column if compared.metric.column in known else next(iter(known))


def _require_known(asked: Sequence[str], known: dict[str, Panel]) -> None:
    """Raises ReportError for a panel that this comparison hasn't, or that can't stand beside the others."""
    names = [*known, DIFFERENCES]
    for name in asked:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {near[0]}?" if near else "."
            raise ReportError(f"There is no panel {name!r} here{meant} There are: {', '.join(names)}")
    if DIFFERENCES in asked and len(asked) > 1:
        raise ReportError(f"The panel {DIFFERENCES} stands in a figure of its own: give it a --figure without another --panel.")


def _differences(compared: Comparison, names: Names, size: Size) -> tuple[Figure, str]:
    from gradclip_cli import plots

    most, rows = compared.metric.unit.most, figures.difference_rows(compared)
    axis = figures.difference_axis(compared.metric, names.labels[compared.baseline.arm.name])
    return plots.paper_differences_figure(axis, rows, (-most, most), names, size), f"{plots.differences_title(rows)}."


def _caption(panels: Sequence[Panel], counting: str) -> str:
    """What is drawn, in sentences; `counting` is what arms have so many of."""
    titles = [panel.title for panel in panels]
    if len(titles) > 1:
        titles = [f"({chr(ord('a') + index)}) {title}" for index, title in enumerate(titles)]
    curves = [curve for panel in panels for curve in panel.curves]
    runs = sorted({len(curve.values) for curve in curves if curve.peaks is None} or {len(curve.values) for curve in curves})
    over = f"over {counted(runs[0], counting[:-1]) if len(runs) == 1 else f'{runs[0]} to {runs[-1]} {counting}'}"
    parts = [f"{'; '.join(titles)}, by epoch {over}."]
    parts += ["Bands: 95% intervals of the typical value." if _has_band(panels) else ""]
    parts += ["Thin lines: single runs." if any(curve.peaks is None for curve in curves) and runs[-1] > 1 else ""]
    parts += ["Thin lines above: the largest norm." if any(curve.peaks is not None for curve in curves) else ""]
    parts += [_thresholds(panels)]
    parts += ["Crosses: runs that diverged." if any(end is not None for curve in curves for end in curve.diverged) else ""]
    return " ".join(filter(None, parts))


def _thresholds(panels: Sequence[Panel]) -> str:
    """What thresholds bound that isn't the norm that they are drawn beside."""
    scopes = {name: scope for panel in panels for name, (_, scope) in panel.thresholds.items()}
    others = [scope for scope in dict.fromkeys(scopes.values()) if scope != ALL_TOGETHER.name]
    bound = [f"{scope} ({', '.join(name for name in scopes if scopes[name] == scope)})" for scope in others]
    return f"Dotted: thresholds, which bound {' or '.join(bound)}, not the norm drawn." if bound else ""


def _has_band(panels: Sequence[Panel]) -> bool:
    bands = [curve.band for panel in panels for curve in panel.curves if curve.band is not None]
    return any(bool(np.isfinite(low).any()) for low, _ in bands)


def _called(names: Names) -> str:
    """How arms are named where that isn't whole."""
    return f"Arms are named by what stands for * in {names.pattern}." if names.pattern else ""


def too_tall(figure: Figure) -> str:
    """A warning where a figure is higher than a page; else nothing."""
    height = float(figure.get_size_inches()[1])
    told = f"the figure is {math.ceil(height)}in high, more than a page; give a greater --width, or name fewer arms"
    return told if height > TALLEST else ""


def require_ours(path: Path) -> None:
    """Raises StoreError where something stands at a path that is no figure of gradclip's: it is not written over."""
    from gradclip_cli import plots

    files.require_ours(path, plots.CREATOR.encode(), "figure", "--figure")


def write(figure: Figure, paths: Sequence[Path]) -> None:
    """Write a figure into files, each in the format of its name. The same runs give the same bytes. Raises StoreError."""
    from gradclip_cli import plots

    for path in paths:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                plots.save_printed(figure, file, path.suffix[1:].lower())
