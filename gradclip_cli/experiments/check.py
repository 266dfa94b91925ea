"""`check`: would this train? A problem is built and takes a few steps, each twice, and is timed; nothing is stored."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli import engines
from gradclip_cli.arrays import Array, IntArray, Weights
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine, Evaluation
from gradclip_cli.errors import EngineError, GradclipError
from gradclip_cli.gradients.step_records import StepRecords, Stretch
from gradclip_cli.limits import MOST_SEED
from gradclip_cli.problems import own, problem_of
from gradclip_cli.problems.contract import Dataset, DownloadProgress
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own.calls import own_code_runs
from gradclip_cli.problems.own_arrays.data_summary import Summary, describe
from gradclip_cli.problems.own_arrays.splits import OwnArrays, OwnSplit
from gradclip_cli.runs import memory
from gradclip_cli.runs.loop import batch_schedule
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.pace import Pace
from gradclip_cli.runs.tally import Divergence, find_divergence

STEPS = 20
TIMED_SECONDS = 1.0
"""Steps are timed 20 at a time until so much time has gone by, at least once and at most TIMED times."""
TIMED = 5
QUICK_EVALUATION = 5.0
"""Seconds below which an evaluation is taken twice, to tell it from its compilation."""
BUILDS = 3
"""How often a model is built to see whether it is the same again."""
STORING = 0.3
"""Seconds in which a run's files are written and synced, on a usual disk."""
CONSTANTS = 2
"""A variable with no more different values was not drawn: zeros, ones, or a bias that has both."""


class WouldNotTrain(GradclipError):
    """What was checked would not train: the message says why."""

    kind = "would not train"


@dataclass(frozen=True)
class Variable:
    """One of a model's variables."""

    name: str
    shape: tuple[int, ...]
    trained: bool

    @property
    def size(self) -> int:
        """Its number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Builds:
    """What another build of the model shows, by names of variables."""

    differing: tuple[str, ...]
    """Those that the same seed gave other values the second time."""
    alike: tuple[str, ...]
    """Those that another seed gave the same values, though they are no constants."""
    all_alike: bool
    """Whether another seed gave the same values throughout."""
    same_data: bool = True
    """Whether the data were the same when they were made a second time."""


@dataclass(frozen=True)
class FirstSteps:
    """The first 20 steps, and what differed when they were taken a second time from the same state."""

    records: StepRecords
    divergence: Divergence | None
    differing: tuple[str, ...]
    """Records, by the names of their columns, and parts of the state."""
    first_differing: int | None
    """The first step, from 1, of which something was recorded differently."""
    seconds: float
    """What they took the first time: they compile."""


@dataclass(frozen=True)
class Timing:
    """How long a step takes in one way of compiling: a median in seconds; None where it can't be compiled so, with the reason."""

    way: str
    step: float | None
    why_not: str = ""


@dataclass(frozen=True)
class Checked:
    """All that was found about a config's problem."""

    config: Config
    variables: tuple[Variable, ...]
    arrays: tuple[Summary, ...]
    metrics: Mapping[str, bool]
    chance: Mapping[str, float]
    compiled: str
    evaluation_split: str
    remarks: tuple[str, ...]
    brought: Brought | None
    builds: Builds
    steps: FirstSteps
    evaluation: Evaluation
    timings: tuple[Timing, ...]
    pace: Pace
    """`evaluation` is of this problem's own evaluation split."""
    beginning: float
    """Seconds that each run takes besides its steps and evaluations: its model is built, its files are written."""
    peak_memory: int | None
    """Of this process, in bytes; None where the system doesn't tell."""

    @property
    def trained(self) -> list[str]:
        """Names of the trainable variables, in the order of the records."""
        return [variable.name for variable in self.variables if variable.trained]

    @property
    def a_run(self) -> float:
        """Seconds that a run of this config's length takes where all is compiled."""
        training = self.config.training
        return self.beginning + training.epochs * (training.steps_per_epoch * self.pace.step + self.pace.evaluation)

    @property
    def worker_memory(self) -> int | None:
        """Bytes that a worker process takes; data of the user's own don't count, since all workers share them."""
        if self.peak_memory is None or not isinstance(self.config, OwnConfig):
            return self.peak_memory
        return self.peak_memory - sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in self.arrays)

    def seconds(self, runs: int, *, arms: int = 1, workers: int = 1) -> float:
        """About how long so many runs take, of all arms together, with some workers at a time, each on a core."""
        workers = min(workers, runs)
        return self.pace.start + (runs * self.a_run + max(arms, workers) * self.pace.compilation) / workers


