"""The command line: declares commands and options; a command loads, makes one call, prints."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gradclip_cli import __version__
from gradclip_cli.errors import GradclipError, ReportError

if TYPE_CHECKING:
    from gradclip_cli.comparison import Comparison
    from gradclip_cli.runner import PlannedRun, Result
    from gradclip_cli.store import RunDirectory

JSON_SCHEMA = 1
DIVERGED = 3
INTERRUPTED = 130
POSITIVE = click.FloatRange(min=0, min_open=True)


class _Group(click.Group):
    """Turns gradclip's errors into messages and exit codes."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GradclipError as error:
            _print_traceback(context)
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            raise click.exceptions.Exit(error.exit_code) from None
        except click.Abort:
            click.echo("Not confirmed: nothing was changed.", err=True)
            raise click.exceptions.Exit(1) from None
        except KeyboardInterrupt:
            _print_traceback(context)
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # The reader has gone, as `| head` does; nothing is wrong.
            raise click.exceptions.Exit(0) from None
        except Exception as error:
            if not _print_traceback(context):
                hint = "This is a fault in gradclip; --debug shows where (gradclip --debug COMMAND ...)."
                click.echo(f"{click.style('error:', fg='red', bold=True)} {type(error).__name__}: {error}\n{hint}", err=True)
            raise click.exceptions.Exit(1) from None


def _print_traceback(context: click.Context) -> bool:
    debug = bool(context.params.get("debug"))
    if debug:
        traceback.print_exc()
    return debug


def _complete_configs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from gradclip_cli import config

    names = [CompletionItem(name) for name in config.shipped_names() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def _complete_arms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    arms = dict.fromkeys(run.arm for run in _stored_runs(context))
    return [arm for arm in arms if arm.startswith(incomplete)]


def _complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    runs = [f"{run.arm}/seed-{run.seed}" for run in _stored_runs(context)]
    return [run for run in runs if run.startswith(incomplete)]


def _stored_runs(context: click.Context) -> list[RunDirectory]:
    from gradclip_cli import store

    return store.runs(context.params.get("results") or Path("results"))


def _complete_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from gradclip_cli import config

    return [f"{key}=" for key in config.known_keys() if key.startswith(incomplete)]


def _results_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--results", type=click.Path(path_type=Path, file_okay=True), default=Path("results"), show_default=True, is_eager=True,
        metavar="DIR", help="Folder of the runs.",
    )(command)  # fmt: skip


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _data_directory_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir", type=click.Path(path_type=Path), metavar="DIR",
        help="Folder with Fashion-MNIST's four files (or GRADCLIP_DATA); else it is looked for and fetched.",
    )(command)  # fmt: skip


def _print_json(content: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema": JSON_SCHEMA, **content}, indent=2, allow_nan=False))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gradclip")
@click.option("-q", "--quiet", is_flag=True, help="No progress; warnings and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="A line an epoch in a terminal too.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def main(context: click.Context, quiet: bool, verbose: bool, debug: bool) -> None:
    """Does gradient clipping help here? Train with and without it, and compare.

    \b
    gradclip run none clipvalue         train the article's model without and with clipping
    gradclip compare none clipvalue     put the runs side by side, in a table and a picture
    """


@main.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=_complete_configs)
@click.option("--seeds", metavar="SEEDS", help="10 (the first ten: 0 to 9), 0-9, or 1,5,7; else each config's own.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", shell_complete=_complete_settings,
              help="Override a key, such as optimizer.learning_rate=0.1; repeatable. The arm's name tells it.")  # fmt: skip
