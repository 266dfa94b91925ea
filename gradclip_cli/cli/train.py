"""Commands that train: run, reproduce, sweep, suggest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclip_cli.cli.options import (
    DIVERGED,
    RESULTS,
    cluster_option,
    complete_configs,
    complete_sweeps,
    data_directory_option,
    jobs_option,
    json_option,
    print_json,
    results_option,
    run_facts,
    seeds_option,
    settings_option,
)
from gradclip_cli.errors import GradclipError
from gradclip_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclip_cli.config import Loaded
    from gradclip_cli.experiments.reproduce import Reproduction
    from gradclip_cli.experiments.sweep import Result as SweepResult
    from gradclip_cli.pace import Pace
    from gradclip_cli.runner import PlannedRun, Result
    from gradclip_cli.sweeps import Sweep

FRAMEWORKS = ["tensorflow", "pytorch"]
MOST_RUNS = 10_000
TOLD_RUNS = 10
MOST_SEED = 2**32 - 1  # the schema's, whose import would slow every start


@click.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=complete_configs)
@seeds_option(otherwise="; else each config's own")
@settings_option
@results_option()
@data_directory_option
@jobs_option
@cluster_option
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and stop.")
@click.option("--save-model", is_flag=True, help="Save each complete run's model: model.keras, or model.pt.")
@click.option("--keep-checkpoint", is_flag=True, help="Keep it, so that more epochs can be added later.")
@json_option
@click.pass_context
def run(
    context: click.Context, configs: Sequence[str], seeds: str | None, settings: Sequence[str], results: Path,
    data_dir: Path | None, jobs: int | None, cluster: str | None, force: bool, dry_run: bool, save_model: bool,
    keep_checkpoint: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train configs: files, or shipped ones by name (none, clipnorm, clipvalue, ...).

    Each run gets DIR/ARM/seed-N with metrics.csv (a row an epoch), steps.csv (a row a step), config.yaml and run.json.
    Finished runs are left as they are. Exit 3 tells that a run diverged.
    """
    from gradclip_cli import config as loading

    given = loading.read_all(configs, settings)
    chosen_seeds = loading.parse_seeds(seeds) if seeds is not None else None

    from gradclip_cli import runner

    planned = runner.plan([loaded.config for loaded in given], chosen_seeds, results, force=force)
    for loaded in given:
        _say_resets(context, loaded)
    if few := _too_few_seeds(planned):
        _say(context, few)
    if dry_run:
        _print_plan(planned, as_json, resets={loaded.config.name: list(loaded.resets) for loaded in given})
        return
    try:
        ended = _train(context, planned, data_dir, save_model=save_model, keep_checkpoint=keep_checkpoint)
    except runner.Interrupted as interruption:
        _print_results(interruption.results, as_json)
        raise
    _print_results(ended, as_json)
    _require_none_failed(ended)
    if diverged := _count(ended, "diverged"):
        click.echo(f"{diverged} of {len(ended)} runs diverged.", err=True)
        context.exit(DIVERGED)


