"""The command that compares the runs that are there: compare."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gradclip_cli.cli import conditions, papers
from gradclip_cli.cli.options import (
    SELDOM,
    Command,
    FiniteFloat,
    complete_arms,
    json_option,
    parameters,
    print_json,
    remark,
    seeds_option,
    stored_results_option,
    takes,
)
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.metrics import DEFAULT_METRIC, METRICS, PLANNED_SHARE

if TYPE_CHECKING:
    from gradclip_cli.evidence.comparison import Comparison
    from gradclip_cli.evidence.conditions import Condition, Outcome

_WITH_TARGET = ", ".join(name for name, metric in METRICS.items() if metric.takes_target)
_DEFAULT_EFFECT = f"{DEFAULT_METRIC.unit.asked(DEFAULT_METRIC.planned_effect(0))}; {PLANNED_SHARE:.0%} of what has no usual one"

FORMATS = ("latex", "markdown", "csv")
"""What `evidence.pasted` can write, whose import would slow every start."""


@parameters
class ComparedOptions:
    """What says which runs are compared, and how."""

    arms: Sequence[str]
    results: Path
    baseline: str | None
    metric: str | None
    seeds: str | None
    target_loss: float | None
    effect: float | None
    margin: float | None


@parameters
class CompareOptions(ComparedOptions, papers.PaperOptions):
    """What `compare` takes."""

    out: Path | None
    form: str | None
    fail_if: Sequence[Condition]
    as_json: bool


class MetricName(click.ParamType[str]):
    """What arms are compared by: one of gradclip's metrics, or one that the runs have."""

    name = "metric"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(METRICS)}|NAME]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in METRICS if name.startswith(incomplete)]


_COMPARED = (
    click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=complete_arms),
    stored_results_option(),
    click.option(
        "--baseline",
        metavar="ARM",
        shell_complete=complete_arms,
        help="What the others are held against.  [default: the unclipped one, of several the one called none]",
    ),
    click.option(
        "--metric",
        type=MetricName(),
        help="What verdicts are about; NAME is a metric of the runs' own, such as mae or, evaluated, val_mae.  "
        f"[default: {DEFAULT_METRIC.name}; without accuracy the runs' first metric, evaluated, else their evaluated loss]",
    ),
    seeds_option(otherwise=", or all; else those that an experiment planned there, else all"),
    click.option(
        "--target-loss",
        type=FiniteFloat(),
        metavar="LOSS",
        help=f"Target of {_WITH_TARGET}.  [default: half a uniform guess's]",
    ),
    click.option(
        "--effect",
        type=FiniteFloat(),
        help=f"Difference to plan seeds for, in the metric's unit.  [default: {_DEFAULT_EFFECT}]",
    ),
    click.option("--margin", type=FiniteFloat(), help="Say where arms are equivalent within this, in the metric's unit."),
)


def compared_options(command: Command) -> Command:
    """The fields of `ComparedOptions`."""
    for option in reversed(_COMPARED):
        command = option(command)
    return command


