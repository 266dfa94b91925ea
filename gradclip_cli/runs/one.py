"""One run in this process: dataset, engine (built or reused), training, a complete directory; and the words for what is
being prepared.

A run goes on from its checkpoint where there is one that can be used; else it starts over, and says why.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gradclip_cli import engines
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine
from gradclip_cli.errors import BusyError, ConflictError, StoreError
from gradclip_cli.problems import problem_of
from gradclip_cli.problems.contract import Dataset, DownloadProgress, Problem
from gradclip_cli.runs import scripts, store, summaries
from gradclip_cli.runs.actions import Action, decide
from gradclip_cli.runs.endings import ending_facts, now
from gradclip_cli.runs.loop import Moment, Setup, at_checkpoint, batch_schedule, beginning, train
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.provenance import provenance, weights_sha256
from gradclip_cli.runs.shared_data import SharedData
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.summary_file import Stamp
from gradclip_cli.runs.tally import Progress
from gradclip_cli.runs.trainers import Ending, Event, EventKind, Task

LOADING = "loading the dataset"
"""What is being prepared while data are loaded."""
MOST_REMEMBERED = 10_000
"""Of an arm's other runs: which data they were trained on, so that each of many runs need not read all others again."""


class Workshop:
    """What a process keeps from run to run: the datasets that were loaded, and the engine of the last kind of run."""

    def __init__(self, download_progress: DownloadProgress | None = None, shared: SharedData | None = None) -> None:
        self._download_progress, self._shared = download_progress, shared
        self._datasets: dict[str, Dataset] = {}
        self._engines: dict[str, Engine] = {}
        self._one_at_a_time = threading.Lock()

    def train(self, task: Task, report: Callable[[Event], None], should_stop: Callable[[], bool]) -> Ending:
        """Train one run. What goes wrong is told in the ending, not raised; KeyboardInterrupt and the like are.

        Meanwhile stdout is stderr: a model of the user's own may print whenever it is called.
        """
        with self._one_at_a_time, contextlib.redirect_stdout(sys.stderr):
            try:
                return self._train(task, report, should_stop)
            except BusyError as error:
                # To wait with --force would be to replace what that process has just finished.
                status = Status.INTERRUPTED if task.wait else Status.FAILED if task.force else Status.BUSY
                return Ending(status, message=str(error))
            except Exception as error:
                return Ending(Status.FAILED, message=str(error) or type(error).__name__)

    def _train(self, task: Task, report: Callable[[Event], None], should_stop: Callable[[], bool]) -> Ending:
        config, directory = task.load_config(), RunDirectory(task.directory)
        if task.wait:
            report(Event(task.directory, EventKind.REMARK, "waiting for another gradclip process that is training it"))
        with directory.locked(lambda: task.wait and not should_stop()):
            # Since the run was planned, another command may have trained it, or another config into its place.
            decision = decide(config, directory, force=task.force)
            if decision.action == Action.SKIP:
                return already_there(directory)
            if isinstance(config, RecordedConfig):
                return scripts.train(task, config, report, should_stop)
            dataset, engine = self.prepare(
                config, task.data_directory, lambda what: report(Event(task.directory, EventKind.PREPARING, what))
            )
            setup = Setup(config, engine, dataset, directory)
            moment, remark = _checkpointed(setup) if decision.action == Action.RESUME else (None, "")
            if remark:
                report(Event(task.directory, EventKind.REMARK, remark))
            _require_the_data_of_the_others(setup, task.force)
            for remark in (*dataset.remarks, *engine.remarks):
                report(Event(task.directory, EventKind.NOTE, remark))
            facts = _facts(setup) | (_history(directory) if moment else {})

            def begin() -> Moment:
                if moment:
                    directory.begin(config, facts)
                else:
                    directory.start(config, engine.variables, facts)
                return moment or beginning(setup)

            return _train_and_keep(task, setup, begin, facts, report, should_stop)

    def prepare(self, config: Config, data_directory: Path | None, preparing: Callable[[str], None]) -> tuple[Dataset, Engine]:
        """The dataset and the engine of a config, loaded and built unless they are kept; `preparing` is told what is done.

        Raises DatasetError and EngineError.
        """
        if problem_of(config).data_from_function:
            preparing(building(config))
            engines.imported(config.engine.framework)
        preparing(LOADING)
        dataset = self.load(problem_of(config), data_directory)
        kept = engines.compile_key(config) in self._engines
        preparing(building(config))
        engine = self._engine(config, dataset)
        if engine.compiles and not kept:
            preparing("compiling")
        return dataset, engine

    def load(self, problem: Problem, data_directory: Path | None) -> Dataset:
        """The dataset of a problem, kept for its runs. Raises DatasetError."""
        if problem.loaded_from not in self._datasets:

            def load() -> Dataset:
                return problem.load(data_directory, self._download_progress)

            shared = self._shared if problem.data_from_function else None
            self._datasets[problem.loaded_from] = shared.loaded(problem, load) if shared else load()
        return self._datasets[problem.loaded_from]

    def _engine(self, config: Config, dataset: Dataset) -> Engine:
        key = engines.compile_key(config)
        if key not in self._engines:
            self._engines = {}  # Let go of the last one first.
            self._engines = {key: engines.build(config, dataset)}
        return self._engines[key]


