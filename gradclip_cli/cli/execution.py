"""Planned runs, trained as the command was asked to; and how they ended, in words and in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradclip_cli.cli.options import TrainingOptions, is_set, remark, run_facts
from gradclip_cli.errors import GradclipError
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.cli.grid import Grid
    from gradclip_cli.runs.many import PlannedRun, Result
    from gradclip_cli.runs.metadata import Status
    from gradclip_cli.runs.trainers import Way

MOST_NAMED = 10
"""With more runs than this, or reasons, the others are only counted."""
FEW = 3
"""Of runs that failed alike, how many are named."""


class RunsFailed(GradclipError):
    """Some runs failed; `results` are those of all."""

    kind = "runs failed"

    def __init__(self, message: str, results: list[Result]) -> None:
        super().__init__(message)
        self.results = results


def train(
    planned: Sequence[PlannedRun],
    options: TrainingOptions,
    grid: Grid | None = None,
    worker_memory: int | None = None,
    **kept: bool,
) -> list[Result]:
    """Train what is planned and show it; `kept` are fields of `many.Execution`.

    `worker_memory` is what a worker takes, in bytes, where that was measured.
    """
    from gradclip_cli.cli.displays import DownloadDisplay, RunDisplay
    from gradclip_cli.runs import many

    way, told = fitting(planned, options.way, worker_memory)
    if told:
        remark(told, sentence=True)
    execution = many.Execution(way=way, data_directory=options.data_dir, download_progress=DownloadDisplay(), **kept)
    with RunDisplay(planned, quiet=is_set("quiet"), verbose=is_set("verbose"), grid=grid) as display:
        return many.execute(planned, display, execution)


def fitting(planned: Sequence[PlannedRun], way: Way, worker_memory: int | None = None) -> tuple[Way, str]:
    """The way with as many workers as fit into memory, and what is to be said of them.

    `worker_memory` is what a worker takes, in bytes, where that was measured.
    """
    from gradclip_cli.runs import memory
    from gradclip_cli.runs.actions import Action
    from gradclip_cli.runs.many import is_script

    configs = [run.config for run in planned if run.action != Action.SKIP and not is_script(run)]
    if not configs:
        return way, ""
    return memory.fitting(way, len(configs), worker_memory or memory.of_a_worker(configs), memory.free())


def require_none_failed(ended: list[Result], then: str = "") -> None:
    """Raises RunsFailed where a run failed; `then` ends what the same command will do."""
    from gradclip_cli.runs.metadata import Status

    failed = [result for result in ended if result.status == Status.FAILED]
    if not failed:
        return
    alike: dict[str, list[Result]] = {}
    for result in failed:
        alike.setdefault(result.reason, []).append(result)
    one = ", all for one reason" if len(alike) == 1 < len(failed) else ""
    message = f"{len(failed)} of {counted(len(ended), 'run')} failed{one}; the same command trains them again{then}."
    raise RunsFailed("\n".join([message, *_by_reason(list(alike.values()))]), ended)


def _by_reason(alike: Sequence[Sequence[Result]]) -> list[str]:
    """Why runs failed, each reason once, with the first few that failed so."""
    if [len(results) for results in alike] == [1]:
        return [f"  {alike[0][0].run.label} ({alike[0][0].message})"]
    lines = [line for first, *others in alike[:MOST_NAMED] for line in (f"  {first.message}", f"    {_named([first, *others])}")]
    return [*lines, f"  and {len(alike) - MOST_NAMED} more reasons"] if len(alike) > MOST_NAMED else lines


def _named(results: Sequence[Result]) -> str:
    """The first few runs by name, and how many more there are."""
    names = ", ".join(result.run.label for result in results[:FEW])
    return f"{names} and {len(results) - FEW:,} more" if len(results) > FEW else names


def count(ended: Sequence[Result], status: Status) -> int:
    """How many runs ended so."""
    return sum(result.status == status for result in ended)


def tally(ended: Sequence[Result]) -> str:
    """How many runs ended how, and the names of those that diverged or failed."""
    from gradclip_cli.runs.metadata import Status

    statuses = dict.fromkeys(result.status for result in ended)
    counts = ", ".join(f"{count(ended, status)} {status}" for status in statuses)
    lines = [f"{counted(len(ended), 'run')}: {counts}."]
    for status in (Status.DIVERGED, Status.FAILED):
        names = [result.run.label for result in ended if result.status == status]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines += [f"{status}: {', '.join(names[:MOST_NAMED])}{more}"] if names else []
    return "\n".join(lines)


def results_as_json(ended: Sequence[Result]) -> dict[str, Any]:
    """How each run ended, for JSON: its last whole epoch's metrics, the seconds it took, and what its gradients say."""
    return {"runs": [_as_json(result) for result in ended]}


def _as_json(result: Result) -> dict[str, Any]:
    from gradclip_cli.cli.displays import last_metrics
    from gradclip_cli.errors import StoreError
    from gradclip_cli.evidence import report

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
    return {**run_facts(run), **report.finite(facts)}


def print_results(ended: Sequence[Result]) -> None:
    """Print a line a run."""
    from gradclip_cli.cli.console import tell

    for result in ended:
        tell(f"{result.status:11} {result.run.directory.path}")
