"""The command that looks whether a config would train: check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.options import is_set, print_json, takes
from gradclip_cli.cli.subjects import SubjectOptions, subject_options

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config
    from gradclip_cli.experiments.check import Checked


@click.command()
@subject_options
@takes(SubjectOptions)
def check(options: SubjectOptions) -> None:
    """Look whether a config or a model would train, before it does: build it, take a few steps, and store nothing.

    MODEL is FILE.py:function, package.module:function or a saved FILE.keras.

    Tells the model's variables, the data and what is odd about them, loss, metrics and optimizer, what chance scores, whether
    builds and steps repeat to the bit, and how long a step and a comparison take here. Exit 1 tells that it would not train.
    """
    from gradclip_cli.experiments import check_report
    from gradclip_cli.experiments.check import WouldNotTrain
    from gradclip_cli.runs.trainers import available_cores

    checked, cores = checked_with_display(options.chosen, options.data_dir), available_cores()
    if not options.as_json:
        print_checked(checked, cores)
    try:
        check_report.require_trains(checked)
    except WouldNotTrain as error:
        error.facts = check_report.to_dict(checked, cores)
        raise
    if options.as_json:
        print_json(check_report.to_dict(checked, cores))


def checked_with_display(config: Config, data_directory: Path | None, *, other_ways: bool = True) -> Checked:
    """Check a config, showing what is done."""
    from gradclip_cli.cli.displays import DownloadDisplay, StepDisplay
    from gradclip_cli.experiments import check as experiment

    with StepDisplay("check", None, stage="checking whether it trains", quiet=is_set("quiet")) as display:
        return experiment.check(
            config,
            data_directory=data_directory,
            download_progress=DownloadDisplay(),
            preparing=display.doing,
            other_ways=other_ways,
        )


def print_problem(checked: Checked) -> None:
    """Print what the model and the data are."""
    from gradclip_cli.cli.console import print_table, tell
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.experiments import check_report

    config, elsewhere = checked.config, "check --json"
    tell(f"{config.name}: {config.model.label} on {config.data.label}, seed {config.training.seed}", sentence=True)
    tell()
    print_table(Table(*check_report.variable_table(checked), primary=["variable", "shape"]), elsewhere)
    tell(check_report.parameters(checked), sentence=True)
    tell()
    print_table(Table(*check_report.array_table(checked), primary=["array", "shape", "range"], texts=["holds"]), elsewhere)


def print_remarks(checked: Checked) -> None:
    """Print what was assumed, and what is odd."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.experiments import check_report

    for lines, style in ((checked.remarks, "dim"), (check_report.warnings(checked), "yellow")):
        if lines:
            tell()
        for line in lines:
            tell(line, style, sentence=True)


def print_checked(checked: Checked, cores: int) -> None:
    """Print what was found, for people."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.experiments import check_report

    print_problem(checked)
    tell()
    _print_facts(check_report.facts(checked, cores))
    print_remarks(checked)
    if not check_report.obstacles(checked):
        tell()
        tell(check_report.conclusion(checked), sentence=True)


def _print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names with texts beside them, which a terminal breaks at words."""
    from gradclip_cli.cli.console import results_console, tell
    from gradclip_cli.cli.layout import GAP, LEAST_TEXT, wrapped

    console, indent = results_console(), max(len(name) for name, _ in facts) + GAP
    for name, text in facts:
        lines = wrapped(text, max(LEAST_TEXT, console.width - indent)) if console.is_terminal else [text]
        for beside, line in zip([name, *[""] * len(lines)], lines, strict=False):
            tell(f"{beside:{indent}}{line}")
