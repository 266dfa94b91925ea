"""What commands share: options, completions in the shell, JSON and exit codes."""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from gradclip_cli.errors import StoreError

if TYPE_CHECKING:
    from gradclip_cli.runs.store import RunDirectory

JSON_SCHEMA = 1
DIVERGED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell sees what SIGPIPE ended
RESULTS = Path("results")


class FiniteFloat(click.FloatRange):
    """A positive number; not infinity and not NaN, which a range alone lets pass."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


Command = TypeVar("Command", bound=Callable[..., Any])


def general_options(*, in_command: bool = False) -> list[click.Option]:
    """What every command takes, before or after its name: there it sets what stands in the group's parameters."""

    def general(text: str, *names: str) -> click.Option:
        return click.Option(names, is_flag=True, help=text, expose_value=not in_command, callback=_spread if in_command else None)

    return [
        general("No progress; warnings and errors only.", "-q", "--quiet"),
        general("A line an epoch.", "-v", "--verbose"),
        general("Show tracebacks.", "--debug"),
    ]


def _spread(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and parameter.name:
        context.find_root().params[parameter.name] = True


def is_set(name: str) -> bool:
    """Whether a general option was given to the command that runs."""
    return bool(click.get_current_context().find_root().params.get(name))


def remark(text: str, *, sentence: bool = False, even_if_quiet: bool = False) -> None:
    """Say on stderr what is neither a result nor a warning, unless --quiet; a `sentence` is broken at words."""
    if even_if_quiet or not is_set("quiet"):
        from gradclip_cli.cli import console

        console.note(text, sentence=sentence)


Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Give a command all its parameters as one object, whose fields are named as they are."""

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_parameters(**parameters: Any) -> None:
            command(options(**parameters))

        return with_parameters

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
data_directory_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with the dataset's four files (or GRADCLIP_DATA); else they are looked for and fetched.",
)


def _jobs_or_cluster(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse both on the command line; they are parsed in the order in which they are given."""
    given = [name for name in ("jobs", "cluster") if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if len(given) == 2:
        raise click.UsageError("--jobs counts worker processes here; with --cluster those of the cluster train.", context)
    return value


_jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    envvar="GRADCLIP_JOBS",
    callback=_jobs_or_cluster,
    help="Worker processes (or GRADCLIP_JOBS).  [default: the cores this process may use]",
)

_cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    callback=_jobs_or_cluster,
    help="Have the workers of the Dask scheduler at tcp://host:port train; --data-dir is then a folder of theirs.",
)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What every command takes that trains planned runs."""

    data_dir: Path | None
    jobs: int | None
    cluster: str | None


def training_options(command: Command) -> Command:
    """`--data-dir`, `--jobs` and `--cluster`, the fields of `TrainingOptions`."""
    return data_directory_option(_jobs_option(_cluster_option(command)))


def results_option(default: Path | None = RESULTS, text: str = "Folder of the runs.") -> Callable[[Command], Command]:
    """`--results`: eager, since the completions of other parameters look there."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=default,
        show_default=default is not None,
        is_eager=True,
        metavar="DIR",
        help=text,
    )


def seeds_option(default: str | None = None, otherwise: str = "") -> Callable[[Command], Command]:
    """`--seeds`; `otherwise` ends its help where there is no default."""
    text = f"10 (the first ten: 0 to 9), 0-9, or 1,5,7{otherwise}."
    return click.option("--seeds", default=default, show_default=True, metavar="SEEDS", help=text)


def complete_configs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped configs, and files."""
    from gradclip_cli.config import loading

    names = [CompletionItem(name) for name in loading.shipped_names() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def complete_sweeps(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped sweeps, and files."""
    from gradclip_cli.config import loading

    names = [CompletionItem(name) for name in loading.shipped_sweeps() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def complete_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Keys that a config may hold."""
    from gradclip_cli.config import loading

    return [f"{key}=" for key in loading.known_keys() if key.startswith(incomplete)]


settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_settings,
    help="Override a key, such as optimizer.learning_rate=0.1; repeatable. The arm's name tells it.",
)


def complete_arms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Arms that have runs."""
    arms = dict.fromkeys(run.arm for run in _stored_runs(context))
    return [arm for arm in arms if arm.startswith(incomplete)]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Single runs, by name."""
    from gradclip_cli.runs.names import run_name

    names = [run_name(run) for run in _stored_runs(context)]
    return [name for name in names if name.startswith(incomplete)]


def _stored_runs(context: click.Context) -> list[RunDirectory]:
    from gradclip_cli.runs import store

    with contextlib.suppress(StoreError):  # A shell has no place for an error while somebody types.
        return store.runs(context.params.get("results") or RESULTS)
    return []


def run_facts(run: RunDirectory) -> dict[str, Any]:
    """Which run it is, for JSON."""
    return {"arm": run.arm, "seed": run.seed, "path": str(run.path)}


def print_json(content: dict[str, Any]) -> None:
    """Print JSON that tells its schema."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **content}, indent=2, allow_nan=False))
