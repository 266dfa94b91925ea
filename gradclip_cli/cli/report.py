"""The command that writes what is stored as one HTML file: report."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.comparisons import ComparedOptions, compared_options, looked_at
from gradclip_cli.cli.options import SELDOM, parameters, remark, takes
from gradclip_cli.cli.pointed_at import Kind, Subject, pointed_at

if TYPE_CHECKING:
    from gradclip_cli.pages.shape import Page

PAGE = "report.html"


@parameters
class ReportOptions(ComparedOptions):
    """What `report` takes."""

    study_file: Path | None
    output: Path | None
    open_it: bool

    @property
    def compares(self) -> bool:
        """Whether an option asks for a comparison."""
        return any(
            each is not None for each in (self.baseline, self.metric, self.seeds, self.target_loss, self.effect, self.margin)
        )


@dataclass(frozen=True)
class Written:
    """A page with the folder that it is written into unless another file is named, and what is to be warned of."""

    folder: Path
    page: Callable[[], Page]
    warnings: Callable[[], Sequence[str]] = tuple


@click.command()
@compared_options
@click.option(
    "--study",
    "study_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With a study's folder: its file, where that is no longer where it was.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The page.  [default: report.html in the folder, of a comparison or a run where compare puts its files]",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@takes(ReportOptions)
def report(options: ReportOptions) -> None:
    """Write what is stored as one HTML file, to read offline, to send and to keep.

    What is named decides the page: arms are compared (all of them where none is named), one run (ARM/seed-N, or an arm with one
    run only) is looked at closely, and the folder of a sweep, a study or a try (results/when) is told as a whole.

    The answer stands on top, then what it rests on: tables, maps, pictures, what was trained, the configs, and where all came
    from. The file asks no host for anything, and can be read without JavaScript. With Bokeh (pip install
    'gradclip-cli[report]') its curves can be looked at closely. The same runs give the same file.
    """
    gc.set_threshold(SELDOM)
    from gradclip_cli.cli.console import note, tell
    from gradclip_cli.pages import shape

    subject = pointed_at(options.arms, options.results, compares=options.compares)
    if options.study_file and subject.kind != Kind.STUDY:
        raise click.UsageError("--study names a study's file: give the folder of its runs too, such as results/when.")
    made = _MAKERS[subject.kind](subject, options)
    path = options.output or made.folder / PAGE
    shape.require_ours(path)
    page, warnings = made.page(), made.warnings()
    shape.save(page.html(), path)
    for sentence in page.answer:
        tell(sentence, sentence=True)
    for warning in warnings:
        note(f"warning: {warning}", "yellow")
    remark(f"wrote {path}")
    if options.open_it:
        click.launch(str(path))


def _comparison(subject: Subject, options: ReportOptions) -> Written:
    from gradclip_cli.evidence import looks
    from gradclip_cli.pages import page

    options.arms, options.results = subject.arms, subject.results
    compared, folder = looked_at(options)
    return Written(folder, lambda: page.of(compared), lambda: looks.warnings_once_recorded(compared, subject.results))


def _run(subject: Subject, options: ReportOptions) -> Written:
    from gradclip_cli.evidence.looks import LOOKS
    from gradclip_cli.pages import one_run

    run = subject.run
    assert run
    folder = run.path.parent.parent / LOOKS / f"{run.arm}@{run.path.name}"
    return Written(folder, lambda: one_run.of(run))


def _sweep(subject: Subject, options: ReportOptions) -> Written:
    from gradclip_cli.evidence import looks
    from gradclip_cli.evidence.plans import BEST
    from gradclip_cli.experiments import stored_sweep
    from gradclip_cli.pages import sweep

    result = stored_sweep.read(subject.results)
    best = result.best
    warnings = (lambda: looks.warnings_once_recorded(best, subject.results / BEST)) if best else tuple
    return Written(subject.results, lambda: sweep.of(result), warnings)


def _study(subject: Subject, options: ReportOptions) -> Written:
    from gradclip_cli.experiments import stored_study, study_report
    from gradclip_cli.pages import study

    result = stored_study.read(subject.results, options.study_file)
    return Written(
        subject.results,
        lambda: study.of(result),
        lambda: [*result.warnings, *study_report.record_looks(result, subject.results)],
    )


def _try(subject: Subject, options: ReportOptions) -> Written:
    from gradclip_cli.evidence import looks
    from gradclip_cli.pages import trial

    compared = trial.read(subject.results)
    return Written(subject.results, lambda: trial.of(compared), lambda: looks.warnings_once_recorded(compared, subject.results))


_MAKERS: Mapping[Kind, Callable[[Subject, ReportOptions], Written]] = {
    Kind.COMPARISON: _comparison,
    Kind.RUN: _run,
    Kind.SWEEP: _sweep,
    Kind.STUDY: _study,
    Kind.TRY: _try,
}
