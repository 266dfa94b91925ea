"""What commands share: options, completions in the shell, JSON; here an option becomes the way in which runs are trained."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from gradclip_cli.errors import StoreError

if TYPE_CHECKING:
    from gradclip_cli.runs.store import RunDirectory
    from gradclip_cli.runs.trainers import Way

JSON_SCHEMA = 1
RESULTS = Path("results")
SELDOM = 100_000
"""So many new objects before Python looks for garbage: what imports, runs and pictures make lives on, and looking takes time."""


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


@dataclass_transform(kw_only_default=True)
def parameters(options: type[Options]) -> type[Options]:
    """Make a class of fields hold the parameters of a command: a dataclass with no more than that, since each start makes it."""
    return dataclass(kw_only=True, eq=False, repr=False, match_args=False)(options)


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


class WayOption(click.Option):
    """An option that says what trains: its value makes a way to train, with `trains` for whose work it is, in words."""

    def __init__(self, names: Sequence[str], *, way: Callable[[Any], Way], trains: str, **others: Any) -> None:
        super().__init__(names, expose_value=False, callback=self._choose, **others)
        self.way, self.trains = way, trains

    def is_given(self, context: click.Context) -> bool:
        """Whether the command line has it, as far as it has been processed: first what it has, in its order."""
        return context.get_parameter_source(self.name or "") is ParameterSource.COMMANDLINE

    def _choose(self, context: click.Context, parameter: click.Parameter, value: Any) -> None:
        given = [each for each in context.command.params if isinstance(each, WayOption) and each.is_given(context)]
        if len(given) > 1:
            raise click.UsageError(_give_one(*given), context)
        if value:
            context.params.setdefault("choose_way", functools.partial(self.way, value))


def _give_one(first: WayOption, second: WayOption) -> str:
    """Why two of them are refused."""
    if first.name == "jobs":
        return f"--jobs counts {first.trains}; with {second.opts[-1]} {second.trains} train."
    return f"With {first.opts[-1]} {first.trains} train, with {second.opts[-1]} {second.trains}: give one of the two."


def _in_worker_processes(jobs: int | None = None) -> Way:
    from gradclip_cli.runs.workers import in_worker_processes

    return in_worker_processes(jobs)


def _on_cluster(address: str) -> Way:
    from gradclip_cli.runs.cluster import on_cluster

    return on_cluster(address)


WAY_OPTIONS = (
    click.option(
        "-j",
        "--jobs",
        cls=WayOption,
        way=_in_worker_processes,
        trains="worker processes here",
        type=click.IntRange(min=1),
        metavar="N",
        envvar="GRADCLIP_JOBS",
        help="Worker processes (or GRADCLIP_JOBS).  [default: the cores this process may use]",
    ),
    click.option(
        "--cluster",
        cls=WayOption,
        way=_on_cluster,
        trains="those of the cluster",
        metavar="ADDRESS",
        help="Have the workers of the Dask scheduler at tcp://host:port train; --data-dir is then a folder of theirs.",
    ),
)
"""What may train, by the option that says so."""


@parameters
class TrainingOptions:
    """What every command takes that trains planned runs."""

    data_dir: Path | None
    choose_way: Callable[[], Way] = _in_worker_processes

    @property
    def way(self) -> Way:
        """What trains: as one of `WAY_OPTIONS` says, else a worker process a core."""
        return self.choose_way()


def training_options(command: Command) -> Command:
    """`--data-dir` and `WAY_OPTIONS`: the fields of `TrainingOptions`."""
    for option in reversed(WAY_OPTIONS):
        command = option(command)
    return data_directory_option(command)


def results_option(
    default: Path | None = RESULTS, text: str = "Folder of the runs.", **others: Any
) -> Callable[[Command], Command]:
    """`--results`: eager, since the completions of other parameters look there."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=default,
        show_default=default is not None,
        is_eager=True,
        metavar="DIR",
        help=text,
        **others,
    )


def stored_results_option() -> Callable[[Command], Command]:
    """`--results` of commands on runs that are there: a folder that isn't is a mistake, unless it is the usual one."""
    return results_option(callback=_require_there)


def _require_there(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    if value != RESULTS and not value.is_dir():
        from gradclip_cli.runs.names import no_folder

        raise click.BadParameter(no_folder(value, RESULTS), context, parameter)
    return value


def seeds_option(default: str | None = None, otherwise: str = "") -> Callable[[Command], Command]:
    """`--seeds`; `otherwise` ends its help where there is no default."""
    text = f"10 (the first ten: 0 to 9), 0-9, or 1,5,7{otherwise}."
    return click.option("--seeds", default=default, show_default=True, metavar="SEEDS", help=text)


def complete_configs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped configs, and files."""
    from gradclip_cli.config import loading

    return _shipped_or_file(loading.shipped_names(), incomplete)


def complete_sweeps(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped sweeps, and files."""
    from gradclip_cli.config import loading

    return _shipped_or_file(loading.shipped_sweeps(), incomplete)


def complete_studies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped studies, and files."""
    from gradclip_cli.config import loading

    return _shipped_or_file(loading.shipped_studies(), incomplete)


def _shipped_or_file(names: Sequence[str], incomplete: str) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]


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
    import json

    click.echo(json.dumps({"schema": JSON_SCHEMA, **content}, indent=2, allow_nan=False))