@click.command()
@seeds_option(default="10")
@results_option(default=None, told="Folder of the runs and the report.  [default: results/reproduce]")
@click.option(
    "--framework",
    type=click.Choice(FRAMEWORKS),
    default=FRAMEWORKS[0],
    show_default=True,
    help="What trains; the default folder of pytorch's runs is results/reproduce-pytorch.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Another reproduction with these seeds, such as the other framework's: do the verdicts agree?",
)
@data_directory_option
@jobs_option
@cluster_option
@click.option("--dry-run", is_flag=True, help="Show what would be trained and about how long it takes, and stop.")
@json_option
@click.pass_context
def reproduce(
    context: click.Context, seeds: str, results: Path | None, framework: str, against: Path | None, data_dir: Path | None,
    jobs: int | None, cluster: str | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Answer the article's claims: train its arms over many seeds, compare them, write report.md and claims.json.

    Trains none, clipnorm and clipvalue; a control that shows what rounding alone does; clipnorm with a wider threshold for
    the output layer; an explosive setting, unclipped, clipped and with other remedies; and the three arms under Adam.
    Interrupted, the same command goes on with the runs that are missing.
    """
    from gradclip_cli import config

    chosen = config.parse_seeds(seeds)
    folder = results or RESULTS / ("reproduce" if framework == FRAMEWORKS[0] else f"reproduce-{framework}")

    from gradclip_cli.experiments import reproduce as experiment

    planned = experiment.plan_reproduction(chosen, folder, framework)
    _say(context, _estimate(planned, jobs), even_if_quiet=dry_run)
    _say(context, experiment.verdict_sentence(chosen), even_if_quiet=dry_run)
    if dry_run:
        _print_plan(planned, as_json)
        return
    experiment.record_plan(chosen, folder)
    _require_none_failed(_train(context, planned, data_dir), then=", then reports")
    reproduction = experiment.answer_claims(chosen, folder)
    reproduction = experiment.held_against(reproduction, against) if against else reproduction
    reproduction = experiment.write_reproduction(reproduction, folder)
    if as_json:
        click.echo(reproduction.to_json(), nl=False)
        return
    _print_claims(reproduction)
    click.echo(f"report: {folder / 'report.md'}", err=True)


@click.command()
@click.argument("sweep_file", metavar="SWEEP", shell_complete=complete_sweeps)
@settings_option
@results_option(default=None, told="Folder of the runs and the report.  [default: results/ and the sweep's name]")
@data_directory_option
@jobs_option
@cluster_option
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@click.option("--dry-run", is_flag=True, help="Show the plan, with the time that a step takes here, and stop.")
@click.option("--yes", is_flag=True, help=f"Train more than {MOST_RUNS:,} runs.")
@json_option
@click.pass_context
def sweep(
    context: click.Context, sweep_file: str, settings: Sequence[str], results: Path | None, data_dir: Path | None,
    jobs: int | None, cluster: str | None, force: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train a grid of arms and draw its stability map: SWEEP is a file, or a shipped one by name (stability, explode).

    Then each row's best learning rate, chosen on the holdout, is trained with fresh seeds on all training images, and only
    these runs are compared on the test set: does clipping help at its best rate? Interrupted, or with failed runs, the same
    command goes on with what is missing.
    """
    from gradclip_cli import sweeps

    chosen = sweeps.load(sweep_file, settings, most_runs=sys.maxsize if yes else sweeps.MOST_RUNS)
    folder = results or RESULTS / chosen.name

    from gradclip_cli.experiments import sweep as experiment

    planned = experiment.plan(chosen, folder, force=force)
    if dry_run or not context.find_root().params["quiet"]:
        click.echo(_plan_told(chosen, planned, jobs), err=True)
    if dry_run:
        _print_plan(planned, as_json, resets=list(chosen.resets))
        return
    _train_and_tell(context, planned, data_dir)
    result = experiment.read(chosen, folder)
    planned = experiment.plan_best(result, folder, force=force)
    if planned:
        _say(context, f"At the best of each row, with fresh seeds: {_estimate(planned, jobs)}")
        _train_and_tell(context, planned, data_dir)
    result = experiment.compare_best(result, folder)
    experiment.write(result, folder)
    if as_json:
        click.echo(experiment.to_json(result), nl=False)
    else:
        _print_sweep(result)
    click.echo(f"report: {folder / 'report.md'}", err=True)


def _plan_told(chosen: Sweep, planned: Sequence[PlannedRun], jobs: int | None) -> str:
    from gradclip_cli import pace as room
    from gradclip_cli.experiments import sweep as experiment

    paces = room.measure_paces(planned)
    grid = " x ".join(f"{len(axis.labels)} {axis.key}" for axis in chosen.axes)
    fresh = f"; then each row's best with {len(chosen.fresh_seeds)} fresh seeds" if chosen.fresh_seeds else ""
    pace = f" A step takes {', '.join(f'{pace.step * 1e3:.2f}' for pace in paces.values())} ms here." if paces else ""
    seeds = f"{len(chosen.seeds)} seeds" if len(chosen.seeds) > 1 else "one seed"
    shape = f"{chosen.name}: {grid} = {len(chosen.cells)} arms, {seeds} each{fresh}."
    notes = [experiment.verdict_sentence(chosen), *chosen.resets]
    return "\n".join([shape, *filter(None, notes), f"{_estimate(planned, jobs, paces)}{pace}"])


def _print_sweep(result: SweepResult) -> None:
    from gradclip_cli import report
    from gradclip_cli.console import WIDE, output, simple_table
    from gradclip_cli.experiments import sweep as experiment

    console = output()
    console.print(simple_table(experiment.best_columns(), experiment.best_rows(result), texts=["best at"]))
    if result.best:
        console.print()
        columns, rows = report.verdict_columns(result.best.metric), report.verdict_rows(result.best)
        without = ["seeds", "p", "won", "diverged", columns[2]] if console.width < WIDE else []
        console.print(simple_table(columns, rows, texts=["arm", "verdict"], without=without))
        console.print(report.verdict_caption(result.best), style="dim", markup=False)
    for sentence in [*(result.best.sentences if result.best else []), experiment.scope(result)]:
        console.print(f"\n{sentence}", markup=False)


@click.command()
@click.argument("config", metavar="CONFIG", shell_complete=complete_configs)
@click.option("--steps", type=click.IntRange(min=1), default=500, show_default=True, help="Length of the pilot.")
@click.option("--seed", type=click.IntRange(min=0, max=MOST_SEED), help="Seed of the pilot.  [default: the config's own]")
@settings_option
@data_directory_option
@json_option
@click.pass_context
def suggest(
    context: click.Context,
    config: str,
    steps: int,
    seed: int | None,
    settings: Sequence[str],
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Suggest thresholds to try, from the gradients of a short unclipped pilot on a config's model and data.

    For each rule: the YAML to paste, on what share of the pilot's steps it would have acted, and why. Nothing is stored.
    """
    from gradclip_cli import config as loading

    loaded = loading.read(config, settings)
    _say_resets(context, loaded)
    chosen = loaded.config if seed is None else loaded.config.with_seed(seed)
    if chosen.clipping.mode != "none":
        click.echo(f"{chosen.clipping.label} in {config} is ignored: the pilot runs without clipping.", err=True)

    from gradclip_cli.console import DownloadDisplay, StepDisplay, output, simple_table
    from gradclip_cli.experiments import suggest as experiment

    with StepDisplay("pilot", steps, quiet=context.find_root().params["quiet"]) as display:
        pilot = experiment.pilot(
            chosen, steps, data_directory=data_dir, download_progress=DownloadDisplay(), report=display.update
        )
    if as_json:
        print_json(experiment.to_dict(pilot))
        return
    for line in experiment.told(pilot):
        click.echo(line)
    if not pilot.sane_steps:
        return
    headings, rows = experiment.distribution(pilot)
    output().print()
    output().print(simple_table(headings, rows))
    found = [[each.yaml, f"{each.clipped_share:.0%}", each.reason] for each in experiment.suggestions(pilot)]
    if found:
        output().print()
        output().print(simple_table(["to try", "acts on", "because"], found, texts=["because"]))


def _train(context: click.Context, planned: Sequence[PlannedRun], data_directory: Path | None, **options: bool) -> list[Result]:
    """Train what is planned, with the command's own --jobs or --cluster; `options` are those of `runner.execute`."""
    from gradclip_cli import runner, workers
    from gradclip_cli.console import DownloadDisplay, RunDisplay

    told = context.find_root().params
    with RunDisplay(planned, quiet=told["quiet"], verbose=told["verbose"]) as display:
        return runner.execute(
            planned,
            display,
            jobs=context.params["jobs"] or workers.available_cores(),
            cluster=context.params["cluster"],
            data_directory=data_directory,
            download_progress=DownloadDisplay(),
            **options,
        )


def _train_and_tell(context: click.Context, planned: Sequence[PlannedRun], data_directory: Path | None) -> None:
    """Train what is planned, tell how it ended, and raise where a run failed."""
    ended = _train(context, planned, data_directory)
    _say(context, _tally(ended))
    _require_none_failed(ended, then=", then reports")


def _say(context: click.Context, told: str, *, even_if_quiet: bool = False) -> None:
    if even_if_quiet or not context.find_root().params["quiet"]:
        click.echo(told, err=True)


def _say_resets(context: click.Context, loaded: Loaded) -> None:
    """Say what another choice made by --set resets of what the config says."""
    for reset in loaded.resets:
        _say(context, f"{loaded.config.name}: {reset}")


def _too_few_seeds(planned: Sequence[PlannedRun]) -> str:
    """That these arms have too few seeds for a verdict, with the stored ones; empty where there are enough, or one arm only."""
    from gradclip_cli import store

    seeds: dict[Path, set[int]] = {}
    for run in planned:
        folder = run.directory.path.parent
        seeds.setdefault(folder, {stored.seed for stored in store.runs_of(folder)}).add(run.config.training.seed)
    if len(seeds) < 2:
        return ""

    from gradclip_cli import stats

    tests, shared = len(seeds) - 1, len(set.intersection(*seeds.values()))
    needed = stats.seeds_for_a_verdict(tests)
    if shared >= needed:
        return ""
    comparisons = counted(tests, "comparison")
    return f"Verdicts need more seeds: {comparisons} at least {needed} (--seeds {needed}), and these arms share {shared}."


def _tally(ended: Sequence[Result]) -> str:
    """How many runs ended how, and the names of those that diverged or failed."""
    statuses = dict.fromkeys(result.status for result in ended)
    counts = ", ".join(f"{_count(ended, status)} {status}" for status in statuses)
    lines = [f"{len(ended)} runs: {counts}."]
    for status in ("diverged", "failed"):
        names = [result.run.label for result in ended if result.status == status]
        shown = ", ".join(names[:TOLD_RUNS]) + (f" and {len(names) - TOLD_RUNS} more" if len(names) > TOLD_RUNS else "")
        lines += [f"{status}: {shown}"] if names else []
    return "\n".join(lines)


def _require_none_failed(ended: Sequence[Result], then: str = "") -> None:
    if failed := [f"{result.run.label} ({result.told})" for result in ended if result.status == "failed"]:
        shown = "\n  ".join(failed[:TOLD_RUNS] + ["..."] * (len(failed) > TOLD_RUNS))
        raise GradclipError(f"{len(failed)} of {len(ended)} runs failed; the same command trains them again{then}.\n  {shown}")


def _count(ended: Sequence[Result], status: str) -> int:
    return sum(result.status == status for result in ended)


def _estimate(planned: Sequence[PlannedRun], jobs: int | None, paces: Mapping[str, Pace] | None = None) -> str:
    from gradclip_cli import pace, workers

    seconds, size = pace.estimate(planned, paces, jobs=jobs or workers.available_cores())
    todo = sum(run.action != "skip" for run in planned)
    if not todo:
        return f"All {len(planned)} runs are finished."
    duration = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"{todo} of {len(planned)} runs to train: about {duration} and {size / 1e6:.0f} MB."


def _print_plan(planned: Sequence[PlannedRun], as_json: bool, **notes: Any) -> None:
    if as_json:
        runs = [{**run_facts(run.directory), "action": run.action, "reason": run.reason} for run in planned]
        print_json({"runs": runs, **notes})
        return
    for run in planned:
        click.echo(f"{run.action:8} {run.directory.path}  ({run.reason})")


def _print_results(ended: Sequence[Result], as_json: bool) -> None:
    if as_json:
        runs = [{**run_facts(result.run.directory), "status": result.status, "told": result.told} for result in ended]
        print_json({"runs": runs})
        return
    for result in ended:
        click.echo(f"{result.status:11} {result.run.directory.path}")


def _print_claims(reproduction: Reproduction) -> None:
    from gradclip_cli.console import output, simple_table

    rows = [[claim.id, claim.claim, claim.verdict] for claim in reproduction.claims]
    output().print(simple_table(["", "claim", "verdict"], rows, texts=["claim"]))
    if reproduction.agreement:
        output().print(f"\n{reproduction.agreement.sentence}", markup=False)
