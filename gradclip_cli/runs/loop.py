"""The loop of one run: steps, epochs, checkpoints, until it ends or diverges. An engine takes the steps."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gradclip_cli.arrays import Array, Weights
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine
from gradclip_cli.errors import StoreError
from gradclip_cli.gradients.step_records import Stretch
from gradclip_cli.problems.batches import BatchSchedule
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.runs.checkpoints import Checkpoint
from gradclip_cli.runs.csv_files import read_columns, rows_and_sha256
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.steps import step_columns, step_rows
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Divergence, EpochSummary, Outcome, Progress, RunTally, find_divergence

CHUNK = 250  # steps between two looks at the outside: divergence, progress, a request to stop
CHECKPOINT_SECONDS = 5.0  # from one checkpoint to the next, at least
ROWS = 5000  # of steps.csv, read at a time


@dataclass(frozen=True)
class Setup:
    """What a run is trained with, and where it is stored."""

    config: Config
    engine: Engine
    dataset: Dataset
    directory: RunDirectory

    @functools.cached_property
    def initial_weights(self) -> Weights:
        """What the run begins with."""
        return self.engine.initial_weights(self.config)


@dataclass
class Moment:
    """Where a run stands, besides its engine: its next batches, what was counted, and the epoch so far."""

    schedule: BatchSchedule
    tally: RunTally
    summary: EpochSummary


def start(config: Config, engine: Engine, dataset: Dataset) -> BatchSchedule:
    """Reset an engine to a config's initial weights and return the batches that its seed gives."""
    engine.reset(engine.initial_weights(config), learning_rate=config.optimizer.learning_rate)
    return batch_schedule(config, dataset)


def batch_schedule(config: Config, dataset: Dataset) -> BatchSchedule:
    """The batches that a config's seed gives."""
    return BatchSchedule(
        config.training.seed,
        samples=dataset.samples,
        batch_size=config.data.batch_size,
        shuffle_buffer=config.data.shuffle_buffer or dataset.samples,
    )


def beginning(setup: Setup) -> Moment:
    """Bring the engine to a run's beginning."""
    config, engine = setup.config, setup.engine
    engine.reset(setup.initial_weights, learning_rate=config.optimizer.learning_rate)
    schedule = batch_schedule(config, setup.dataset)
    return Moment(schedule, RunTally(config, engine.variables), EpochSummary(1, _batch(setup)))


def _batch(setup: Setup) -> int | None:
    """How many samples of a batch may be correct; None where that is not counted."""
    return setup.config.data.batch_size if setup.engine.counts_correct else None


def train(
    setup: Setup,
    moment: Moment,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    keep_checkpoint: bool = False,
) -> Outcome:
    """Train a run from where it stands to its end and write its rows, or until it diverges or `should_stop` says so.

    The engine and the directory stand at the same moment. A checkpoint is written when the run is stopped, and at the end of
    an epoch, where the last one is CHECKPOINT_SECONDS old; `keep_checkpoint` writes one at the end too.
    """
    config, engine, directory = setup.config, setup.engine, setup.directory
    epochs, total = config.training.epochs, config.training.epochs * config.training.steps_per_epoch
    tally, summary = moment.tally, moment.summary
    clock = time.monotonic()
    while summary.epoch <= epochs:
        for steps in _chunks(config.training.steps_per_epoch - summary.steps, config.recorded_every):
            if should_stop():
                _keep(setup, tally, summary)
                return tally.ended(Status.INTERRUPTED, summary.epoch - 1)
            taken, divergence = _take(setup, moment.schedule, tally, steps)
            summary.add(taken)
            report(summary.progress(tally, total))
            if divergence:
                return tally.ended(Status.DIVERGED, summary.epoch - 1, divergence)
        evaluation = engine.evaluate()
        if not np.isfinite(evaluation.loss):
            return tally.ended(Status.DIVERGED, summary.epoch - 1, Divergence(summary.epoch, tally.steps, "val_loss", ()))
        directory.append_metrics(summary.metrics(evaluation))
        report(summary.progress(tally, total, evaluation))
        summary = EpochSummary(summary.epoch + 1, _batch(setup))
        if keep_checkpoint if summary.epoch > epochs else time.monotonic() - clock >= CHECKPOINT_SECONDS:
            _keep(setup, tally, summary)
            clock = time.monotonic()
    return tally.ended(Status.COMPLETE, epochs)


