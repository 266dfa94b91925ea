"""Many runs: plans them, skips finished ones, has the others trained and counts the outcomes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Protocol

from gradclip_cli import engines
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError, ConflictsError, ExitCode, GradclipError, StoreError
from gradclip_cli.files import require_writable
from gradclip_cli.problems import identified, problem_of
from gradclip_cli.problems.contract import DownloadProgress
from gradclip_cli.runs.actions import Action, decide
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.one import Workshop, already_there
from gradclip_cli.runs.packs import require_unpacked
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Progress
from gradclip_cli.runs.trainers import THIS_PROCESS, Ending, Event, EventKind, Task, Trainers, Way

HEARTBEAT = 0.1  # seconds between two looks at what the trainers tell
STOPS: Mapping[int, ExitCode] = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
"""Signals that ask to stop, each with the exit code that then tells of it."""


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
    """How a planned run ended; a skipped one with what it once was."""

    run: PlannedRun
    status: Status
    seconds: float = 0.0
    message: str = ""
    """Where it diverged, or why it failed."""
    health: str = ""
    """What its gradients say, in a few words."""
    shown: str = ""
    """What is to be seen of a script besides, in several lines: what it printed last where it failed."""

    @property
    def reason(self) -> str:
        """The message without the run's own folder: the same of all runs that ended alike."""
        return self.message.replace(str(self.run.directory.path), "")


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, run: PlannedRun, what: str) -> None: ...
    def standing(self, run: PlannedRun, where: str) -> None: ...
    def remarked(self, run: PlannedRun, remark: str) -> None: ...
    def progressed(self, run: PlannedRun, progress: Progress) -> None: ...
    def ended(self, result: Result) -> None: ...


def plan(given: Sequence[Config], seeds: Sequence[int] | None, results: Path, *, force: bool = False) -> list[PlannedRun]:
    """Decide for each config and seed (the config's own without `seeds`) what is to be done, writing nothing.

    Runs that one compilation can serve stand together. Raises ConflictsError where directories hold another config, StoreError
    where something is to be trained into a packed folder, ConfigError and OwnCodeError where a user's own code is missing.
    """
    given = [identified(config) for config in given]
    chosen = [config.with_seed(seed) for config in given for seed in (seeds if seeds is not None else [config.training.seed])]
    keys = list(dict.fromkeys(engines.compile_key(config) for config in chosen))
    chosen.sort(key=lambda config: keys.index(engines.compile_key(config)))
    conflicts: list[StoreError] = []
    planned: list[PlannedRun] = []
    for config in chosen:
        directory = RunDirectory.of(results, config.name, config.training.seed)
        try:
            decision = decide(config, directory, force=force)
        except StoreError as error:
            conflicts.append(error)
        else:
            planned.append(PlannedRun(config, directory, decision.action, decision.reason, force))
    if conflicts:
        raise ConflictsError(conflicts)
    if any(run.action != Action.SKIP for run in planned):
        require_unpacked(results)
    return planned


class Interrupted(GradclipError):
    """A signal asked to stop; `left_behind` is what the same command does with what is not done."""

    kind = "interrupted"

    def __init__(self, signal_number: int, results: list[Result], left_behind: str = THIS_PROCESS.left_behind) -> None:
        super().__init__(f"Interrupted. Give the same command again: finished runs are kept, {left_behind}.")
        self.exit_code = STOPS[signal_number]
        self.results = results


@dataclass(frozen=True)
class Execution:
    """How planned runs are trained: by whom, on what data, and what is kept of them."""

    way: Way = THIS_PROCESS
    data_directory: Path | None = None
    download_progress: DownloadProgress | None = None
    save_model: bool = False
    keep_checkpoint: bool = False


def execute(planned: Sequence[PlannedRun], observer: Observer, execution: Execution = Execution()) -> list[Result]:
    """Train the planned runs and return how each ended, in order.

    A run that fails is marked so and the others go on. Raises Interrupted on SIGINT or SIGTERM, with the results so far,
    and ConfigError, DatasetError, StoreError or what the way raises before anything is trained.
    """
    _require_no_script_where_none_can_be(planned, execution)
    results = {run.directory.path: _result(run, already_there(run.directory)) for run in planned if run.action == Action.SKIP}
    for result in results.values():
        observer.ended(result)
    todo = [run for run in planned if run.action != Action.SKIP]
    if todo:
        workshop = Workshop(execution.download_progress)
        if execution.way.data_found_here:
            execution = replace(execution, data_directory=_find_dataset(todo, execution, workshop))
        require_writable(planned[0].directory.path.parent.parent)
        results |= _train_all(todo, observer, execution, workshop)
    return [results[run.directory.path] for run in planned if run.directory.path in results]


def _find_dataset(todo: Sequence[PlannedRun], execution: Execution, workshop: Workshop) -> Path | None:
    """Find or fetch the data once, before any worker looks for them; a lone run's are loaded by the workshop that trains it."""
    posed = [problem_of(run.config) for run in todo if not is_script(run)]
    problems = {problem.loaded_from: problem for problem in posed}
    if len(todo) == len(problems) == 1 and not posed[0].data_from_function:
        workshop.load(posed[0], execution.data_directory)
        return execution.data_directory
    found = [problem.find(execution.data_directory, execution.download_progress) for problem in problems.values()]
    folders = {folder for folder in found if folder}
    return folders.pop() if len(folders) == 1 else execution.data_directory


