"""The command that writes a comparison as one HTML file: report."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from gradclip_cli.cli.comparisons import ComparedOptions, compared_options, looked_at, warnings_once_recorded
from gradclip_cli.cli.options import SELDOM, parameters, remark, takes


@parameters
class ReportOptions(ComparedOptions):
    """What `report` takes."""

    output: Path | None
    open_it: bool


@click.command()
@compared_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The page.  [default: report.html where compare puts its files]",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@takes(ReportOptions)
def report(options: ReportOptions) -> None:
    """Write a comparison of stored runs as one HTML file, to read offline, to send and to keep.

    It holds the answer, the verdicts and what they rest on, tables, pictures, what was trained, the configs, and where all came
    from; it asks no host for anything, and can be read without JavaScript. With Bokeh (pip install 'gradclip-cli[report]') its
    curves can be looked at closely. The same runs give the same file.
    """
    gc.set_threshold(SELDOM)
    from gradclip_cli.cli.console import note, tell
    from gradclip_cli.pages import page
    from gradclip_cli.pages.answer import answer

    compared, folder = looked_at(options)
    path = options.output or folder / "report.html"
    page.require_ours(path)
    warnings = warnings_once_recorded(compared, options.results)
    page.write(compared, path)
    for sentence in answer(compared):
        tell(sentence, sentence=True)
    for warning in warnings:
        note(f"warning: {warning}", "yellow")
    remark(f"wrote {path}")
    if options.open_it:
        click.launch(str(path))
