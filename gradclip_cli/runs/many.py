"""Many runs: plans them, skips finished ones, has the others trained and counts the outcomes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

from gradclip_cli import engines
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConflictError, GradclipError, StoreError
from gradclip_cli.files import require_writable
from gradclip_cli.problems import fashion_mnist
from gradclip_cli.problems.fashion_mnist import DownloadProgress
from gradclip_cli.runs.actions import Action, decide
from gradclip_cli.runs.cluster import Cluster
from gradclip_cli.runs.loop import Progress
from gradclip_cli.runs.one import Ending, Event, Task, Workshop, already_there
from gradclip_cli.runs.packs import require_unpacked
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.workers import WorkerProcesses

HEARTBEAT = 0.1  # seconds between two looks at what the workers tell


@dataclass(frozen=True)
class PlannedRun:
    """A run to train, or to leave alone, and why; with `force` it is trained whatever is there by then."""

    config: Config
    directory: RunDirectory
    action: Action
    reason: str
    force: bool = False

    @property
    def label(self) -> str:
        return f"{self.config.name} seed {self.config.training.seed}"


@dataclass(frozen=True)
class Result:
    """How a planned run ended: complete, diverged, interrupted or failed; skipped ones with what they once were."""

    run: PlannedRun
    status: str
    seconds: float = 0.0
    told: str = ""
    """Where it diverged, or why it failed."""
    health: str = ""
    """What its gradients say, in a few words."""


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def remarked(self, run: PlannedRun, remark: str) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...
    def ended(self, result: Result) -> None: ...


class Trainers(Protocol):
    """What trains tasks elsewhere: worker processes of this machine, or a cluster's."""

    def submit(self, task: Task) -> Future[Ending]: ...
    def events(self, seconds: float) -> Iterable[Event]: ...
    def ask_to_stop(self) -> None: ...
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