@click.command()
@compared_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the files.  [default: compare/ in the results folder, and there one named after the arms]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Print nothing but the verdict table, to paste elsewhere; a CSV has the numbers unrounded.",
)
@papers.paper_options
@conditions.fail_if_option()
@json_option
@takes(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare arms with a baseline, paired by seed: tables and verdicts here; comparison.* and differences.* in a folder.

    Each run is scored by its last epoch, unless the metric says otherwise: losses are capped at a uniform guess's, and a
    diverged run scores as one throughout. p-values are of exact signed-rank tests, Holm-adjusted over the arms. Arms with runs
    whose seeds nobody named, such as recorded ones may be, are compared unpaired, by exact rank-sum tests.
    """
    if options.form and options.as_json:
        raise click.UsageError("--format and --json are both what stdout is to hold: give one of the two.")
    papers.require_file(options)
    gc.set_threshold(SELDOM)
    from gradclip_cli.cli.console import note

    wanted = conditions.with_arms_found(options.fail_if, options.results)
    compared, folder = _compared(options)
    figure = papers.drawn(compared, options)
    paths, warnings = _written(compared, folder, options)
    outcomes = _outcomes(wanted, compared)
    _print(compared, outcomes, options)
    for warning in warnings:
        note(f"warning: {warning}", "yellow")
    if paths:
        remark(f"wrote {', '.join(path.name for path in paths)} to {folder}")
    if figure:
        papers.write(*figure, options.figure)
    conditions.end_by(outcomes, _as_json(compared, outcomes) if options.as_json else {})


def _outcomes(wanted: Sequence[Condition], compared: Comparison) -> list[Outcome]:
    if not wanted:
        return []
    from gradclip_cli.evidence.conditions import judged

    return [judged(condition, compared) for condition in wanted]


def _print(compared: Comparison, outcomes: Sequence[Outcome], options: CompareOptions) -> None:
    """Print the comparison as it was asked for; as JSON not where a condition can't be judged: then the error's JSON has it."""
    if options.as_json:
        if all(outcome.holds is not None for outcome in outcomes):
            print_json(_as_json(compared, outcomes))
    elif options.form:
        _print_table(compared, options.form)
    else:
        from gradclip_cli.cli.console import tell_summary
        from gradclip_cli.evidence import summaries

        print_comparison(compared)
        tell_summary(summaries.of_comparison(compared))


def _as_json(compared: Comparison, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    from gradclip_cli.evidence import report

    return {**report.to_dict(compared), **conditions.as_json(outcomes)}


def _compared(options: CompareOptions) -> tuple[Comparison, Path]:
    """The comparison, and the folder of its files."""
    from gradclip_cli.evidence import looks

    if options.out:
        looks.require_no_report(options.out)
    compared, look = looked_at(options)
    return compared, options.out or look


def looked_at(options: ComparedOptions) -> tuple[Comparison, Path]:
    """The comparison that was asked for, with its gradients, and the folder of such looks."""
    from gradclip_cli.config.seeds import parse_seeds
    from gradclip_cli.evidence import comparison, looks
    from gradclip_cli.evidence.questions import Question

    seeds = options.seeds
    wanted: comparison.Seeds = None if seeds is None else "all" if seeds == "all" else parse_seeds(seeds)
    question = Question(options.metric, options.target_loss, options.effect, options.margin)
    compared, folder = looks.looked_at(options.results, options.arms, options.baseline, question, seeds=wanted)
    return comparison.with_gradients(compared), folder


def _written(compared: Comparison, folder: Path, options: CompareOptions) -> tuple[list[Path], list[str]]:
    """Record the look and write the comparison's files: their paths, and warnings, of what could not be written too.

    Raises StoreError where that is a folder that was asked for.
    """
    from gradclip_cli.evidence import looks, report

    warnings = looks.warnings_once_recorded(compared, options.results)
    try:
        return report.write(compared, folder), warnings
    except StoreError as error:
        if options.out:
            raise
        return [], [*warnings, f"nothing was written: {error}"]  # the folder is the user's to look at, even if not to write to


def print_comparison(compared: Comparison) -> None:
    """Print a comparison's tables, and what it says."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.cli.tables import print_runs, print_verdicts
    from gradclip_cli.evidence import remarks, report

    print_runs(compared)
    tell(report.run_caption(compared), "dim", sentence=True)
    if compared.others:
        tell()
        print_verdicts(compared)
        tell(report.verdict_caption(compared), "dim", sentence=True)
    for sentence in remarks.all_sentences(compared):
        tell()
        tell(sentence, sentence=True)


def _print_table(compared: Comparison, form: str) -> None:
    """Print the verdict table alone; what it says is told on stderr."""
    from gradclip_cli.evidence import pasted, remarks, report

    click.echo(pasted.FORMATS[form](compared), nl=False)
    for sentence in (report.verdict_caption(compared), *remarks.all_sentences(compared)):
        remark(sentence, sentence=True)
