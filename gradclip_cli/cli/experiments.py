"""Commands that compose an experiment of many runs: reproduce, sweep, study."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.execution import require_none_failed, tally, train
from gradclip_cli.cli.options import (
    RESULTS,
    TrainingOptions,
    complete_studies,
    complete_sweeps,
    is_set,
    json_option,
    parameters,
    remark,
    results_option,
    seeds_option,
    settings_option,
    takes,
    training_options,
)
from gradclip_cli.cli.planning import estimate, print_plan
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS

if TYPE_CHECKING:
    from gradclip_cli.article.reproduce import Reproduction
    from gradclip_cli.cli.grid import Grid
    from gradclip_cli.config.sweeps import Sweep
    from gradclip_cli.experiments.study import Result as StudyResult
    from gradclip_cli.experiments.sweep import Result as SweepResult
    from gradclip_cli.runs.many import PlannedRun
    from gradclip_cli.runs.pace import Pace
    from gradclip_cli.runs.trainers import Way

MOST_RUNS = 10_000
MOST_SENTENCES = 12
"""Of a study's tests, that are told on a terminal."""


@parameters
class ReproduceOptions(TrainingOptions):
    """What `reproduce` takes."""

    seeds: str
    results: Path | None
    framework: str
    against: Path | None
    best_rates: Path | None
    dry_run: bool
    as_json: bool


@click.command()
@seeds_option(default="10")
@results_option(default=None, text="Folder of the runs and the report.  [default: results/reproduce]")
@click.option(
    "--framework",
    type=click.Choice(list(FRAMEWORKS)),
    default=DEFAULT_FRAMEWORK,
    show_default=True,
    help="What trains; the default folder of pytorch's runs is results/reproduce-pytorch.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Another reproduction with these seeds, such as the other framework's: are the effects the same?",
)
@click.option(
    "--best-rates",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="A finished `gradclip sweep stability`: what is left of C2 and C3 at each arm's own best learning rate?",
)
@training_options
@click.option("--dry-run", is_flag=True, help="Show what would be trained and about how long it takes, and stop.")
@json_option
@takes(ReproduceOptions)
def reproduce(options: ReproduceOptions) -> None:
    """Answer the article's claims: train its arms over many seeds, compare them, write report.md and claims.json.

    Trains what the claims need, such as none, clipnorm and clipvalue; clipnorm with a wider threshold for the output layer; an
    explosive setting, unclipped, clipped and with other remedies. Beside it a control that shows what rounding alone does, and
    the three arms under Adam.
    Interrupted, the same command goes on with the runs that are missing.
    """
    from gradclip_cli.config.seeds import parse_seeds

    seeds, framework = parse_seeds(options.seeds), options.framework
    folder = options.results or RESULTS / ("reproduce" if framework == DEFAULT_FRAMEWORK else f"reproduce-{framework}")

    from gradclip_cli.article import reproduce as experiment
    from gradclip_cli.article.best_rates import read_best_rates
    from gradclip_cli.article.report import write_reproduction

    best = read_best_rates(options.best_rates) if options.best_rates else None
    planned = experiment.plan_reproduction(seeds, folder, framework)
    remark(estimate(planned, options.way), sentence=True, even_if_quiet=options.dry_run)
    remark(experiment.verdict_sentence(seeds), sentence=True, even_if_quiet=options.dry_run)
    if options.dry_run:
        print_plan(planned, options.as_json)
        return
    experiment.record_plan(seeds, folder, framework)
    require_none_failed(train(planned, options), then=", then reports")
    reproduction = experiment.answer_claims(seeds, folder, best)
    if options.against:
        reproduction = experiment.held_against(reproduction, options.against)
    reproduction = write_reproduction(reproduction, folder)
    if options.as_json:
        click.echo(reproduction.to_json(), nl=False)
    else:
        _print_claims(reproduction)
        remark(f"report: {folder / 'report.md'}")


def _print_claims(reproduction: Reproduction) -> None:
    from gradclip_cli.article.claims import CLAIMS
    from gradclip_cli.cli.console import print_table, tell
    from gradclip_cli.cli.layout import Table

    rows = [[claim, CLAIMS[claim].statement, answer.verdict] for claim, answer in reproduction.answers.items()]
    headings = ["", "claim", "verdict"]
    print_table(Table(headings, rows, primary=headings, texts=["claim"]))
    if reproduction.agreement:
        tell()
        tell(reproduction.agreement.sentence, sentence=True)


@parameters
class SweepOptions(TrainingOptions):
    """What `sweep` takes."""

    sweep_file: str
    settings: Sequence[str]
    results: Path | None
    force: bool
    dry_run: bool
    yes: bool
    as_json: bool