def _take(setup: Setup, schedule: BatchSchedule, tally: RunTally, steps: int) -> tuple[Stretch, Divergence | None]:
    """Take steps, write and count them, up to the one that diverged."""
    engine, every = setup.engine, setup.config.recorded_every
    taken = engine.train_measuring(schedule.take(steps), every)
    divergence = find_divergence(taken, engine.variables, tally.steps, setup.config.training.steps_per_epoch)
    if divergence:
        taken = taken.first(divergence.step - tally.steps)
    rows = step_rows(taken.records, tally.records, every=every, counts_correct=engine.counts_correct)
    setup.directory.append_steps(rows)
    tally.take(taken)
    return taken, divergence


def _keep(setup: Setup, tally: RunTally, summary: EpochSummary) -> None:
    """Write a checkpoint."""
    state = _prefixed("engine", setup.engine.state())
    setup.directory.write_checkpoint(setup.config, {**state, **tally.state(), **summary.state()})


def at_checkpoint(setup: Setup, checkpoint: Checkpoint) -> Moment:
    """Bring the engine to where a checkpoint of this run was taken, to which its directory was cut back.

    Raises StoreError where the checkpoint is not whole, or doesn't fit the model or the directory; the engine is then at no
    moment that can be gone on from.
    """
    moment = beginning(setup)
    try:
        _go_on(setup, checkpoint.arrays, moment)
    except StoreError:
        raise
    except Exception as error:  # what an engine raises that is given arrays of another shape or kind
        message = str(error).splitlines()[0] if str(error) else ""
        raise StoreError(f"its checkpoint does not fit this model ({type(error).__name__}: {message[:200]})") from None
    if not _hold_the_same(setup.engine.state(), _unprefixed("engine", checkpoint.arrays)):
        raise StoreError("its checkpoint does not fit this model")
    return moment


def _go_on(setup: Setup, arrays: Mapping[str, Array], moment: Moment) -> None:
    moment.summary.restore(arrays)
    moment.tally.restore(arrays)
    _require_agreement(setup, moment)
    setup.engine.restore(_unprefixed("engine", arrays))
    for rows in setup.directory.steps_in_pieces(ROWS):
        moment.tally.read(rows)
    for steps in _chunks(moment.tally.steps, 1):
        moment.schedule.take(steps)


def _hold_the_same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether both hold the same arrays, to the bit."""
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and array.shape == other[name].shape and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )


def _require_agreement(setup: Setup, moment: Moment) -> None:
    """Refuse a checkpoint whose counts are not those of both CSVs, or rows that would be longer. Raises StoreError."""
    directory, an_epoch = setup.directory, setup.config.training.steps_per_epoch
    epochs, in_epoch, steps = moment.summary.epoch - 1, moment.summary.steps, moment.tally.steps
    written = rows_and_sha256(directory.metrics_path)[0], rows_and_sha256(directory.steps_path)[0]
    if (epochs, moment.tally.records) != written or steps != epochs * an_epoch + in_epoch or in_epoch > an_epoch:
        raise StoreError("its checkpoint counts other steps or epochs than were written")
    if read_columns(directory.steps_path) != step_columns(setup.engine.variables):
        raise StoreError("another version of gradclip began it, whose steps.csv has other columns")


def _prefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _unprefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in arrays.items() if name.startswith(f"{prefix}/")}


def _chunks(steps: int, every: int) -> Iterable[int]:
    """Steps in pieces that end with a recorded one: each is of CHUNK at most, or of as many as one in is recorded."""
    size = max(1, CHUNK // every) * every
    return (min(size, steps - start) for start in range(0, steps, size))