def building(config: Config) -> str:
    """What takes the time until a config's engine is built: the framework's import, in a fresh process."""
    framework = FRAMEWORKS[config.engine.framework]
    return "building the model" if framework.package in sys.modules else f"importing {framework.short_title}"


def already_there(directory: RunDirectory) -> Ending:
    """The ending of a run that needs no training: what another command left."""
    metadata = directory.metadata()
    divergence = (metadata.get("diverged") or {}).get("told", "")
    return Ending(Status(metadata["status"]), metadata.get("seconds") or 0.0, divergence, was_there=True)


def _checkpointed(setup: Setup) -> tuple[Moment | None, str]:
    """Where to go on, with a remark; no moment where the run starts over, with why it can't go on, or without a word."""
    directory = setup.directory
    try:
        checkpoint = directory.read_checkpoint(setup.config)
        if checkpoint is None:
            return None, ""
        directory.cut_back(checkpoint)
        moment = at_checkpoint(setup, checkpoint)
    except StoreError as error:
        return None, f"starts over: {error}"
    return moment, f"goes on from step {moment.tally.steps:,}"


def _require_the_data_of_the_others(setup: Setup, force: bool) -> None:
    """Raises ConflictError where a run of this arm was trained on data that have changed since."""
    for run in [] if force else store.runs_of(setup.directory.path.parent):
        there = _data_of(run.path, summaries.stamps(run, ["run.json"]))
        if there not in (None, setup.dataset.sha256):
            hint = "put the data back, give the config another name, or train the whole arm again with --force"
            raise ConflictError(f"{run.path}: was trained on other data (their SHA-256 differs)", hint)


@functools.lru_cache(maxsize=MOST_REMEMBERED)
def _data_of(folder: Path, stamps: tuple[Stamp, ...]) -> str | None:
    """SHA-256 of the data that the run in a folder was trained on; None where that can't be read.

    `stamps` are its `run.json`'s: one that has others now is read again.
    """
    try:
        return RunDirectory.at(folder).metadata().get("dataset_sha256")
    except StoreError:
        return None


def _facts(setup: Setup) -> dict[str, Any]:
    config, dataset = setup.config, setup.dataset
    return {
        "arm": config.name,
        "seed": config.training.seed,
        "started": now(),
        "evaluation_split": dataset.evaluation_split,
        "dataset_sha256": dataset.sha256,
        **_start(setup),
        "metrics": {name: {"higher_is_better": higher} for name, higher in setup.engine.metrics.items()},
        "every": config.recorded_every,
        "counts_correct": setup.engine.counts_correct,
        "chance": dict(setup.engine.chance),
        "compiled": setup.engine.compiled,
        "variables": list(setup.engine.variables),
        **provenance(config.engine.framework),
    }


def _start(setup: Setup) -> dict[str, str]:
    """Hashes by which runs tell whether they began alike: of all initial weights, and of the first epoch's batches."""
    batches = batch_schedule(setup.config, setup.dataset).take(setup.config.training.steps_per_epoch)
    weights = weights_sha256(setup.initial_weights.items())
    return {"initial_weights_sha256": weights, "first_epoch_sha256": hashlib.sha256(batches.tobytes()).hexdigest()}


def _history(directory: RunDirectory) -> dict[str, Any]:
    """What `run.json` keeps of the earlier parts of a run that goes on: when it began, and when it went on."""
    try:
        before = directory.metadata()
    except StoreError:
        before = {}
    started = {"started": before["started"]} if before.get("started") else {}
    return {**started, "resumed": [*(before.get("resumed") or []), now()], "seconds_before": before.get("seconds") or 0.0}


def _train_and_keep(
    task: Task,
    setup: Setup,
    begin: Callable[[], Moment],
    facts: Mapping[str, Any],
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> Ending:
    """Train from where `begin` sets a run; whatever happens from then on, `run.json` tells how it ended."""

    def progressed(progress: Progress) -> None:
        report(Event(directory.path, EventKind.PROGRESS, progress=progress))

    directory = setup.directory
    clock = time.perf_counter()
    try:
        outcome = train(setup, begin(), progressed, should_stop, keep_checkpoint=task.keep_checkpoint)
        if task.save_model and outcome.status == Status.COMPLETE:
            with directory.saving_model(setup.config.engine.framework) as path:
                setup.engine.save(path)
        seconds = time.perf_counter() - clock
        directory.write_metadata({**facts, **ending_facts(outcome, directory, seconds + facts.get("seconds_before", 0.0))})
        if outcome.status != Status.INTERRUPTED and not task.keep_checkpoint:
            directory.remove_checkpoint()
    except BaseException as error:
        status = Status.FAILED if isinstance(error, Exception) else Status.INTERRUPTED
        directory.write_last_words({**facts, "status": status, "reason": f"{type(error).__name__}: {error}"})
        raise
    divergence, health = outcome.divergence, outcome.health
    return Ending(outcome.status, seconds, divergence.message if divergence else "", health.message if health else "")