@click.command()
@click.argument("sweep_file", metavar="SWEEP", shell_complete=complete_sweeps)
@settings_option
@results_option(default=None, text="Folder of the runs and the report.  [default: results/ and the sweep's name]")
@training_options
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@click.option("--dry-run", is_flag=True, help="Show the plan, with the time that a step takes here, and stop.")
@click.option("--yes", is_flag=True, help=f"Train more than {MOST_RUNS:,} runs.")
@json_option
@takes(SweepOptions)
def sweep(options: SweepOptions) -> None:
    """Train a grid of arms and draw its stability map: SWEEP is a file, or a shipped one by name (stability, explode).

    Then each row's best learning rate, chosen on the holdout, is trained with fresh seeds on all training images, and only
    these runs are compared on the test set: does clipping help at its best rate? Interrupted, or with failed runs, the same
    command goes on with what is missing.
    """
    from gradclip_cli.config import sweeps

    chosen = sweeps.load(options.sweep_file, options.settings, most_runs=sys.maxsize if options.yes else sweeps.MOST_RUNS)
    folder = options.results or RESULTS / chosen.name

    from gradclip_cli.experiments import sweep as experiment
    from gradclip_cli.experiments import sweep_report

    planned = experiment.plan(chosen, folder, force=options.force)
    measured = _without_own_code(planned) if options.dry_run else planned
    paces = _say_plan(chosen, planned, measured, options.way) if options.dry_run or not is_set("quiet") else {}
    if options.dry_run:
        print_plan(planned, options.as_json, resets=list(chosen.resets))
        return
    experiment.record_plan(chosen, folder)
    _train_and_tally(planned, options, _grid(chosen))
    result = experiment.read(chosen, folder)
    best = experiment.plan_best(result, folder, force=options.force)
    if best:
        remark(f"At the best of each row, with fresh seeds: {estimate(best, options.way, paces)}", sentence=True)
        _train_and_tally(best, options)
    result = experiment.compare_best(result, folder)
    sweep_report.write(result, folder)
    if options.as_json:
        click.echo(sweep_report.to_json(result), nl=False)
    else:
        _print_sweep(result)
    remark(_reports(folder))


def _train_and_tally(planned: Sequence[PlannedRun], options: SweepOptions, grid: Grid | None = None) -> None:
    """Train what is planned, say how it ended, and raise where a run failed."""
    ended = train(planned, options, grid)
    remark(tally(ended))
    require_none_failed(ended, then=", then reports")


