"""Many runs: plans them, skips finished ones, has the others trained and counts the outcomes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from gradclip_cli import config as configs
from gradclip_cli import data, engines
from gradclip_cli.cluster import Cluster
from gradclip_cli.errors import ConflictError, GradclipError, StoreError
from gradclip_cli.files import require_writable
from gradclip_cli.schema import Config
from gradclip_cli.store import FINISHED, RunDirectory, runs_of
from gradclip_cli.trainer import Ending, Event, Task, Workshop
from gradclip_cli.training import Progress
from gradclip_cli.workers import WorkerProcesses

HEARTBEAT = 0.1  # seconds between two looks at what the workers tell


@dataclass(frozen=True)
class PlannedRun:
    """A run to train, or to leave alone: `action` is train, resume, replace or skip; `reason` says why."""

    config: Config
    directory: RunDirectory
    action: str
    reason: str

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

    Runs that one compilation can serve stand together. Raises ConflictError where a directory holds another config.
    """
    chosen = [config.with_seed(seed) for config in given for seed in (seeds if seeds is not None else [config.training.seed])]
    keys = list(dict.fromkeys(engines.compile_key(config) for config in chosen))
    chosen.sort(key=lambda config: keys.index(engines.compile_key(config)))
    conflicts: list[str] = []
    planned: list[PlannedRun] = []
    for config in chosen:
        try:
            planned.append(_plan_run(config, RunDirectory.of(results, config.name, config.training.seed), force))
        except StoreError as error:
            conflicts.append(str(error))
    if conflicts:
        raise ConflictError("\n".join(conflicts))
    return planned


def _extends(differences: Sequence[tuple[str, Any, Any]]) -> bool:
    """Whether all that a config changes is to train longer."""
    return len(differences) == 1 and differences[0][0] == "training.epochs" and differences[0][2] > differences[0][1]


def _plan_run(config: Config, directory: RunDirectory, force: bool) -> PlannedRun:
    status = directory.status()
    if force:
        return PlannedRun(config, directory, "train" if status == "none" else "replace", f"--force, was: {status}")
    # An arm's runs differ in nothing but the seed, so a new seed must fit those that are there.
    stored = directory if status != "none" else next(iter(runs_of(directory.path.parent)), None)
    differences = configs.differences(stored.config().with_seed(config.training.seed), config) if stored else []
    if status == "complete" and _extends(differences) and directory.checkpoint_path.exists():
        _, there, here = differences[0]
        return PlannedRun(config, directory, "resume", f"goes on from {there} to {here} epochs")
    if stored and differences:
        told = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in differences)
        raise ConflictError(
            f"{stored.path}: holds another config ({told}); give yours another name, or replace the run with --force"
        )
    if status == "none":
        return PlannedRun(config, directory, "train", "new")
    if status in FINISHED:
        return PlannedRun(config, directory, "skip", f"already {status}")
    if directory.checkpoint_path.exists():
        return PlannedRun(config, directory, "resume", f"{status} before it was finished: goes on from its checkpoint")
    return PlannedRun(config, directory, "replace", f"{status} before it was finished: starts over")


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
    keep_checkpoint: bool = False, data_directory: Path | None = None, download_progress: data.DownloadProgress | None = None,
) -> list[Result]:  # fmt: skip
    """Train the planned runs in up to `jobs` worker processes (one job: in this one) and return how each ended, in order.

    With the address of a Dask scheduler as `cluster` its workers train them; `data_directory` is then a folder of theirs.
    A run that fails is marked so and the others go on. Raises Interrupted on SIGINT or SIGTERM, with the results so far,
    and DatasetError, StoreError or ClusterError before anything is trained.
    """
    results = {run.directory.path: _skipped(run) for run in planned if run.action == "skip"}
    for result in results.values():
        observer.ended(result)
    todo = {run.directory.path: run for run in planned if run.action != "skip"}
    if todo:
        if not cluster:
            data_directory = _find_dataset(list(todo.values()), data_directory, download_progress)
        require_writable(planned[0].directory.path.parent.parent)
        tasks = [
            Task.of(
                run.config, run.directory, start_over=run.action != "resume", data_directory=data_directory,
                save_model=save_model, keep_checkpoint=keep_checkpoint,
            )
            for run in todo.values()
        ]  # fmt: skip
        ended = _train_all(tasks, todo, observer, min(jobs, len(tasks)), cluster)
        results |= {path: _result(todo[path], ending) for path, ending in ended.items()}
    return [results[run.directory.path] for run in planned if run.directory.path in results]


def _find_dataset(
    todo: Sequence[PlannedRun], data_directory: Path | None, download_progress: data.DownloadProgress | None
) -> Path | None:
    """Find or fetch the dataset once, before any worker looks for it."""
    if all(run.config.data.subset == "sample" for run in todo):
        return data_directory
    return data.locate(data_directory, progress=download_progress).folder


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
            workshop = Workshop()
            for task in tasks:
                if not stop.requested():
                    finish(task, workshop.train(task, show, stop.requested))
        if stop.signal_number:
            results = [_result(runs[path], ending) for path, ending in ended.items()]
            raise Interrupted(stop.signal_number, results, on_cluster=bool(cluster))
    return ended


def _train_elsewhere(
    trainers: Trainers, tasks: Sequence[Task], stop: _Stop,
    finish: Callable[[Task, Ending], None], show: Callable[[Event], None],
) -> None:  # fmt: skip
    try:
        stop.listeners.append(trainers.ask_to_stop)
        if not stop.requested():
            _follow({trainers.submit(task): task for task in tasks}, trainers.events, finish, show)
    except BaseException:
        trainers.shutdown(cancel_futures=True)
        raise
    trainers.shutdown()


def _follow(
    futures: Mapping[Future[Ending], Task], events: Callable[[float], Iterable[Event]],
    finish: Callable[[Task, Ending], None], show: Callable[[Event], None],
) -> None:  # fmt: skip
    """Show what the workers tell and finish what is done, until all is."""
    pending = set(futures)
    while pending:
        for event in events(HEARTBEAT):
            show(event)
        done, pending = wait(pending, timeout=0)
        for future in done:
            if not future.cancelled():
                finish(futures[future], future.result())


def _show(event: Event, run: PlannedRun, observer: Observer) -> None:
    if event.progress:
        observer.progressed(run, event.progress)
    elif event.kind == "remark":
        observer.remarked(run, event.told)
    else:
        observer.preparing(run, event.told)


def _result(run: PlannedRun, ending: Ending) -> Result:
    return Result(run, ending.status, ending.seconds, ending.told, ending.health)


def _skipped(run: PlannedRun) -> Result:
    stored = run.directory.metadata()
    return Result(run, stored["status"], told=(stored.get("diverged") or {}).get("told", ""))


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