@_results_option
@_data_directory_option
@click.option("--force", is_flag=True, help="Train again what is finished, and replace what holds another config.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and stop.")
@click.option("--save-model", is_flag=True, help="Save each complete run's model as model.keras.")
@_json_option
@click.pass_context
def run(
    context: click.Context, configs: Sequence[str], seeds: str | None, settings: Sequence[str], results: Path,
    data_dir: Path | None, force: bool, dry_run: bool, save_model: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train configs: files, or shipped ones by name (none, clipnorm, clipvalue, ...).

    Each run gets DIR/ARM/seed-N with metrics.csv (a row an epoch), steps.csv (a row a step), config.yaml and run.json.
    Finished runs are left as they are. Exit 3 tells that a run diverged.
    """
    from gradclip_cli import config as loading

    given = loading.load_all(configs, settings)
    chosen_seeds = loading.parse_seeds(seeds) if seeds is not None else None

    from gradclip_cli import runner
    from gradclip_cli.console import DownloadDisplay, RunDisplay

    planned = runner.plan(given, chosen_seeds, results, force=force)
    if dry_run:
        _print_plan(planned, as_json)
        return
    told = context.find_root().params
    try:
        with RunDisplay(planned, quiet=told["quiet"], verbose=told["verbose"]) as display:
            ended = runner.execute(
                planned, display, save_model=save_model, data_directory=data_dir, download_progress=DownloadDisplay()
            )
    except runner.Interrupted as interruption:
        _print_results(interruption.results, as_json)
        raise
    _print_results(ended, as_json)
    failed = [result for result in ended if result.status == "failed"]
    if failed:
        raise GradclipError(f"{len(failed)} of {len(ended)} runs failed; the same command trains them again.")
    diverged = [result for result in ended if result.status == "diverged"]
    if diverged:
        click.echo(f"{len(diverged)} of {len(ended)} runs diverged.", err=True)
        context.exit(DIVERGED)


def _print_plan(planned: Sequence[PlannedRun], as_json: bool) -> None:
    if as_json:
        _print_json({"runs": [{**_run_names(run), "action": run.action, "reason": run.reason} for run in planned]})
        return
    for run in planned:
        click.echo(f"{run.action:8} {run.directory.path}  ({run.reason})")


def _print_results(ended: Sequence[Result], as_json: bool) -> None:
    if as_json:
        _print_json({"runs": [{**_run_names(result.run), "status": result.status, "told": result.told} for result in ended]})
        return
    for result in ended:
        click.echo(f"{result.status:11} {result.run.directory.path}")


def _run_names(run: PlannedRun) -> dict[str, Any]:
    return {"arm": run.config.name, "seed": run.config.training.seed, "path": str(run.directory.path)}


METRICS = ["val_accuracy", "accuracy", "val_loss", "loss", "loss_area", "steps_to_target"]


@main.command()
@click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=_complete_arms)
@_results_option
@click.option(
    "--baseline", metavar="ARM", shell_complete=_complete_arms, help="What the others are held against.  [default: none]"
)
@click.option("--metric", type=click.Choice(METRICS), default="val_accuracy", show_default=True, help="What verdicts are about.")
@click.option("--target-loss", type=float, metavar="LOSS", help="Target of steps_to_target.  [default: half a uniform guess's]")
@click.option("--effect", type=POSITIVE, help="Difference to plan seeds for, in the metric's unit.  [default: 1 point]")
@click.option("--margin", type=POSITIVE, help="Say where arms are equivalent within this, in the metric's unit.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the files.  [default: the results folder]"
)
@_json_option
def compare(
    arms: Sequence[str], results: Path, baseline: str | None, metric: str, target_loss: float | None, effect: float | None,
    margin: float | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare arms with a baseline, paired by seed: tables and verdicts here; comparison.* and differences.* in a folder.

    A verdict is about each run's last epoch, or its whole training-loss curve: losses are capped at a uniform guess's,
    and a diverged run scores as one. p-values are of sign-flip tests, Holm-adjusted over the arms.
    """
    from gradclip_cli import comparison, report
    from gradclip_cli.console import errors

    compared = comparison.compare(
        results, arms, baseline, metric=metric, target_loss=target_loss, effect=effect, margin=margin, out=out
    )
    paths = report.write(compared, out or results)
    if as_json:
        click.echo(report.to_json(compared), nl=False)
    else:
        _print_comparison(compared)
    for warning in compared.warnings:
        errors().print(f"warning: {warning}", style="yellow", markup=False)
    errors().print(f"wrote {', '.join(path.name for path in paths)} to {out or results}", markup=False)


def _print_comparison(compared: Comparison) -> None:
    from gradclip_cli import comparison, report
    from gradclip_cli.console import WIDE, output, simple_table

    console = output()
    narrow = console.width < WIDE
    without = ["loss", "accuracy"] if narrow else []
    columns = [heading.replace("norm ", "norm\n") if narrow else heading for heading in report.run_columns()]
    console.print(simple_table(columns, report.run_rows(compared), texts=["status"], without=without))
    sentences = [*compared.differences]
    if compared.others:
        console.print()
        columns, rows = report.verdict_columns(compared.metric), report.verdict_rows(compared)
        without = ["seeds", "diverged"] if narrow else []
        console.print(simple_table(columns, rows, texts=["verdict"], without=without))
        planning = comparison.planning_sentence(compared)
        sentences = [*compared.sentences, *compared.notes, *([planning] if planning else []), *sentences]
        sentences.append(comparison.scope_sentence(compared))
    for sentence in sentences:
        console.print(f"\n{sentence}", markup=False)


@main.command()
@click.option("--seeds", default="10", show_default=True, metavar="SEEDS", help="10 (the first ten: 0 to 9), 0-9, or 1,5,7.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results/reproduce"),
    show_default=True,
    metavar="DIR",
    help="Folder of the runs and the report.",
)
@_data_directory_option
@click.option("--dry-run", is_flag=True, help="Show what would be trained and about how long it takes, and stop.")
@_json_option
@click.pass_context
def reproduce(context: click.Context, seeds: str, results: Path, data_dir: Path | None, dry_run: bool, as_json: bool) -> None:
    """Answer the article's claims: train its arms over many seeds, compare them, write report.md and claims.json.

    Trains none, clipnorm and clipvalue; a control that shows what rounding alone does; an explosive setting, unclipped
    and clipped; and the three arms under Adam. Interrupted, the same command goes on with the runs that are missing.
    """
    from gradclip_cli import config

    chosen = config.parse_seeds(seeds)

    from gradclip_cli import experiments, runner
    from gradclip_cli.console import DownloadDisplay, RunDisplay

    planned = experiments.plan_reproduction(chosen, results)
    click.echo(_estimate(planned), err=True)
    if dry_run:
        _print_plan(planned, as_json)
        return
    experiments.record_plan(chosen, results)
    told = context.find_root().params
    with RunDisplay(planned, quiet=told["quiet"], verbose=told["verbose"]) as display:
        ended = runner.execute(planned, display, data_directory=data_dir, download_progress=DownloadDisplay())
    if failed := sum(result.status == "failed" for result in ended):
        raise GradclipError(f"{failed} of {len(ended)} runs failed; the same command trains them again, then reports.")
    reproduction = experiments.answer_claims(chosen, results)
    experiments.write_reproduction(reproduction, results)
    if as_json:
        click.echo(reproduction.to_json(), nl=False)
        return
    from gradclip_cli.console import output, simple_table

    rows = [[claim.id, claim.claim, claim.verdict] for claim in reproduction.claims]
    output().print(simple_table(["", "claim", "verdict"], rows, texts=["claim"]))
    click.echo(f"report: {results / 'report.md'}", err=True)