def _without_own_code(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs that train without running a user's own code, which a look at a plan never does."""
    from gradclip_cli.problems import problem_of
    from gradclip_cli.runs.many import is_script

    return [run for run in planned if not is_script(run) and not problem_of(run.config).runs_own_code]


def _say_plan(chosen: Sweep, planned: Sequence[PlannedRun], measured: Sequence[PlannedRun], way: Way) -> dict[str, Pace]:
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
    measuring = "measuring how long a step takes here"
    with StepDisplay(measuring, None, stage=measuring, quiet=is_set("quiet")) as display:
        paces = pace.measure_paces(measured, display.doing)
    steps = f" A step takes {', '.join(f'{each.step * 1e3:.2f}' for each in paces.values())} ms here." if paces else ""
    note(f"{estimate(planned, way, paces)}{steps}", sentence=True)
    if paces and (later := _with_fresh_seeds(chosen, planned)):
        note(f"Then, with fresh seeds: {estimate(later, way, paces)}", sentence=True)
    return paces


def _with_fresh_seeds(chosen: Sweep, planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """What the runs at the rows' best will be like; which cells these are is not known yet."""
    from gradclip_cli.runs.actions import Action

    rows = [cells[0].config for cells in chosen.rows().values()]
    rows = [config.model_copy(update={"data": config.data.model_copy(update={"holdout": 0})}) for config in rows]
    return [replace(planned[0], config=config, action=Action.TRAIN) for config in rows for _ in chosen.fresh_seeds]


def _grid(chosen: Sweep) -> Grid:
    """The sweep's map, to be shown while it fills."""
    from gradclip_cli.cli.grid import Grid

    rows = [(label, [cell.config.name for cell in cells]) for label, cells in chosen.rows().items()]
    return Grid(chosen.columns.labels, rows)


def _print_sweep(result: SweepResult) -> None:
    from gradclip_cli.cli.console import print_table, tell, tell_summary
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.experiments import sweep_report

    headings = sweep_report.best_columns(result)
    rows = sweep_report.best_rows(result)
    print_table(Table(headings, rows, primary=headings[:3], texts=["best at"]), elsewhere="report.md")
    if result.best:
        from gradclip_cli.cli.tables import print_verdicts
        from gradclip_cli.evidence import report

        tell()
        print_verdicts(result.best)
        tell(report.verdict_caption(result.best), "dim", sentence=True)
    _tell_apart([*sweep_report.sentences(result), sweep_report.scope(result)])
    tell_summary(sweep_report.summary(result))


def _tell_apart(sentences: Iterable[str]) -> None:
    """Each with an empty line before it."""
    from gradclip_cli.cli.console import tell

    for sentence in sentences:
        tell()
        tell(sentence, sentence=True)


@parameters
class StudyOptions(TrainingOptions):
    """What `study` takes."""

    study_file: str
    results: Path | None
    dry_run: bool
    as_json: bool


@click.command()
@click.argument("study_file", metavar="STUDY", shell_complete=complete_studies)
@results_option(default=None, text="Folder of the runs and the report.  [default: results/ and the study's name]")
@training_options
@click.option("--dry-run", is_flag=True, help="Show the plan, its tests and about how long it takes, and stop.")
@json_option
@takes(StudyOptions)
def study(options: StudyOptions) -> None:
    """Train a planned experiment and report it: STUDY is a file, or a shipped one by name.

    Its file says what is trained, over which seeds and how often each, which tests are made of it, and which rules decide. That
    is written to plan.json before the first run. Interrupted, or with failed runs, the same command goes on with what is missing;
    where all runs are there, be it packed, it only writes the report again.
    """
    from gradclip_cli.config import studies
    from gradclip_cli.experiments import study as experiment
    from gradclip_cli.experiments import study_report, tuning

    chosen = studies.load(options.study_file)
    folder = options.results or RESULTS / chosen.name
    candidates, planned = tuning.plan(chosen, folder), experiment.plan(chosen, folder)
    if candidates:
        remark(f"Candidates of tuned arms: {estimate(candidates, options.way)}", sentence=True, even_if_quiet=options.dry_run)
    if planned:
        remark(estimate(planned, options.way), sentence=True, even_if_quiet=options.dry_run)
    remark(experiment.verdict_sentence(chosen), sentence=True, even_if_quiet=options.dry_run)
    if options.dry_run:
        print_plan([*candidates, *planned], options.as_json, by_arm=True)
        return
    experiment.record_plan(chosen, folder)
    if candidates:
        require_none_failed(train(candidates, options), then=", then goes on")
        if finer := tuning.plan_finer(chosen, folder):
            remark(f"Beside the best candidate of each arm: {estimate(finer, options.way)}", sentence=True)
            require_none_failed(train(finer, options), then=", then goes on")
        planned = experiment.plan(tuning.settled(chosen, tuning.choose(chosen, folder)), folder)
        remark(f"At the best of each arm: {estimate(planned, options.way)}", sentence=True)
    require_none_failed(train(planned, options), then=", then reports")
    result = experiment.read(chosen, folder)
    study_report.write(result, folder)
    if options.as_json:
        click.echo(study_report.to_json(result), nl=False)
    else:
        _print_study(result)
    remark(_reports(folder))


def _reports(folder: Path) -> str:
    """Where the report is, and how it becomes a page."""
    return f"report: {folder / 'report.md'}; as a page: gradclip report {shlex.quote(str(folder))}"


def _print_study(result: StudyResult) -> None:
    from gradclip_cli.cli.console import VERDICT_STYLES, print_table, tell, tell_summary
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.experiments import study_report

    tell(result.study.question, "bold", sentence=True)
    for family in result.study.families:
        tell()
        tested = result.family(family)
        headings = [family, *study_report.HEADINGS[1:]]
        rows, primary = study_report.rows(tested), [family, "difference", "verdict"]
        table = Table(headings, rows, primary, texts=["by", "verdict"], styles={"verdict": VERDICT_STYLES})
        print_table(table, elsewhere="report.md")
        tell(result.study.rules[family], "dim", sentence=True)
    _print_choices(result)
    if len(told := study_report.sentences(result)) > MOST_SENTENCES:
        told = [f"report.md has a sentence for each of the {len(told)} tests."]
    _tell_apart(told)
    tell_summary(study_report.summary(result))


def _print_choices(result: StudyResult) -> None:
    """How each tuned arm was chosen; nothing where none is tuned."""
    from gradclip_cli.cli.console import print_table, tell
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.experiments import study_tuning

    if result.choices:
        tell()
        rows, headings = study_tuning.rows(result.choices), study_tuning.HEADINGS
        print_table(Table(headings, rows, primary=["arm", "chosen"], texts=["seeds", "chosen"]), elsewhere="report.md")
