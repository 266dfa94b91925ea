"""The command that goes from a model to a verdict: try."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclip_cli.cli.execution import require_none_failed, tally, train
from gradclip_cli.cli.options import (
    RESULTS,
    FiniteFloat,
    TrainingOptions,
    is_set,
    json_option,
    parameters,
    print_json,
    remark,
    results_option,
    takes,
    training_options,
)
from gradclip_cli.cli.subjects import posed_with_display
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config
    from gradclip_cli.evidence.comparison import Comparison
    from gradclip_cli.experiments.check import Checked
    from gradclip_cli.experiments.posing import Posed, Wishes
    from gradclip_cli.experiments.suggest import Pilot
    from gradclip_cli.runs.many import PlannedRun

USUAL_SEEDS = 8
SHORTEST_PILOT = 100
"""Steps, where runs are shorter than that."""


class Duration(click.ParamType[float]):
    """Seconds, from a text such as 90s, 10m or 1h."""

    name = "duration"
    UNITS = {"s": 1, "m": 60, "h": 3600}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1:]) if value[-1:] in self.UNITS else (value, "s")
        try:
            seconds = float(number) * self.UNITS[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is no duration; write it as in 90s, 10m or 1h.", param, ctx)
        return seconds


@parameters
class TryOptions(TrainingOptions):
    """What `try` takes."""

    model: str
    data: str | None
    loss: str | None
    optimizer: str | None
    learning_rate: float | None
    batch_size: int | None
    epochs: int | None
    framework: str | None
    rules: str
    metric: str | None
    seeds: int | None
    budget: float | None
    pilot_steps: int
    results: Path | None
    force: bool
    as_json: bool

    @property
    def wishes(self) -> Wishes:
        """What is to be tried."""
        from gradclip_cli.experiments.posing import Wishes

        asked = (self.model, self.data, self.loss, self.optimizer, self.learning_rate, self.batch_size, self.epochs)
        return Wishes(*asked, self.framework)


@click.command("try")
@click.argument("model", metavar="MODEL")
@click.option("--data", metavar="FILE", help="An .npz file, or FILE.py:function.  [default: `load` in MODEL's file, or data.npz]")
@click.option(
    "--loss", metavar="NAME", help="By its Keras name, or FILE.py:function.  [default: yours, else what fits the targets]"
)
@click.option("--optimizer", metavar="NAME", help="By its Keras name.  [default: yours, else adam]")
@click.option("--learning-rate", type=FiniteFloat(), metavar="RATE", help="[default: yours, else 0.001]")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="[default: 32]")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Of at most 500 steps each.  [default: 5]")
@click.option("--framework", metavar="NAME", help="tensorflow or pytorch.  [default: which MODEL's file imports]")
@click.option(
    "--rules",
    default="none,yours,suggested",
    show_default=True,
    metavar="RULES",
    help="Arms: yours (what the model was compiled with), suggested, or rules such as clipnorm=1.",
)
@click.option("--metric", metavar="NAME", help="What arms are compared by.  [default: accuracy, else the first of the metrics]")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help=f"How many seeds.  [default: {USUAL_SEEDS}]")
@click.option("--budget", type=Duration(), metavar="TIME", help="As many seeds as fit into 90s, 10m or 1h, measured here first.")
@click.option("--pilot-steps", type=click.IntRange(min=20), default=500, show_default=True, help="Length of the pilot, at most.")
@results_option(default=None, text="Folder of the runs.  [default: results/ and the model's name]")
@training_options
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@json_option
@takes(TryOptions)
def try_(options: TryOptions) -> None:
    """Does clipping help your model? From a model to a verdict, without a config.

    MODEL is FILE.py:function, package.module:function, a saved FILE.keras or a config. Its code is run. A short unclipped pilot
    says how large the gradients are and which thresholds to try; then none, your own clipping and the suggested ones are
    trained with the same seeds, and compared. The configs are written beside the runs.
    """
    from gradclip_cli.experiments import trial

    posed = posed_with_display(options.wishes)
    checked = _checked(posed, options)
    pilot = _pilot(posed, checked, options)
    folder = options.results or RESULTS / trial.folder_name(options.model)
    configs = trial.placed_in(folder, _arms(posed, pilot, options))
    seeds = _seeds(checked, len(configs), options)
    planned, metric = trial.plan(configs, seeds, folder, force=options.force), trial.metric_of(pilot, options.metric)
    remark(trial.plan_sentence(configs, len(seeds), metric, checked.evaluation_split), sentence=True)
    trial.write_configs(configs, folder, force=options.force)
    trial.record_plan(configs, seeds, folder, metric)
    _train(planned, checked, options)
    compared = _compared(folder, configs, seeds, metric.name)
    if options.as_json:
        print_json(_as_json(pilot, compared, configs, folder))
    else:
        _print_result(compared, configs, folder)


def _train(planned: Sequence[PlannedRun], checked: Checked, options: TryOptions) -> None:
    """Train what is planned, with how long it takes told before, and whether that held where there was a budget.

    Raises RunsFailed where a run failed.
    """
    from gradclip_cli.experiments import budget, check_report
    from gradclip_cli.runs.actions import Action

    todo, workers = [run.config.name for run in planned if run.action != Action.SKIP], _workers(checked, options)
    if todo:
        seconds = checked.seconds(len(todo), arms=len({*todo}), workers=workers)
        remark(f"{len(todo)} of {counted(len(planned), 'run')} to train: {check_report.duration(seconds)}.", sentence=True)
    clock = time.monotonic()
    ended = train(planned, options, worker_memory=checked.worker_memory)
    remark(tally(ended))
    took = time.monotonic() - clock
    if options.budget and (late := budget.overrun(checked, options.budget, took, ended, workers=workers)):
        remark(late, sentence=True)
    require_none_failed(ended)


def _pilot(posed: Posed, checked: Checked, options: TryOptions) -> Pilot:
    """The pilot, printed: how large gradients are, what your clipping would have done, what to try."""
    from gradclip_cli.cli.displays import DownloadDisplay, StepDisplay
    from gradclip_cli.cli.pilot import print_pilot
    from gradclip_cli.experiments import check_report, suggest, trial

    judged = trial.arms(posed, [trial.YOURS], [])[-1]
    training = judged.training
    steps = min(options.pilot_steps, max(SHORTEST_PILOT, training.epochs * training.steps_per_epoch))
    seconds = check_report.duration(steps * checked.pace.step + checked.pace.compilation)
    stage = f"pilot: {counted(steps, 'unclipped step')}, {seconds}"
    with StepDisplay("pilot", steps, stage=stage, quiet=is_set("quiet")) as display:
        pilot = suggest.pilot(
            judged,
            steps,
            data_directory=options.data_dir,
            download_progress=DownloadDisplay(),
            report=display.update,
            preparing=display.doing,
        )
    if not options.as_json:
        print_pilot(pilot, suggesting=trial.SUGGESTED in options.rules)
    return pilot


def _arms(posed: Posed, pilot: Pilot, options: TryOptions) -> list[Config]:
    from gradclip_cli.experiments import suggest, trial

    suggested = trial.suggestions_of(pilot, suggest.suggestions(pilot))
    if not suggested and trial.SUGGESTED in options.rules:
        remark("The pilot suggests nothing, so the usual first guess is tried: global_clipnorm 1.")
    return trial.arms(posed, [rule.strip() for rule in options.rules.split(",")], suggested)


def _checked(posed: Posed, options: TryOptions) -> Checked:
    """What the model and the data are, printed; raises WouldNotTrain where that is so."""
    from gradclip_cli.cli.check import checked_with_display, print_problem, print_remarks
    from gradclip_cli.experiments import check_report, trial

    judged = trial.arms(posed, [trial.YOURS], [])[-1]
    checked = checked_with_display(judged, options.data_dir, other_ways=False)
    if not options.as_json:
        print_problem(checked)
        print_remarks(checked)
    check_report.require_trains(checked)
    return checked


def _seeds(checked: Checked, arms: int, options: TryOptions) -> list[int]:
    from gradclip_cli.experiments import budget, trial

    if options.budget is None:
        return trial.fresh_seeds(options.seeds or USUAL_SEEDS)
    if options.seeds is not None:
        raise click.UsageError("--budget says how many seeds there are, and so does --seeds: give one of the two.")
    affordable = budget.affordable_seeds(checked, options.budget, arms=arms, workers=_workers(checked, options))
    remark(affordable.sentence, sentence=True)
    return trial.fresh_seeds(affordable.seeds)


def _workers(checked: Checked, options: TryOptions) -> int:
    """How many worker processes will train, as far as memory has room for them."""
    from gradclip_cli.runs import memory

    each = checked.worker_memory or memory.of_a_worker([checked.config])
    return memory.fitting(options.way, options.way.at_once, each, memory.free())[0].at_once


def _compared(folder: Path, configs: Sequence[Config], seeds: Sequence[int], metric: str) -> Comparison:
    from gradclip_cli.evidence import comparison, ledger, report
    from gradclip_cli.evidence.questions import Question

    names, question = [config.name for config in configs], Question(metric)
    compared = comparison.compare(folder, names, names[0], question, seeds=seeds)
    compared = comparison.with_gradients(compared)
    if not_recorded := ledger.record(folder, compared.first_compared, [compared.look]):
        remark(f"warning: {not_recorded}", even_if_quiet=True)
    report.write(compared, folder / "compare")
    return compared


def _as_json(pilot: Pilot, compared: Comparison, configs: Sequence[Config], folder: Path) -> dict[str, Any]:
    import json

    from gradclip_cli.evidence import report
    from gradclip_cli.experiments import suggest, trial

    arms = {
        config.name: {"config": str(trial.config_file(config, folder)), "to_paste": trial.line_to_paste(config)}
        for config in configs
    }
    comparison = json.loads(report.to_json(compared))
    conclusion = trial.conclusion(compared, configs)
    return {"pilot": suggest.to_dict(pilot), "arms": arms, "comparison": comparison, "conclusion": conclusion}


def _print_result(compared: Comparison, configs: Sequence[Config], folder: Path) -> None:
    from gradclip_cli.cli.comparisons import print_comparison
    from gradclip_cli.cli.console import tell
    from gradclip_cli.experiments import trial

    tell()
    print_comparison(compared)
    tell()
    tell(trial.conclusion(compared, configs), "bold", sentence=True)
    best = trial.to_go_on_from(compared, configs)
    if yours := trial.on_yours(compared, configs):
        tell(yours, sentence=True)
        baseline = f"--baseline {trial.YOURS} --results {shlex.quote(str(folder))}"
        remark(f"whether {best.name} is better than yours: gradclip compare {trial.YOURS} {best.name} {baseline}")
    example = trial.config_file(best, folder)
    remark(
        f"report: {folder / 'compare'}; the configs: {folder}/*.yaml, to go on from: gradclip run {example} --results {folder}"
    )
    remark(f"as a page: gradclip report {shlex.quote(str(folder))} --open")