def plan(given: Sequence[Config], seeds: Sequence[int] | None, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Decide for each config and seed (the config's own without `seeds`) what is to be done, writing nothing.

    Runs that one compilation can serve stand together. Raises ConflictError where a directory holds another config,
    StoreError where something is to be trained into a packed folder.
    """
    chosen = [config.with_seed(seed) for config in given for seed in (seeds if seeds is not None else [config.training.seed])]
    keys = list(dict.fromkeys(engines.compile_key(config) for config in chosen))
    chosen.sort(key=lambda config: keys.index(engines.compile_key(config)))
    conflicts: list[str] = []
    planned: list[PlannedRun] = []
    for config in chosen:
        directory = RunDirectory.of(results, config.name, config.training.seed)
        try:
            decision = decide(config, directory, force=force)
        except StoreError as error:
            conflicts.append(str(error))
        else:
            planned.append(PlannedRun(config, directory, decision.action, decision.reason, force))
    if conflicts:
        raise ConflictError("\n".join(conflicts))
    if any(run.action != Action.SKIP for run in planned):
        require_unpacked(results)
    return planned


class Interrupted(GradclipError):
    """A signal asked to stop; what was trained so far is kept in checkpoints."""

    kind = "interrupted"

    def __init__(self, signal_number: int, results: list[Result], *, on_cluster: bool = False) -> None:
        others = "what had not come back is trained again" if on_cluster else "interrupted ones go on"
        super().__init__(f"Interrupted. Give the same command again: finished runs are kept, {others}.")
        self.exit_code = 128 + signal_number
        self.results = results


def execute(
    planned: Sequence[PlannedRun], observer: Observer, *, jobs: int = 1, cluster: str | None = None, save_model: bool = False,
    keep_checkpoint: bool = False, data_directory: Path | None = None, download_progress: DownloadProgress | None = None,
) -> list[Result]:  # fmt: skip
    """Train the planned runs in up to `jobs` worker processes (one job: in this one) and return how each ended, in order.

    With the address of a Dask scheduler as `cluster` its workers train them; `data_directory` is then a folder of theirs.
    A run that fails is marked so and the others go on. Raises Interrupted on SIGINT or SIGTERM, with the results so far,
    and DatasetError, StoreError or ClusterError before anything is trained.
    """
    results = {run.directory.path: _result(run, already_there(run.directory)) for run in planned if run.action == Action.SKIP}
    for result in results.values():
        observer.ended(result)
    todo = {run.directory.path: run for run in planned if run.action != Action.SKIP}
    if todo:
        if not cluster:
            data_directory = _find_dataset(list(todo.values()), data_directory, download_progress)
        require_writable(planned[0].directory.path.parent.parent)
        tasks = [
            Task.of(
                run.config, run.directory, force=run.force, data_directory=data_directory,
                save_model=save_model, keep_checkpoint=keep_checkpoint,
            )
            for run in todo.values()
        ]  # fmt: skip
        ended = _train_all(tasks, todo, observer, min(jobs, len(tasks)), cluster)
        results |= {path: _result(todo[path], ending) for path, ending in ended.items()}
    return [results[run.directory.path] for run in planned if run.directory.path in results]


def _find_dataset(
    todo: Sequence[PlannedRun], data_directory: Path | None, download_progress: DownloadProgress | None
) -> Path | None:
    """Find or fetch the dataset once, before any worker looks for it."""
    if all(run.config.data.subset == "sample" for run in todo):
        return data_directory
    return fashion_mnist.locate(data_directory, progress=download_progress).folder


def _train_all(
    tasks: Sequence[Task], runs: Mapping[Path, PlannedRun], observer: Observer, jobs: int, cluster: str | None
) -> dict[Path, Ending]:
    ended: dict[Path, Ending] = {}

    def show(event: Event) -> None:
        if event.directory not in ended:  # What a worker tells may arrive after its result.
            _show(event, runs[event.directory], observer)

    def finish(task: Task, ending: Ending) -> None:
        ended[task.directory] = ending
        observer.ended(_result(runs[task.directory], ending))

    with _stop_requests() as stop:
        if cluster or jobs > 1:
            _train_elsewhere(Cluster(cluster) if cluster else WorkerProcesses(jobs), tasks, stop, finish, show)
        else:
            _train_here(tasks, stop, finish, show)
        if stop.signal_number:
            results = [_result(runs[path], ending) for path, ending in ended.items()]
            raise Interrupted(stop.signal_number, results, on_cluster=bool(cluster))
    return ended


def _train_here(
    tasks: Sequence[Task], stop: _Stop, finish: Callable[[Task, Ending], None], show: Callable[[Event], None]
) -> None:
    workshop = Workshop()
    busy: list[Task] = []
    for waiting, todo in ((False, tasks), (True, busy)):
        for task in todo:
            if stop.requested():
                return
            ending = workshop.train(replace(task, wait=waiting), show, stop.requested)
            if ending.status == "busy":
                busy.append(task)
            else:
                finish(task, ending)


def _train_elsewhere(
    trainers: Trainers, tasks: Sequence[Task], stop: _Stop,
    finish: Callable[[Task, Ending], None], show: Callable[[Event], None],
) -> None:  # fmt: skip
    try:
        stop.listeners.append(trainers.ask_to_stop)
        # What another command trains comes last: its lock is waited for, and by then the run may need nothing more.
        busy = _follow(trainers, tasks, stop, finish, show)
        _follow(trainers, [replace(task, wait=True) for task in busy], stop, finish, show)
    except BaseException:
        trainers.shutdown(cancel_futures=True)
        raise
    trainers.shutdown()


def _follow(
    trainers: Trainers, tasks: Sequence[Task], stop: _Stop,
    finish: Callable[[Task, Ending], None], show: Callable[[Event], None],
) -> list[Task]:  # fmt: skip
    """Have tasks trained, show what the workers tell and finish what is done, until all is; return those that were busy."""
    if stop.requested():
        return []
    futures = {trainers.submit(task): task for task in tasks}
    pending, busy = set(futures), []
    while pending:
        for event in trainers.events(HEARTBEAT):
            show(event)
        done, pending = wait(pending, timeout=0)
        for future in done:
            if future.cancelled():
                continue
            if (ending := future.result()).status == "busy":
                busy.append(futures[future])
            else:
                finish(futures[future], ending)
    return busy


def _show(event: Event, run: PlannedRun, observer: Observer) -> None:
    if event.progress:
        observer.progressed(run, event.progress)
    elif event.kind == "remark":
        observer.remarked(run, event.told)
    else:
        observer.preparing(run, event.told)


def _result(run: PlannedRun, ending: Ending) -> Result:
    if ending.was_there and run.action != Action.SKIP:
        run = replace(run, action=Action.SKIP, reason=f"{ending.status} meanwhile, by another command")
    return Result(run, ending.status, ending.seconds, ending.told, ending.health)


@dataclass
class _Stop:
    signal_number: int = 0
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def requested(self) -> bool:
        return bool(self.signal_number)


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop at the next chunk; a second one stops at once."""
    stop = _Stop()

    def request(signal_number: int, frame: FrameType | None) -> None:
        if stop.signal_number:
            raise KeyboardInterrupt
        stop.signal_number = signal_number
        for listener in stop.listeners:
            listener()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