def check(
    config: Config,
    *,
    data_directory: Path | None = None,
    download_progress: DownloadProgress | None = None,
    preparing: Callable[[str], None] = lambda what: None,
    other_ways: bool = True,
) -> Checked:
    """Build a config's problem, take a few steps, and look at what a training depends on; `preparing` hears what is being done.

    With `other_ways` steps are timed as they could be compiled otherwise, too.

    Whether it would train is told by `check_report.obstacles`. Raises ConfigError, DatasetError, EngineError and OwnCodeError.
    """
    clock = time.perf_counter()
    dataset, engine = Workshop(download_progress).prepare(config, data_directory, preparing)
    starting = time.perf_counter() - clock
    preparing("building it twice more, with the same seed and another")
    building, (weights, builds) = _seconds(lambda: _built_again(config, engine))
    if isinstance(config, OwnConfig) and config.data.factory:
        preparing("making the data again")
        builds = replace(builds, same_data=problem_of(config).load(data_directory).sha256 == dataset.sha256)
    preparing(f"taking {STEPS} steps twice")
    batches = batch_schedule(config, dataset).take(STEPS)
    with _own_code(config, "training on a batch"):
        steps = _first_steps(config, engine, weights, batches)
    preparing("evaluating")
    with _own_code(config, "an evaluation"):
        evaluation, evaluating, more = _evaluated(engine)
    preparing(f"timing steps ({engine.compiled})")
    timings = [Timing(engine.compiled, _time_a_step(engine, batches, config.recorded_every))]
    timings += _timed_otherwise(config, engine.compiled, dataset, batches, preparing) if other_ways else []
    step = next(timing.step for timing in timings if timing.step is not None)
    pace = Pace(step, evaluating, max(0.0, steps.seconds - 2 * STEPS * step) + more, starting)
    return Checked(
        config=config,
        variables=tuple(Variable(name, value.shape, name in engine.variables) for name, value in weights.items()),
        arrays=tuple(_described(config, dataset)),
        metrics=engine.metrics,
        chance=engine.chance,
        compiled=engine.compiled,
        evaluation_split=dataset.evaluation_split,
        remarks=(*dataset.remarks, *engine.remarks),
        brought=_brought(config, dataset),
        builds=builds,
        steps=steps,
        evaluation=evaluation,
        timings=tuple(timings),
        pace=pace,
        beginning=building / BUILDS + STORING,
        peak_memory=memory.of_this_process(),
    )


def _own_code(config: Config, doing: str) -> AbstractContextManager[None]:
    """What runs a user's own code, if it is one's."""
    if not isinstance(config, OwnConfig):
        return nullcontext()
    return own_code_runs(str(config.model.factory or config.model.file), doing)


def _built_again(config: Config, engine: Engine) -> tuple[Weights, Builds]:
    """The initial weights, and what building twice with this seed and once with another shows."""
    with _own_code(config, "building it again"):
        weights, again = engine.initial_weights(config), engine.initial_weights(config)
        other = engine.initial_weights(config.with_seed((config.training.seed + 1) % (MOST_SEED + 1)))
    same = [name for name in weights if _bytes_agree(weights[name], other[name])]
    drawn = [name for name in same if name in engine.variables and np.unique(weights[name]).size > CONSTANTS]
    differing = [name for name in weights if not _bytes_agree(weights[name], again[name])]
    return weights, Builds(tuple(differing), tuple(drawn), len(same) == len(weights))


