"""Commands on runs that are there: compare, show, list, rm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclip_cli.cli.options import (
    FiniteFloat,
    complete_arms,
    complete_runs,
    json_option,
    print_json,
    results_option,
    run_facts,
    run_name,
    seeds_option,
)
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from gradclip_cli.comparison import Comparison
    from gradclip_cli.inspection import Inspection
    from gradclip_cli.store import RunDirectory

# The names of `gradclip_cli.metrics`, whose import would bring SciPy to every start-up.
METRICS = ["val_accuracy", "accuracy", "val_loss", "loss", "loss_area", "steps_to_target"]


@click.command()
@click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=complete_arms)
@results_option()
@click.option(
    "--baseline",
    metavar="ARM",
    shell_complete=complete_arms,
    help="What the others are held against.  [default: the unclipped one, of several the one called none]",
)
@click.option("--metric", type=click.Choice(METRICS), default="val_accuracy", show_default=True, help="What verdicts are about.")
@seeds_option(otherwise=", or all; else those that an experiment planned there, else all")
@click.option(
    "--target-loss", type=FiniteFloat(), metavar="LOSS", help="Target of steps_to_target.  [default: half a uniform guess's]"
)
@click.option("--effect", type=FiniteFloat(), help="Difference to plan seeds for, in the metric's unit.  [default: 1 point]")
@click.option("--margin", type=FiniteFloat(), help="Say where arms are equivalent within this, in the metric's unit.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the files.  [default: compare/ in the results folder, and there one named after the arms]",
)
@json_option
def compare(
    arms: Sequence[str], results: Path, baseline: str | None, metric: str, seeds: str | None, target_loss: float | None,
    effect: float | None, margin: float | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare arms with a baseline, paired by seed: tables and verdicts here; comparison.* and differences.* in a folder.

    A verdict is about each run's last epoch, or its whole training-loss curve: losses are capped at a uniform guess's,
    and a diverged run scores as one throughout. p-values are of sign-flip tests, Holm-adjusted over the arms.
    """
    from gradclip_cli import comparison, config, plans, report
    from gradclip_cli.console import errors

    if out:
        report.require_no_report(out)
    wanted: comparison.Seeds = None if seeds is None else "all" if seeds == "all" else config.parse_seeds(seeds)
    compared = comparison.compare(
        results, arms, baseline, metric=metric, target_loss=target_loss, effect=effect, margin=margin, seeds=wanted
    )
    compared = comparison.with_gradients(compared)
    folder = out or report.look_folder(compared, results, everything=not arms, baseline=baseline, seeds=wanted)
    warnings = [*compared.warnings]
    if not_recorded := plans.record_look(results, compared.first_compared):
        warnings.append(not_recorded)
    paths = []
    try:
        paths = report.write(compared, folder)
    except StoreError as error:
        if out:
            raise
        warnings.append(f"nothing was written: {error}")  # the folder is the user's to look at, even if not to write to
    if as_json:
        click.echo(report.to_json(compared), nl=False)
    else:
        _print_comparison(compared)
    for warning in warnings:
        errors().print(f"warning: {warning}", style="yellow", markup=False)
    if paths:
        errors().print(f"wrote {', '.join(path.name for path in paths)} to {folder}", markup=False)


def _print_comparison(compared: Comparison) -> None:
    from gradclip_cli import report
    from gradclip_cli.console import WIDE, output, simple_table

    console = output()
    narrow = console.width < WIDE
    columns = [heading.replace(" (", "\n(") if console.is_terminal else heading for heading in report.run_columns(compared)]
    columns = [heading.replace("norm ", "norm\n") if narrow else heading for heading in columns]
    without = ["loss", "accuracy"] if narrow else []
    console.print(simple_table(columns, report.run_rows(compared), texts=["status"], without=without))
    console.print(report.run_caption(compared), style="dim", markup=False)
    if compared.others:
        columns, rows = report.verdict_columns(compared.metric), report.verdict_rows(compared)
        without = ["seeds", "diverged"] if narrow else []
        console.print()
        console.print(simple_table(columns, rows, texts=["verdict"], without=without))
        console.print(report.verdict_caption(compared), style="dim", markup=False)
    for sentence in _sentences(compared):
        console.print(f"\n{sentence}", markup=False)


def _sentences(compared: Comparison) -> list[str]:
    from gradclip_cli import comparison

    if not compared.others:
        return [*compared.differences]
    planning = comparison.planning_sentence(compared)
    verdicts = [*compared.sentences, *compared.notes, *([planning] if planning else [])]
    return [*verdicts, *compared.differences, comparison.scope_sentence(compared)]