def is_script(run: PlannedRun) -> bool:
    """Whether a script trains a run, which gradclip only starts."""
    return isinstance(run.config, RecordedConfig)


def _require_no_script_where_none_can_be(planned: Sequence[PlannedRun], execution: Execution) -> None:
    """Raises ConfigError where a script is to be started, or asked, as none can be."""
    named = next((run.config.name for run in planned if is_script(run)), "")
    refused = {
        "a cluster trains no script: leave --cluster out, and start it here": not execution.way.starts_scripts,
        "a script saves its model itself: leave --save-model out": execution.save_model,
        "a script has no checkpoint that could be kept: leave --keep-checkpoint out": execution.keep_checkpoint,
    }
    if problems := [f"{named}: {why}" for why, asked in refused.items() if named and asked]:
        raise ConfigError(problems)


def _left_behind(todo: Sequence[PlannedRun], way: Way) -> str:
    """What becomes of runs that an interruption cut off: scripts start over."""
    scripts = sum(map(is_script, todo))
    if scripts == len(todo):
        return "interrupted scripts start over"
    return f"{way.left_behind}, and scripts start over" if scripts else way.left_behind


def _task(run: PlannedRun, execution: Execution) -> Task:
    return Task.of(
        run.config,
        run.directory,
        force=run.force,
        data_directory=execution.data_directory,
        save_model=execution.save_model,
        keep_checkpoint=execution.keep_checkpoint,
    )


def _train_all(todo: Sequence[PlannedRun], observer: Observer, execution: Execution, workshop: Workshop) -> dict[Path, Result]:
    tasks = [_task(run, execution) for run in todo]
    with _stop_requests() as stop:
        training = _Training({run.directory.path: run for run in todo}, observer, stop)
        trainers = execution.way.trainers(min(execution.way.at_once, len(tasks)))
        if trainers is None:
            training.here(tasks, workshop)
        else:
            training.elsewhere(trainers, tasks)
    if stop.signal_number:
        raise Interrupted(stop.signal_number, list(training.results.values()), _left_behind(todo, execution.way))
    return training.results


class _Training:
    """Runs that are being trained: shows what happens to them, and gathers how they ended.

    What another command trains comes last: its lock is waited for, and by then the run may need nothing more.
    """

    def __init__(self, runs: Mapping[Path, PlannedRun], observer: Observer, stop: _Stop) -> None:
        self._runs, self._observer, self._stop = runs, observer, stop
        self.results: dict[Path, Result] = {}
        self._noted: set[str] = set()

    def here(self, tasks: Sequence[Task], workshop: Workshop) -> None:
        """Train in this process."""
        busy: list[Task] = []
        for waiting, todo in ((False, tasks), (True, busy)):
            for task in todo:
                if self._stop.requested():
                    return
                ending = workshop.train(replace(task, wait=waiting), self._show, self._stop.requested)
                if ending.status == Status.BUSY:
                    busy.append(task)
                else:
                    self._finish(task, ending)

    def elsewhere(self, trainers: Trainers, tasks: Sequence[Task]) -> None:
        """Have others train, who are let go at the end."""
        with trainers:
            self._stop.listeners.append(trainers.ask_to_stop)
            busy = self._follow(trainers, tasks)
            self._follow(trainers, [replace(task, wait=True) for task in busy])

    def _follow(self, trainers: Trainers, tasks: Sequence[Task]) -> list[Task]:
        """Have tasks trained, show what there is to tell and finish what is done, until all is; return those that were busy."""
        if self._stop.requested():
            return []
        pending = {trainers.submit(task): task for task in tasks}
        done: SimpleQueue[Future[Ending]] = SimpleQueue()  # to ask each of thousands that are pending takes long
        for future in pending:
            future.add_done_callback(done.put)
        busy = []
        while pending:
            for event in trainers.events(HEARTBEAT):
                self._show(event)
            while not done.empty():
                future = done.get()
                task = pending.pop(future)
                if future.cancelled():
                    continue
                if (ending := future.result()).status == Status.BUSY:
                    busy.append(task)
                else:
                    self._finish(task, ending)
        return busy

    def _show(self, event: Event) -> None:
        run = self._runs[event.directory]
        if event.directory in self.results:
            return  # What a worker tells may arrive after its result.
        if event.progress:
            self._observer.progressed(run, event.progress)
        elif event.kind == EventKind.STANDING:
            self._observer.standing(run, event.message)
        elif event.kind == EventKind.REMARK:
            self._observer.remarked(run, event.message)
        elif event.kind == EventKind.NOTE:
            if event.message not in self._noted:
                self._noted.add(event.message)
                self._observer.remarked(run, event.message)
        else:
            self._observer.preparing(run, event.message)

    def _finish(self, task: Task, ending: Ending) -> None:
        self.results[task.directory] = result = _result(self._runs[task.directory], ending)
        self._observer.ended(result)


def _result(run: PlannedRun, ending: Ending) -> Result:
    if ending.was_there and run.action != Action.SKIP:
        run = replace(run, action=Action.SKIP, reason=f"{ending.status} meanwhile, by another command")
    return Result(run, ending.status, ending.seconds, ending.message, ending.health, ending.shown)


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

    before = {number: signal.signal(number, request) for number in STOPS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