def _estimate(planned: Sequence[PlannedRun]) -> str:
    from gradclip_cli import runner

    seconds, size = runner.estimate(planned)
    todo = sum(run.action != "skip" for run in planned)
    if not todo:
        return f"All {len(planned)} runs are finished."
    minutes = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"{todo} of {len(planned)} runs to train: about {minutes} and {size / 1e6:.0f} MB."


@main.command()
@click.argument("name", metavar="RUN", shell_complete=_complete_runs)
@_results_option
@_json_option
def show(name: str, results: Path, as_json: bool) -> None:
    """Show one run: RUN is ARM/seed-N, ARM (its first seed), or a run's folder."""
    from gradclip_cli import store

    directory = _find_run(name, results)
    metadata = directory.metadata()
    if as_json:
        metrics = directory.metrics().to_dict("records") if metadata["status"] in store.FINISHED else []
        _print_json({"path": str(directory.path), "run": metadata, "config": directory.config().model_dump(), "metrics": metrics})
        return
    from gradclip_cli.console import output, simple_table

    console = output()
    for line in _run_facts(directory, metadata):
        console.print(line, markup=False)
    frame = directory.metrics() if metadata["status"] in store.FINISHED else None
    if frame is not None and len(frame):
        rows = [[str(int(row[0])), *(f"{value:.4g}" for value in row[1:])] for row in frame.itertuples(index=False)]
        console.print(simple_table([column.replace("_", " ") for column in frame.columns], rows))


