"""Commands that train: run, reproduce, sweep, suggest."""

from __future__ import annotations

import dataclasses
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
    is_set,
    jobs_option,
    json_option,
    print_json,
    remark,
    results_option,
    run_facts,
    seeds_option,
    settings_option,
)
from gradclip_cli.cli.tables import print_verdicts
from gradclip_cli.errors import GradclipError
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclip_cli.article.reproduce import Reproduction
    from gradclip_cli.cli.displays import Grid
    from gradclip_cli.config.loading import Loaded
    from gradclip_cli.config.sweeps import Sweep
    from gradclip_cli.experiments.sweep import Result as SweepResult
    from gradclip_cli.runs.many import PlannedRun, Result
    from gradclip_cli.runs.pace import Pace

FRAMEWORKS = ["tensorflow", "pytorch"]
MOST_RUNS = 10_000
TOLD_RUNS = 10
MOST_SEED = 2**32 - 1  # the schema's, whose import would slow every start


@click.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=complete_configs)
@seeds_option(otherwise="; else each config's own")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="One seed, by its number: --seeds 3 is 0, 1 and 2; this is 3."
)
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
    context: click.Context, configs: Sequence[str], seeds: str | None, seed: int | None, settings: Sequence[str],
    results: Path, data_dir: Path | None, jobs: int | None, cluster: str | None, force: bool, dry_run: bool,
    save_model: bool, keep_checkpoint: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train configs: files, or shipped ones by name (none, clipnorm, clipvalue, ...).

    Each run gets DIR/ARM/seed-N with metrics.csv (a row an epoch), steps.csv (a row a step), config.yaml and run.json.
    Finished runs are left as they are. Exit 3 tells that a run diverged.
    """
    from gradclip_cli.config import loading

    if seed is not None and seeds is not None:
        raise click.UsageError("--seed is one seed, --seeds a count or a list of them: give one of the two.", context)
    given = loading.read_all(configs, settings)
    chosen_seeds = loading.parse_seeds(seeds) if seeds is not None else None if seed is None else [seed]

    from gradclip_cli.runs import many

    planned = many.plan([loaded.config for loaded in given], chosen_seeds, results, force=force)
    for loaded in given:
        _say_resets(loaded)
    if few := _too_few_seeds(planned):
        _say(few)
    if dry_run:
        _print_plan(planned, as_json, resets={loaded.config.name: list(loaded.resets) for loaded in given})
        return
    try:
        ended = _train(context, planned, data_dir, save_model=save_model, keep_checkpoint=keep_checkpoint)
        _require_none_failed(ended)
    except (many.Interrupted, _RunsFailed) as error:
        if as_json:
            error.facts = _results_as_json(error.results)
        else:
            _print_results(error.results)
        raise
    if as_json:
        print_json(_results_as_json(ended))
    else:
        _print_results(ended)
    if diverged := _count(ended, "diverged"):
        from gradclip_cli.cli.console import note

        note(f"{diverged} of {counted(len(ended), 'run')} diverged.")
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
    from gradclip_cli.config import loading

    chosen = loading.parse_seeds(seeds)
    folder = results or RESULTS / ("reproduce" if framework == FRAMEWORKS[0] else f"reproduce-{framework}")

    from gradclip_cli.article import reproduce as experiment

    planned = experiment.plan_reproduction(chosen, folder, framework)
    _say(_estimate(planned, jobs), even_if_quiet=dry_run)
    _say(experiment.verdict_sentence(chosen), even_if_quiet=dry_run)
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
    remark(f"report: {folder / 'report.md'}")


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
    from gradclip_cli.config import sweeps

    chosen = sweeps.load(sweep_file, settings, most_runs=sys.maxsize if yes else sweeps.MOST_RUNS)
    folder = results or RESULTS / chosen.name

    from gradclip_cli.experiments import sweep as experiment

    planned = experiment.plan(chosen, folder, force=force)
    paces = _tell_plan(chosen, planned, jobs) if dry_run or not is_set("quiet") else {}
    if dry_run:
        _print_plan(planned, as_json, resets=list(chosen.resets))
        return
    _train_and_tell(context, planned, data_dir, _grid(chosen))
    result = experiment.read(chosen, folder)
    planned = experiment.plan_best(result, folder, force=force)
    if planned:
        _say(f"At the best of each row, with fresh seeds: {_estimate(planned, jobs, paces)}")
        _train_and_tell(context, planned, data_dir)
    result = experiment.compare_best(result, folder)
    experiment.write(result, folder)
    if as_json:
        click.echo(experiment.to_json(result), nl=False)
    else:
        _print_sweep(result)
    remark(f"report: {folder / 'report.md'}")


def _tell_plan(chosen: Sweep, planned: Sequence[PlannedRun], jobs: int | None) -> dict[str, Pace]:
    """Say what the sweep is; then, once a step's time was measured here, how long it takes. Returns what was measured."""
    from gradclip_cli.cli.console import note
    from gradclip_cli.cli.displays import StepDisplay
    from gradclip_cli.experiments import sweep as experiment
    from gradclip_cli.runs import pace

    grid = " x ".join(f"{len(axis.labels)} {axis.key}" for axis in chosen.axes)
    fresh = f"; then each row's best with {len(chosen.fresh_seeds)} fresh seeds" if chosen.fresh_seeds else ""
    seeds = f"{len(chosen.seeds)} seeds" if len(chosen.seeds) > 1 else "one seed"
    note(f"{chosen.name}: {grid} = {len(chosen.cells)} arms, {seeds} each{fresh}.", sentence=True)
    for sentence in filter(None, [experiment.verdict_sentence(chosen), *chosen.resets]):
        note(sentence, sentence=True)
    with StepDisplay("measuring how long a step takes here", None, quiet=is_set("quiet")) as display:
        paces = pace.measure_paces(planned, display.doing)
    steps = f" A step takes {', '.join(f'{each.step * 1e3:.2f}' for each in paces.values())} ms here." if paces else ""
    note(f"{_estimate(planned, jobs, paces)}{steps}", sentence=True)
    if paces and (later := _with_fresh_seeds(chosen, planned)):
        note(f"Then, with fresh seeds: {_estimate(later, jobs, paces)}", sentence=True)
    return paces


