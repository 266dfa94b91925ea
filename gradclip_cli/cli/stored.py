"""Commands on single runs that are there: show, list, rm."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradclip_cli.cli.options import (
    SELDOM,
    complete_arms,
    complete_runs,
    json_option,
    print_json,
    remark,
    run_facts,
    stored_results_option,
)
from gradclip_cli.errors import GradclipError, StoreError
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    import pandas as pd

    from gradclip_cli.evidence.inspection import Inspection
    from gradclip_cli.runs.store import RunDirectory


@click.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@stored_results_option()
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the picture.  [default: the run's own]")
@json_option
def show(name: str, results: Path, out: Path | None, as_json: bool) -> None:
    """Show one run: its epochs, its gradients' health in words, and the picture of its steps (gradients.png).

    RUN is ARM/seed-N, ARM (its first seed), or a run's folder. The diagnosis is one of healthy, spiking, exploding,
    vanishing and diverged; it is read from steps.csv.
    """
    from gradclip_cli.runs import names

    run = names.find_run(name, results)
    metadata, _ = run.stored()
    inspected = _inspected(run)
    if as_json:
        print_json(_facts(run, metadata, inspected))
    else:
        _print_run(run, metadata, inspected)
    if inspected and run.packed and not out and not run.path.exists():
        remark(f"{run.path} is packed, so its picture has no place there; --out DIR draws it.")
    elif inspected:
        from gradclip_cli.evidence import inspection

        remark(f"wrote {inspection.draw(inspected, out or run.path)}")


def _inspected(run: RunDirectory) -> Inspection | None:
    """The run's gradients; None where there are no steps to read, which is said."""
    from gradclip_cli.cli.console import note
    from gradclip_cli.evidence import inspection

    if not run.has("steps.csv"):
        note(inspection.without_steps(run, "there is no diagnosis"))
        return None
    try:
        return inspection.inspect(run)
    except StoreError as error:
        note(f"no diagnosis: {error}")
        return None


def _facts(run: RunDirectory, metadata: dict[str, Any], inspected: Inspection | None) -> dict[str, Any]:
    from gradclip_cli.evidence import inspection, report

    frame = _metrics(run, metadata)
    metrics = [] if frame is None else frame.to_dict("records")
    health = asdict(inspected.diagnosis) if inspected else None
    facts = {"path": str(run.path), "run": metadata, "config": run.config().model_dump(), "metrics": metrics, "health": health}
    facts["clipping"] = inspection.clipping(inspected) if inspected else None
    return {key: report.finite(value) for key, value in facts.items()}


def _print_run(run: RunDirectory, metadata: dict[str, Any], inspected: Inspection | None) -> None:
    from gradclip_cli.cli.console import WORD_STYLES, print_table, tell
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.evidence import inspection
    from gradclip_cli.runs.csv_files import GRADIENT_COLUMNS

    for line in _description(run, metadata):
        tell(line)
    frame = _metrics(run, metadata)
    if frame is not None and len(frame):
        frame = frame.dropna(axis="columns", how="all")
        rows = [[str(int(row[0])), *(f"{value:.4g}" for value in row[1:])] for row in frame.itertuples(index=False)]
        primary = [name for name in frame.columns if name not in GRADIENT_COLUMNS]
        print_table(Table(list(frame.columns), rows, primary=primary), elsewhere="metrics.csv")
    if inspected:
        *lines, (heading, word) = inspection.lines(inspected)
        headings = ["gradients", ""]
        print_table(Table(headings, [list(pair) for pair in lines], primary=headings, texts=[""]))
        tell(f"{heading}  {word}", WORD_STYLES[word])


def _metrics(run: RunDirectory, metadata: dict[str, Any]) -> pd.DataFrame | None:
    from gradclip_cli.runs.metadata import FINISHED

    return run.metrics() if metadata["status"] in FINISHED else None


def _description(run: RunDirectory, metadata: dict[str, Any]) -> list[str]:
    from gradclip_cli.evidence import described

    facts = described.facts(metadata, run.config())
    if run.has(run.log_path.name):
        facts["output"] = str(run.log_path)
    return [f"{run.path}: {metadata['status']}", *(f"  {subject:<10} {text}" for subject, text in facts.items())]


@click.command("list")
@click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status, such as complete or diverged.")
@stored_results_option()
@json_option
def list_runs(arms: Sequence[str], status: str | None, results: Path, as_json: bool) -> None:
    """List runs with status, length and end."""
    gc.set_threshold(SELDOM)
    runs = _select(results, arms, status)
    if as_json:
        print_json({"runs": [{**run_facts(run), "status": known["status"]} for run, known in runs.items()]})
        return
    from gradclip_cli.cli.console import note, print_table
    from gradclip_cli.cli.layout import Table

    if not runs:
        from gradclip_cli.runs import names

        note(names.nothing_in(results) if status is None else f"No runs with the status {status} in {results}.")
        return
    headings = ["arm", "seed", "status", "steps", "finished"]
    rows = [_row(run, known) for run, known in runs.items()]
    table = Table(headings, rows, primary=headings[:4], texts=["status", "finished"], names="arm")
    print_table(table, elsewhere="list --json")


def _row(run: RunDirectory, metadata: Mapping[str, Any]) -> list[str]:
    facts = (metadata.get(name) for name in ("status", "steps", "finished"))
    return [run.arm, str(run.seed), *("" if fact is None else str(fact) for fact in facts)]


@click.command()
@click.argument("arms", nargs=-1, required=True, metavar="ARM...", shell_complete=complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status.")
@stored_results_option()
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def rm(arms: Sequence[str], status: str | None, results: Path, dry_run: bool, yes: bool) -> None:
    """Remove runs: whole arms (ARM) or single runs (ARM/seed-N)."""
    from gradclip_cli.cli.console import note, tell
    from gradclip_cli.runs import names, packs, removal

    packs.require_unpacked(results)
    runs = list(_select(results, arms, status))
    removals = removal.plan(runs, names.whole_arms(arms, results) if status is None else ())
    for each in removals:
        tell(f"{'removing' if yes and not dry_run else 'would remove'} {each.path} ({each.description})")
    if not removals:
        note(f"No such runs in {results}: nothing to remove.")
    if dry_run or not removals:
        return
    if not yes:
        _require_consent(f"Remove {counted(len(runs), 'run')} for good?")
    for kept in removal.carry_out(removals):
        note(kept)


def _require_consent(question: str) -> None:
    """Ask on stderr, where it is seen whatever becomes of the results. Raises GradclipError for any answer but yes."""
    from gradclip_cli.cli.console import note

    try:
        consent = click.confirm(question, err=True)
    except click.Abort:
        note("")  # The question's line is not ended yet.
        raise GradclipError("No answer came, so nothing was removed; give --yes to remove without a question.") from None
    if not consent:
        raise GradclipError("Nothing was removed.")


def _select(results: Path, arms: Sequence[str], status: str | None) -> dict[RunDirectory, Mapping[str, Any]]:
    """The runs that are meant, each with what its `run.json` says, or that it can't be read."""
    from gradclip_cli.runs import names, readings
    from gradclip_cli.runs.metadata import Status

    runs = names.find_runs(arms, results)
    read = zip(runs, readings.read_metadata(results, runs), strict=True)
    known = {run: {"status": Status.UNREADABLE} if isinstance(said, StoreError) else said for run, said in read}
    return {run: said for run, said in known.items() if status is None or said["status"] == status}