def _run_facts(directory: RunDirectory, metadata: dict[str, Any]) -> list[str]:
    config = directory.config()
    clipping = config.clipping.mode if config.threshold is None else f"{config.clipping.mode} {config.threshold:g}"
    model, optimizer = config.model, config.optimizer
    lines = [
        f"{directory.path}: {metadata['status']}",
        f"  model      {model.cell}({model.units}), {optimizer.name} at {optimizer.learning_rate:g}, clipping {clipping}",
        f"  trained    {metadata.get('steps', '?')} steps, started {metadata.get('started')}, {metadata.get('seconds', '?')} s",
        f"  evaluated  on the {metadata.get('evaluation_split')} split of Fashion-MNIST ({config.data.subset})",
    ]
    if metadata.get("diverged"):
        lines.append(f"  diverged   {metadata['diverged']['told']}")
    if (metadata.get("overflows") or {}).get("steps"):
        overflows = metadata["overflows"]
        lines.append(f"  overflows  {overflows['steps']} steps with a gradient that was not finite, first {overflows['first']}")
    if metadata.get("reason"):
        lines.append(f"  reason     {metadata['reason']}")
    return lines


def _find_run(name: str, results: Path) -> RunDirectory:
    from gradclip_cli import store

    if (Path(name) / "run.json").is_file():
        return store.RunDirectory(Path(name).resolve())
    found = [run for run in store.runs(results) if name in (run.arm, f"{run.arm}/seed-{run.seed}", f"{run.arm}:{run.seed}")]
    if not found:
        raise ReportError(f"No run '{name}' in {results}; `gradclip list` shows what is there.")
    return found[0]


@main.command("list")
@click.argument("arms", nargs=-1, metavar="[ARM...]", shell_complete=_complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status, such as complete or diverged.")
@_results_option
@_json_option
def list_runs(arms: Sequence[str], status: str | None, results: Path, as_json: bool) -> None:
    """List runs with status, length and end."""
    runs = _select(results, arms, status)
    if as_json:
        _print_json({"runs": [{"arm": run.arm, "seed": run.seed, "path": str(run.path), "status": run.status()} for run in runs]})
        return
    from gradclip_cli.console import output, simple_table

    rows = []
    for run in runs:
        metadata = run.metadata() if run.status() != "unreadable" else {}
        rows.append([run.arm, str(run.seed), run.status(), str(metadata.get("steps", "")), str(metadata.get("finished", ""))])
    if rows:
        output().print(simple_table(["arm", "seed", "status", "steps", "finished"], rows, texts=["status", "finished"]))
    else:
        click.echo(f"No runs in {results}.", err=True)


def _select(results: Path, arms: Sequence[str], status: str | None) -> list[RunDirectory]:
    from gradclip_cli import store

    stored = store.runs(results)
    unknown = [arm for arm in arms if all(arm not in (run.arm, f"{run.arm}/seed-{run.seed}") for run in stored)]
    if unknown:
        raise ReportError(f"No runs of {', '.join(unknown)} in {results}; `gradclip list` shows what is there.")
    chosen = [run for run in stored if not arms or run.arm in arms or f"{run.arm}/seed-{run.seed}" in arms]
    return [run for run in chosen if status is None or run.status() == status]


@main.command()
@click.argument("arms", nargs=-1, required=True, metavar="ARM...", shell_complete=_complete_arms)
@click.option("--status", metavar="STATUS", help="Only runs with this status.")
@_results_option
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def rm(arms: Sequence[str], status: str | None, results: Path, dry_run: bool, yes: bool) -> None:
    """Remove runs: whole arms (ARM) or single runs (ARM/seed-N)."""
    runs = _select(results, arms, status)
    for run in runs:
        click.echo(f"{'would remove' if dry_run else 'removing'} {run.path} ({run.status()})")
    if dry_run or not runs:
        return
    if not yes:
        click.confirm(f"Remove {len(runs)} runs for good?", abort=True)
    for run in runs:
        run.remove()


@main.command()
@_data_directory_option
@click.option("--fetch", is_flag=True, help="Fetch the dataset if it is not on this machine.")
@_json_option
def data(data_dir: Path | None, fetch: bool, as_json: bool) -> None:
    """Say where Fashion-MNIST is, which source it came from, and that its checksums are right."""
    from gradclip_cli import data as dataset
    from gradclip_cli.console import DownloadDisplay

    source = dataset.locate(data_dir, fetch=fetch, progress=DownloadDisplay())
    if as_json:
        files = {name: {"bytes": size, "sha256": checksum} for name, (size, checksum) in dataset.FILES.items()}
        _print_json({"path": str(source.folder), "source": source.kind, "verified": True, "files": files})
        return
    click.echo(f"{source.folder}\nsource: {source.kind}\nverified: all {len(dataset.FILES)} files have the original's SHA-256")


@main.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors."""
    from gradclip_cli import config

    click.echo(json.dumps(config.json_schema(), indent=2))
