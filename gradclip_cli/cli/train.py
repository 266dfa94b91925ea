"""The command that trains configs: run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.execution import RunsFailed, count, print_results, require_none_failed, results_as_json, train
from gradclip_cli.cli.options import (
    TrainingOptions,
    complete_configs,
    json_option,
    parameters,
    print_json,
    results_option,
    seeds_option,
    settings_option,
    takes,
    training_options,
)
from gradclip_cli.cli.planning import print_plan, say_resets, say_too_few_seeds
from gradclip_cli.errors import ExitCode
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.runs.many import Result


@parameters
class RunOptions(TrainingOptions):
    """What `run` takes."""

    configs: Sequence[str]
    seeds: str | None
    seed: int | None
    settings: Sequence[str]
    results: Path
    force: bool
    dry_run: bool
    save_model: bool
    keep_checkpoint: bool
    as_json: bool


@click.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=complete_configs)
@seeds_option(otherwise="; else each config's own")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="One seed, by its number: --seeds 3 is 0, 1 and 2; this is 3."
)
@settings_option
@results_option()
@training_options
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and stop.")
@click.option("--save-model", is_flag=True, help="Save each complete run's model: model.keras, or model.pt.")
@click.option("--keep-checkpoint", is_flag=True, help="Keep it, so that more epochs can be added later.")
@json_option
@takes(RunOptions)
def run(options: RunOptions) -> None:
    """Train configs: files, or shipped ones by name (none, clipnorm, clipvalue, ...).

    Each run gets DIR/ARM/seed-N with metrics.csv (a row an epoch), steps.csv (a row a step), config.yaml and run.json.
    Finished runs are left as they are. Exit 3 tells that a run diverged.

    A config with a `command`, such as [python, train.py, --seed, "{seed}"], starts a script of yours for each seed, and a
    recorder in it writes the run; python is the interpreter that runs gradclip.
    """
    from gradclip_cli.config import loading
    from gradclip_cli.config.seeds import parse_seeds

    if options.seed is not None and options.seeds is not None:
        message = "--seed is one seed, --seeds a count or a list of them: give one of the two."
        raise click.UsageError(message, click.get_current_context())
    given = loading.read_all(options.configs, options.settings)
    seeds = parse_seeds(options.seeds) if options.seeds is not None else None
    seeds = seeds if options.seed is None else [options.seed]

    from gradclip_cli.runs import many

    planned = many.plan([loaded.config for loaded in given], seeds, options.results, force=options.force)
    for loaded in given:
        say_resets(loaded)
    say_too_few_seeds(planned)
    if options.dry_run:
        print_plan(planned, options.as_json, resets={loaded.config.name: list(loaded.resets) for loaded in given})
        return
    try:
        ended = train(planned, options, save_model=options.save_model, keep_checkpoint=options.keep_checkpoint)
        require_none_failed(ended)
    except (many.Interrupted, RunsFailed) as error:
        if options.as_json:
            error.facts = results_as_json(error.results)
        else:
            print_results(error.results)
        raise
    if options.as_json:
        print_json(results_as_json(ended))
    else:
        print_results(ended)
    _exit_where_diverged(ended)


def _exit_where_diverged(ended: Sequence[Result]) -> None:
    """End with an exit code of its own where a run diverged."""
    from gradclip_cli.cli.console import note
    from gradclip_cli.runs.metadata import Status

    if diverged := count(ended, Status.DIVERGED):
        note(f"{diverged} of {counted(len(ended), 'run')} diverged.")
        click.get_current_context().exit(ExitCode.DIVERGED)