def _bytes_agree(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _first_steps(config: Config, engine: Engine, weights: Weights, batches: IntArray) -> FirstSteps:
    def taken() -> tuple[StepRecords, dict[str, Array]]:
        engine.reset(weights, learning_rate=config.optimizer.learning_rate)
        try:
            return engine.train(batches), engine.state()
        except Exception as error:
            if engine.compiled == "xla" and hasattr(error, "error_code"):  # TensorFlow's own, not the user's
                hint = "engine: {jit: false} does without"
                raise EngineError(f"XLA can't compile or run it: {_reason(error)}. {hint}.") from error
            raise

    clock = time.perf_counter()
    (records, state), (again, other) = taken(), taken()
    seconds = time.perf_counter() - clock
    columns = {each.name: (getattr(records, each.name), getattr(again, each.name)) for each in fields(records)}
    rows = [name for name, (one, two) in columns.items() if not _bytes_agree(one, two)]
    parts = [name for name, value in state.items() if not _bytes_agree(value, other[name])]
    first = min((_first_row(*columns[name]) for name in rows), default=None)
    divergence = find_divergence(Stretch.measured(records), engine.variables, 0, config.training.steps_per_epoch)
    return FirstSteps(records, divergence, (*rows, *parts), first, seconds)


def _first_row(one: Array, other: Array) -> int:
    return next(row for row in range(len(one)) if one[row].tobytes() != other[row].tobytes()) + 1


def _evaluated(engine: Engine) -> tuple[Evaluation, float, float]:
    """An evaluation, the seconds of one, and those that the first took longer."""
    first, evaluation = _seconds(engine.evaluate)
    if first > QUICK_EVALUATION:
        return evaluation, first, 0.0
    second, _ = _seconds(engine.evaluate)
    return evaluation, second, max(0.0, first - second)


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.perf_counter()
    result = work()
    return time.perf_counter() - clock, result


def _timed_otherwise(
    config: Config, compiled: str, dataset: Dataset, batches: IntArray, preparing: Callable[[str], None]
) -> list[Timing]:
    """The other ways of compiling that the config's framework has."""
    timings = []
    for jit in (True, False) if "jit" in FRAMEWORKS[config.engine.framework].settings else ():
        other = config.model_copy(update={"engine": config.engine.model_copy(update={"jit": jit})})
        way = "xla" if jit else "graph"
        if way != compiled:
            preparing(f"timing steps ({way})")
            timings.append(_timed(other, way, dataset, batches))
    return timings


def _timed(config: Config, way: str, dataset: Dataset, batches: IntArray) -> Timing:
    try:
        with _own_code(config, "training on a batch"):
            engine = engines.build(config, dataset)
            engine.reset(engine.initial_weights(config), learning_rate=config.optimizer.learning_rate)
            engine.train(batches[:1])
            return (
                Timing(way, _time_a_step(engine, batches, config.recorded_every))
                if engine.compiled == way
                else Timing(way, None, "can't be compiled so")
            )
    except Exception as error:  # whatever a compiler raises that can't compile the model
        return Timing(way, None, _reason(error))


def _reason(error: Exception) -> str:
    """What was raised at the bottom of it, in a line."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__


def _time_a_step(engine: Engine, batches: IntArray, every: int) -> float:
    """The median over several times all batches, in seconds a step, of which one in `every` is recorded, as a run does it."""
    if every > 1:
        batches = np.resize(batches, (every * math.ceil(len(batches) / every), *batches.shape[1:]))
        engine.train_measuring(batches[:every], every)  # compiles
    taken: list[float] = []
    while not taken or (len(taken) < TIMED and sum(taken) < TIMED_SECONDS):
        taken.append(_seconds(lambda: engine.train_measuring(batches, every))[0])
    return statistics.median(taken) / len(batches)


def _described(config: Config, dataset: Dataset) -> Sequence[Summary]:
    train, evaluation = (
        OwnSplit(dataset.train_inputs, dataset.train_targets),
        OwnSplit(dataset.evaluation_inputs, dataset.evaluation_targets),
    )
    return describe(OwnArrays(train, evaluation, dataset.evaluation_split, dataset.sha256, dataset.remarks))


def _brought(config: Config, dataset: Dataset) -> Brought | None:
    """What the model was compiled with, where the config leaves something to it."""
    if isinstance(config, OwnConfig) and COMPILED in (config.optimizer.name, config.loss.label):
        return own.brought(config, dataset)
    return None