def _with_fresh_seeds(chosen: Sweep, planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """What the runs at the rows' best will be like; which cells these are is not known yet."""
    from gradclip_cli.runs.actions import Action

    rows = [cells[0].config for cells in chosen.rows().values()]
    rows = [config.model_copy(update={"data": config.data.model_copy(update={"holdout": 0})}) for config in rows]
    return [dataclasses.replace(planned[0], config=config, action=Action.TRAIN) for config in rows for _ in chosen.fresh_seeds]


def _grid(chosen: Sweep) -> Grid:
    """The sweep's map, to be shown while it fills."""
    from gradclip_cli.cli.displays import Grid

    rows = [(label, [cell.config.name for cell in cells]) for label, cells in chosen.rows().items()]
    return Grid(chosen.columns.labels, rows)


def _print_sweep(result: SweepResult) -> None:
    from gradclip_cli.cli.console import table, tell
    from gradclip_cli.experiments import sweep as experiment

    headings = experiment.best_columns()
    table(headings, experiment.best_rows(result), primary=headings[:3], texts=["best at"], elsewhere="report.md")
    if result.best:
        from gradclip_cli.evidence import report

        tell()
        print_verdicts(result.best)
        tell(report.verdict_caption(result.best), "dim", sentence=True)
    for sentence in [*(result.best.sentences if result.best else []), experiment.scope(result)]:
        tell()
        tell(sentence, sentence=True)


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
    from gradclip_cli.config import loading

    loaded = loading.read(config, settings)
    _say_resets(loaded)
    chosen = loaded.config if seed is None else loaded.config.with_seed(seed)
    from gradclip_cli.cli.console import note, table, tell
    from gradclip_cli.cli.displays import DownloadDisplay, StepDisplay
    from gradclip_cli.experiments import suggest as experiment

    if chosen.clipping.mode != "none":
        note(f"{chosen.clipping.label} in {config} is ignored: the pilot runs without clipping.")
    with StepDisplay("pilot", steps, quiet=is_set("quiet")) as display:
        pilot = experiment.pilot(
            chosen, steps, data_directory=data_dir, download_progress=DownloadDisplay(),
            report=display.update, preparing=display.doing,
        )  # fmt: skip
    if as_json:
        print_json(experiment.to_dict(pilot))
        return
    for line in experiment.told(pilot):
        tell(line, sentence=True)
    if not pilot.sane_steps:
        return
    headings, rows = experiment.distribution(pilot)
    tell()
    table(headings, rows, primary=[headings[0], "50%", "90%", "largest"], elsewhere="suggest --json")
    found = [[each.yaml, f"{each.clipped_share:.0%}", each.reason] for each in experiment.suggestions(pilot)]
    if found:
        tell()
        headings = ["to try", "acts on", "because"]
        table(headings, found, primary=headings, texts=["because"])


def _train(
    context: click.Context, planned: Sequence[PlannedRun], data_directory: Path | None, grid: Grid | None = None, **options: bool
) -> list[Result]:
    """Train what is planned, with the command's own --jobs or --cluster; `options` are those of `runner.execute`."""
    from gradclip_cli.cli.displays import DownloadDisplay, RunDisplay
    from gradclip_cli.runs import many, workers

    with RunDisplay(planned, quiet=is_set("quiet"), verbose=is_set("verbose"), grid=grid) as display:
        execution = many.Execution(
            jobs=context.params["jobs"] or workers.available_cores(),
            cluster=context.params["cluster"],
            data_directory=data_directory,
            download_progress=DownloadDisplay(),
            **options,
        )
        return many.execute(planned, display, execution)


def _train_and_tell(
    context: click.Context, planned: Sequence[PlannedRun], data_directory: Path | None, grid: Grid | None = None
) -> None:
    """Train what is planned, tell how it ended, and raise where a run failed."""
    ended = _train(context, planned, data_directory, grid)
    remark(_tally(ended))
    _require_none_failed(ended, then=", then reports")


def _say(told: str, *, even_if_quiet: bool = False) -> None:
    if even_if_quiet or not is_set("quiet"):
        from gradclip_cli.cli.console import note

        note(told, sentence=True)


def _say_resets(loaded: Loaded) -> None:
    """Say what another choice made by --set resets of what the config says."""
    for reset in loaded.resets:
        _say(f"{loaded.config.name}: {reset}")


def _too_few_seeds(planned: Sequence[PlannedRun]) -> str:
    """That these arms have too few seeds for a verdict, with the stored ones; empty where there are enough, or one arm only."""
    from gradclip_cli.runs import store

    seeds: dict[Path, set[int]] = {}
    for run in planned:
        folder = run.directory.path.parent
        seeds.setdefault(folder, {stored.seed for stored in store.runs_of(folder)}).add(run.config.training.seed)
    if len(seeds) < 2:
        return ""

    from gradclip_cli.evidence import stats

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
    lines = [f"{counted(len(ended), 'run')}: {counts}."]
    for status in ("diverged", "failed"):
        names = [result.run.label for result in ended if result.status == status]
        shown = ", ".join(names[:TOLD_RUNS]) + (f" and {len(names) - TOLD_RUNS} more" if len(names) > TOLD_RUNS else "")
        lines += [f"{status}: {shown}"] if names else []
    return "\n".join(lines)


class _RunsFailed(GradclipError):
    """Some runs failed; `results` are those of all."""

    kind = "runs failed"

    def __init__(self, message: str, results: list[Result]) -> None:
        super().__init__(message)
        self.results = results


def _require_none_failed(ended: list[Result], then: str = "") -> None:
    if failed := [f"{result.run.label} ({result.message})" for result in ended if result.status == "failed"]:
        more = [f"and {len(failed) - TOLD_RUNS} more"] if len(failed) > TOLD_RUNS else []
        shown = "\n  ".join(failed[:TOLD_RUNS] + more)
        message = f"{len(failed)} of {counted(len(ended), 'run')} failed; the same command trains them again{then}.\n  {shown}"
        raise _RunsFailed(message, ended)


def _count(ended: Sequence[Result], status: str) -> int:
    return sum(result.status == status for result in ended)


def _estimate(planned: Sequence[PlannedRun], jobs: int | None, paces: Mapping[str, Pace] | None = None) -> str:
    from gradclip_cli.runs import pace, workers

    cores = workers.available_cores()
    expected = pace.estimate(planned, paces, jobs=jobs or cores, cores=cores)
    todo = sum(run.action != "skip" for run in planned)
    if not todo:
        return "The run is finished." if len(planned) == 1 else f"All {len(planned)} runs are finished."
    duration, size = _duration(expected.least, expected.most), f"{expected.size / 1e6:.0f} MB"
    return f"{todo} of {counted(len(planned), 'run')} to train: {duration} and {size}."


def _duration(least: float, most: float) -> str:
    """A range where its ends differ by a fifth or more."""
    divisor, unit = (60, "minutes") if most >= 90 else (1, "seconds")
    low, high = f"{least / divisor:.0f}", f"{most / divisor:.0f}"
    return f"about {low} to {high} {unit}" if most >= 1.2 * least and low != high else f"about {high} {unit}"


def _print_plan(planned: Sequence[PlannedRun], as_json: bool, **notes: Any) -> None:
    if as_json:
        runs = [{**run_facts(run.directory), "action": run.action, "reason": run.reason} for run in planned]
        print_json({"runs": runs, **notes})
        return
    from gradclip_cli.cli.console import tell

    for run in planned:
        tell(f"{run.action:8} {run.directory.path}  ({run.reason})")


def _results_as_json(ended: Sequence[Result]) -> dict[str, Any]:
    """How each run ended, for JSON: its last whole epoch's metrics, the seconds it took, and what its gradients say."""
    from gradclip_cli.cli.displays import last_metrics
    from gradclip_cli.errors import StoreError
    from gradclip_cli.evidence import report

    runs = []
    for result in ended:
        run = result.run.directory
        try:
            stored = run.metadata()
        except StoreError:
            stored = {}
        facts = {
            "status": result.status,
            "told": result.message,
            "metrics": last_metrics(run) or None,
            "seconds": stored.get("seconds"),
            "health": (stored.get("health") or {}).get("word"),
        }
        runs.append({**run_facts(run), **report.finite(facts)})
    return {"runs": runs}


def _print_results(ended: Sequence[Result]) -> None:
    from gradclip_cli.cli.console import tell

    for result in ended:
        tell(f"{result.status:11} {result.run.directory.path}")


def _print_claims(reproduction: Reproduction) -> None:
    from gradclip_cli.cli.console import table, tell

    rows = [[claim.id, claim.claim, claim.verdict] for claim in reproduction.claims]
    table(["", "claim", "verdict"], rows, primary=["", "claim", "verdict"], texts=["claim"])
    if reproduction.agreement:
        tell()
        tell(reproduction.agreement.sentence, sentence=True)
