"""Options of `compare` for a paper: a figure's files, its panels and its size."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gradclip_cli.cli.options import Command, parameters, remark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradclip_cli.evidence.comparison import Comparison

FORMATS = (".pdf", ".svg", ".png")
INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
"""Of each unit: a pt is that of PDF, of which an inch has 72."""
LEAST, MOST = 1.5, 40.0
"""Inches that a figure can be wide and high."""
COLUMN = 3.5
"""Inches of a column of a page that has two."""
USUAL = ("loss", "val_loss", "accuracy", "val_accuracy", "grad_norm", "applied_norm", "clipped", "cut", "differences")
"""Panels that comparisons of classifiers have."""


@parameters
class PaperOptions:
    """What says which figure for a paper is drawn."""

    figure: Sequence[Path]
    panel: Sequence[str]
    width: float | None
    height: float | None


class Length(click.ParamType[float]):
    """A length with its unit, as inches."""

    name = "length"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "LENGTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(rf"([0-9]*\.?[0-9]+)\s*({'|'.join(INCHES)})", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is no length: write a number and in, cm, mm or pt, such as 3.5in or 89mm.", param, ctx)
        inches = float(found[1]) * INCHES[found[2]]
        if not math.isfinite(inches) or not LEAST <= inches <= MOST:
            self.fail(f"{value} is out of range: a figure is between {LEAST:g}in and {MOST:g}in.", param, ctx)
        return inches


class FigureFile(click.Path):
    """A file whose name tells a format that figures have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix.lower() not in FORMATS:
            self.fail(f"{path} should end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.", param, ctx)
        return path


class PanelName(click.ParamType[str]):
    """One of a comparison's panels, which is known once the runs are read."""

    name = "panel"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "PANEL"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in USUAL if name.startswith(incomplete)]


_OPTIONS = (
    click.option(
        "--figure",
        type=FigureFile(path_type=Path, dir_okay=False),
        multiple=True,
        metavar="FILE",
        help="Draw a figure for a paper too: a .pdf, .svg or .png; repeatable, for several formats of it.",
    ),
    click.option(
        "--panel",
        type=PanelName(),
        multiple=True,
        help=f"What it shows: {', '.join(USUAL)}, or a metric of the runs' own; repeatable, for several in one figure.  "
        "[default: the metric that verdicts are about]",
    ),
    click.option("--width", type=Length(), help=f"Its width, such as 7in; or in cm, mm, pt.  [default: {COLUMN}in, a column]"),
    click.option("--height", type=Length(), help="Its height.  [default: what the width and the panels ask for]"),
)


def paper_options(command: Command) -> Command:
    """The fields of `PaperOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def require_file(options: PaperOptions) -> None:
    """Raise UsageError where something is said of a figure without a file for it."""
    said = [f"--{name}" for name in ("panel", "width", "height") if getattr(options, name)]
    if said and not options.figure:
        raise click.UsageError(f"{said[0]} is about a figure for a paper: name its file with --figure, such as loss.pdf.")


def drawn(compared: Comparison, options: PaperOptions) -> tuple[Figure, str] | None:
    """The figure that was asked for and its caption; None where none was. Nothing is written yet."""
    from gradclip_cli.evidence import paper

    if not options.figure:
        return None
    for path in options.figure:
        paper.require_ours(path)
    return paper.drawn(compared, paper.PaperFigure(tuple(options.panel), options.width or COLUMN, options.height))


def write(figure: Figure, caption: str, paths: Sequence[Path]) -> None:
    """Write the figure, and say what its caption must say."""
    from gradclip_cli.cli.console import note
    from gradclip_cli.evidence import paper

    paper.write(figure, paths)
    width, height = figure.get_size_inches()
    remark(f"wrote {', '.join(map(str, paths))} ({width:.4g} x {height:.3g} in)")
    remark(f"For its caption: {caption}", sentence=True)
    if warning := paper.too_tall(figure):
        note(f"warning: {warning}", "yellow")