@click.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@results_option()
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the picture.  [default: the run's own]")
@json_option
def show(name: str, results: Path, out: Path | None, as_json: bool) -> None:
    """Show one run: its epochs, its gradients' health in words, and the picture of its steps (gradients.png).

    RUN is ARM/seed-N, ARM (its first seed), or a run's folder. The diagnosis is one of healthy, spiking, exploding,
    vanishing and diverged; it is read from steps.csv.
    """
    run = _find(name, results)
    metadata, _ = run.stored()
    inspected = _inspected(run)
    if as_json:
        print_json(_facts(run, metadata, inspected))
    else:
        _print_run(run, metadata, inspected)
    if inspected:
        from gradclip_cli import inspection

        click.echo(f"wrote {inspection.draw(inspected, out or run.path)}", err=True)


def _inspected(run: RunDirectory) -> Inspection | None:
    """The run's gradients; None where there are no steps to read, which is told."""
    from gradclip_cli import inspection

    if not os.path.lexists(run.steps_path):
        click.echo(f"{run.steps_path} is not there, so there is no diagnosis; gradclip run --force writes it again.", err=True)
        return None
    try:
        return inspection.inspect(run)
    except StoreError as error:
        click.echo(f"no diagnosis: {error}", err=True)
        return None


def _facts(run: RunDirectory, metadata: dict[str, Any], inspected: Inspection | None) -> dict[str, Any]:
    from gradclip_cli import report

    frame = _metrics(run, metadata)
    metrics = [] if frame is None else frame.to_dict("records")
    health = asdict(inspected.diagnosis) if inspected else None
    facts = {"path": str(run.path), "run": metadata, "config": run.config().model_dump(), "metrics": metrics, "health": health}
    return {key: report.finite(value) for key, value in facts.items()}


def _print_run(run: RunDirectory, metadata: dict[str, Any], inspected: Inspection | None) -> None:
    from gradclip_cli import inspection
    from gradclip_cli.console import WIDE, WORD_STYLES, output, simple_table

    console = output()
    for line in _description(run, metadata):
        console.print(line, markup=False)
    frame = _metrics(run, metadata)
    if frame is not None and len(frame):
        rows = [[str(int(row[0])), *(f"{value:.4g}" for value in row[1:])] for row in frame.itertuples(index=False)]
        between = "\n" if console.width < WIDE else " "
        console.print(simple_table([column.replace("_", between) for column in frame.columns], rows))
    if inspected:
        *told, (heading, word) = inspection.lines(inspected)
        console.print(simple_table(["gradients", ""], [list(pair) for pair in told], texts=[""]))
        console.print(f"[bold]{heading}[/]  [{WORD_STYLES[word]}]{word}[/]")


def _find(name: str, results: Path) -> RunDirectory:
    from gradclip_cli import store

    if (Path(name) / "run.json").is_file():
        return store.RunDirectory(Path(name).resolve())
    found = [run for run in store.runs(results) if name in (run.arm, run_name(run), f"{run.arm}:{run.seed}")]
    if not found:
        raise ReportError(f"No run '{name}' in {results}; `gradclip list` shows what is there.")
    return found[0]


def _metrics(run: RunDirectory, metadata: dict[str, Any]) -> pd.DataFrame | None:
    from gradclip_cli import store

    return run.metrics() if metadata["status"] in store.FINISHED else None


def _description(run: RunDirectory, metadata: dict[str, Any]) -> list[str]:
    config = run.config()
    model, optimizer, clipping = config.model, config.optimizer, config.clipping.label
    lines = [
        f"{run.path}: {metadata['status']}",
        f"  model      {model.cell}({model.units}), {optimizer.name} at {optimizer.learning_rate:g}, clipping {clipping}",
        f"  trained    by {config.engine.framework}, {metadata.get('steps', '?')} steps, started {metadata.get('started')}, "
        f"{metadata.get('seconds', '?')} s",
        f"  evaluated  on the {metadata.get('evaluation_split')} split of Fashion-MNIST ({config.data.subset})",
    ]
    if metadata.get("diverged"):
        lines.append(f"  diverged   {metadata['diverged']['told']}")
    overflows = metadata.get("overflows") or {}
    if overflows.get("steps"):
        lines.append(f"  overflows  {overflows['steps']} steps with a gradient that was not finite, first {overflows['first']}")
    if metadata.get("reason"):
        lines.append(f"  reason     {metadata['reason']}")
    return lines


@click.command("list")
@click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status, such as complete or diverged.")
@results_option()
@json_option
def list_runs(arms: Sequence[str], status: str | None, results: Path, as_json: bool) -> None:
    """List runs with status, length and end."""
    runs = _select(results, arms, status)
    if as_json:
        print_json({"runs": [{**run_facts(run), "status": run.status()} for run in runs]})
        return
    if not runs:
        click.echo(f"No runs in {results}.", err=True)
        return
    from gradclip_cli.console import output, simple_table

    rows = [_row(run) for run in runs]
    output().print(simple_table(["arm", "seed", "status", "steps", "finished"], rows, texts=["status", "finished"]))


def _row(run: RunDirectory) -> list[str]:
    try:
        metadata = run.metadata()
    except StoreError:
        metadata = {"status": "unreadable"}
    facts = (metadata.get(name) for name in ("status", "steps", "finished"))
    return [run.arm, str(run.seed), *("" if fact is None else str(fact) for fact in facts)]


@click.command()
@click.argument("arms", nargs=-1, required=True, metavar="ARM...", shell_complete=complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status.")
@results_option()
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def rm(arms: Sequence[str], status: str | None, results: Path, dry_run: bool, yes: bool) -> None:
    """Remove runs: whole arms (ARM) or single runs (ARM/seed-N)."""
    from gradclip_cli import removal

    runs = _select(results, arms, status)
    removals = removal.plan(runs, arms if status is None else ())
    for each in removals:
        click.echo(f"{'would remove' if dry_run else 'removing'} {each.path} ({each.told})")
    if dry_run or not removals:
        return
    if not yes:
        click.confirm(f"Remove {counted(len(runs), 'run')} for good?", abort=True)
    for kept in removal.carry_out(removals):
        click.echo(kept, err=True)


def _select(results: Path, arms: Sequence[str], status: str | None) -> list[RunDirectory]:
    from gradclip_cli import store

    stored = [(run, {run.arm, run_name(run)}) for run in store.runs(results)]
    unknown = [arm for arm in arms if all(arm not in names for _, names in stored)]
    if unknown:
        raise ReportError(f"No runs of {', '.join(unknown)} in {results}; `gradclip list` shows what is there.")
    chosen = [run for run, names in stored if not arms or not names.isdisjoint(arms)]
    return [run for run in chosen if status is None or run.status() == status]
