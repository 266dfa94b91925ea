"""The command that writes stored runs for other programs: export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.options import complete_arms, complete_runs, is_set, parameters, remark, stored_results_option, takes
from gradclip_cli.errors import ExportError
from gradclip_cli.evidence.exports import Detail
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.evidence.exports import Done, ExportedRun

STDOUT = Path("-")


@parameters
class ExportOptions:
    """What `export` takes."""

    names: Sequence[str]
    results: Path
    tensorboard: Path | None
    csv: Path | None
    detail: str
    force: bool


def complete_either(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Arms that have runs, and single runs."""
    return [name for complete in (complete_arms, complete_runs) for name in complete(context, parameter, incomplete)]


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN...]", shell_complete=complete_either)
@stored_results_option()
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for TensorBoard: an event file a run, in DIR/ARM/seed-N.",
)
@click.option("--csv", type=click.Path(path_type=Path), metavar="FILE", help="File for one table of all; - is stdout.")
@click.option(
    "--detail",
    type=click.Choice([str(detail) for detail in Detail]),
    default=str(Detail.VARIABLES),
    show_default=True,
    help="Epochs only; each step too; or what belongs to each variable as well.",
)
@click.option("--force", is_flag=True, help="Write over what is there: FILE, or gradclip's event file of a run.")
@takes(ExportOptions)
def export(options: ExportOptions) -> None:
    """Write stored runs for other programs: TensorBoard, or whatever reads a CSV.

    RUN is ARM or ARM/seed-N; without any, all are written. Names say what was before and what after clipping. The table has a row
    a value: arm, seed, per (epoch or step), epoch, step, variable (empty for all together), quantity, value.
    """
    if not (options.tensorboard or options.csv):
        raise click.UsageError("Say where to: --tensorboard DIR, --csv FILE (- for stdout), or both.")
    from gradclip_cli.cli.console import note
    from gradclip_cli.evidence import event_files, exports
    from gradclip_cli.runs import names

    if options.tensorboard:
        event_files.require_installed()
    detail = Detail(options.detail)
    found = names.find_runs(options.names, options.results)
    if not found:
        raise ExportError(f"There is no run to export in {options.results}; --results names another folder")
    runs, warnings = exports.read(found, detail)
    _require_free(runs, options)
    for warning in warnings:
        note(f"warning: {warning}", "yellow")
    if options.csv:
        _write_table(runs, options.csv, detail)
    if options.tensorboard:
        _write_events(runs, options.tensorboard, detail)


def _require_free(runs: Sequence[ExportedRun], options: ExportOptions) -> None:
    """Look at all places before anything is written. Raises ExportError."""
    from gradclip_cli.evidence import event_files, exports

    if options.csv and options.csv != STDOUT:
        exports.require_free(options.csv, force=options.force)
    if options.tensorboard:
        event_files.require_free(options.tensorboard, runs, force=options.force)


def _write_table(runs: Sequence[ExportedRun], path: Path, detail: Detail) -> None:
    from gradclip_cli.evidence import exports

    if path == STDOUT:
        for piece in exports.csv_pieces(runs, detail):
            click.echo(piece, nl=False)
        return
    with _shown(runs, path) as done:
        exports.write_csv(path, exports.csv_pieces(runs, detail, done))
    remark(f"wrote {counted(len(runs), 'run')} to {path}")


def _write_events(runs: Sequence[ExportedRun], folder: Path, detail: Detail) -> None:
    import shlex

    from gradclip_cli.evidence import event_files

    with _shown(runs, folder) as done:
        for run in runs:
            event_files.write(folder, run, detail, done)
    command = f"tensorboard --logdir {shlex.quote(str(folder))}"
    remark(f"wrote {counted(len(runs), 'run')} to {folder}; to look at them: {command}")


@contextmanager
def _shown(runs: Sequence[ExportedRun], path: Path) -> Iterator[Done]:
    """Show how many of the runs' steps are done."""
    from gradclip_cli.cli.console import safe
    from gradclip_cli.cli.displays import StepDisplay

    total = 0
    with StepDisplay(safe(f"writing {path}"), sum(run.rows for run in runs) or None, quiet=is_set("quiet")) as display:

        def done(steps: int) -> None:
            nonlocal total
            total += steps
            display.update(total)

        yield done
