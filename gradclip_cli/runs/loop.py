"""One run: epochs, records, divergence. It knows no framework; an engine does the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradclip_cli.arrays import Array, BoolArray, FloatArray, IntArray
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine, Evaluation, StepRecords
from gradclip_cli.errors import StoreError
from gradclip_cli.gradients.health import Detector, Diagnosis, Spike
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.problems.article_weights import initial_weights
from gradclip_cli.problems.fashion_mnist import CLASSES, BatchSchedule, Dataset
from gradclip_cli.runs.checkpoints import Checkpoint
from gradclip_cli.runs.csv_files import rows_and_sha256
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 250  # steps between two looks at the outside: divergence, progress, a request to stop
CHECKPOINT_SECONDS = 5.0  # from one checkpoint to the next, at least
ROWS = 5000  # of steps.csv, read at a time


@dataclass(frozen=True)
class Progress:
    """Where a run stands: means over the epoch so far, and the median gradient norm of its last steps."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    grad_norm: float
    clipped_fraction: float
    evaluation: Evaluation | None = None
    """Given at the end of an epoch."""
    warnings: tuple[Spike, ...] = ()
    """The run's first spike and first explosion, as soon as they are known."""


@dataclass(frozen=True)
class Divergence:
    """The first step (from 1) at which a loss or a weight was not finite, and which."""

    epoch: int
    step: int
    quantity: str
    """`loss`, `weights` or `val_loss`."""
    variables: tuple[str, ...]
    """Variables that were not finite after that step's update."""

    @property
    def told(self) -> str:
        """The divergence in words, such as `loss and lstm/kernel at step 312`."""
        things = [self.quantity, *self.variables] if self.quantity != "weights" else list(self.variables)
        return f"{', '.join(things)} not finite at step {self.step} (epoch {self.epoch})"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `status` is complete, diverged or interrupted."""

    status: Status
    epochs: int
    steps: int
    divergence: Divergence | None = None
    overflow_steps: int = 0
    """Steps with a gradient that was not finite although the update was."""
    first_overflow: int | None = None
    largest_applied: float | None = None
    """Largest applied gradient in the measure that the rule bounds, over its threshold; None without a fixed threshold."""
    health: Diagnosis | None = None
    """What the gradients say; None before the first step."""


@dataclass
class Moment:
    """Where a run stands, besides its engine: its next batches, what was counted, and the epoch so far."""

    schedule: BatchSchedule
    tally: _RunTally
    summary: _EpochSummary


def start(config: Config, engine: Engine, dataset: Dataset) -> BatchSchedule:
    """Reset an engine to a config's initial weights and return the batches that its seed gives."""
    features = config.data.sequence_shape[1]
    initial = initial_weights(config.model, features=features, classes=CLASSES, seed=config.training.seed)
    engine.reset(initial, learning_rate=config.optimizer.learning_rate)
    return BatchSchedule(
        config.training.seed,
        samples=len(dataset.train_images),
        batch_size=config.data.batch_size,
        shuffle_buffer=config.data.shuffle_buffer,
    )


def beginning(config: Config, engine: Engine, dataset: Dataset) -> Moment:
    """Bring the engine to a run's beginning."""
    schedule = start(config, engine, dataset)
    return Moment(schedule, _RunTally(config, engine.variables), _EpochSummary(1, config.data.batch_size))


def train(
    config: Config,
    engine: Engine,
    moment: Moment,
    directory: RunDirectory,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    keep_checkpoint: bool = False,
) -> Outcome:
    """Train a run from where it stands to its end and write its rows, or until it diverges or `should_stop` says so.

    The engine and the directory stand at the same moment. A checkpoint is written when the run is stopped, and at the end of
    an epoch, where the last one is CHECKPOINT_SECONDS old; `keep_checkpoint` writes one at the end too.
    """
    training = config.training
    total = training.epochs * training.steps_per_epoch
    schedule, tally, summary = moment.schedule, moment.tally, moment.summary
    clock = time.monotonic()

    def keep() -> None:
        directory.write_checkpoint(config, {**_prefixed("engine", engine.state()), **tally.state(), **summary.state()})

    while summary.epoch <= training.epochs:
        for steps in _chunks(training.steps_per_epoch - summary.steps):
            if should_stop():
                keep()
                return tally.outcome(Status.INTERRUPTED, summary.epoch - 1)
            records = engine.train(schedule.take(steps))
            divergence = find_divergence(records, engine.variables, tally.steps, training.steps_per_epoch)
            if divergence:
                records = records.first(divergence.step - tally.steps)
            directory.append_steps(_step_rows(records, tally.steps))
            tally.add(records)
            summary.add(records)
            report(summary.progress(tally, total))
            if divergence:
                return tally.outcome(Status.DIVERGED, summary.epoch - 1, divergence)
        evaluation = engine.evaluate()
        if not np.isfinite(evaluation.loss):
            return tally.outcome(Status.DIVERGED, summary.epoch - 1, Divergence(summary.epoch, tally.steps, "val_loss", ()))
        directory.append_metrics(summary.metrics(evaluation))
        report(summary.progress(tally, total, evaluation))
        summary = _EpochSummary(summary.epoch + 1, config.data.batch_size)
        ended = summary.epoch > training.epochs
        if keep_checkpoint if ended else time.monotonic() - clock >= CHECKPOINT_SECONDS:
            keep()
            clock = time.monotonic()
    return tally.outcome(Status.COMPLETE, training.epochs)


def at_checkpoint(checkpoint: Checkpoint, config: Config, engine: Engine, dataset: Dataset, directory: RunDirectory) -> Moment:
    """Bring the engine to where a checkpoint of this run was taken, to which its directory was cut back.

    Raises StoreError where the checkpoint is not whole, or doesn't fit the model or the directory; the engine is then at no
    moment that can be gone on from.
    """
    moment = beginning(config, engine, dataset)
    try:
        _go_on(checkpoint.arrays, config, engine, moment, directory)
    except StoreError:
        raise
    except Exception as error:  # what an engine raises that is given arrays of another shape or kind
        told = str(error).splitlines()[0] if str(error) else ""
        raise StoreError(f"its checkpoint does not fit this model ({type(error).__name__}: {told[:200]})") from None
    if not _hold_the_same(engine.state(), _unprefixed("engine", checkpoint.arrays)):
        raise StoreError("its checkpoint does not fit this model")
    return moment


def _go_on(arrays: Mapping[str, Array], config: Config, engine: Engine, moment: Moment, directory: RunDirectory) -> None:
    moment.summary.restore(arrays)
    moment.tally.restore(arrays)
    _require_agreement(config, moment, directory)
    engine.restore(_unprefixed("engine", arrays))
    for rows in directory.steps_in_pieces(ROWS):
        moment.tally.read(rows)
    for steps in _chunks(moment.tally.steps):
        moment.schedule.take(steps)


def _hold_the_same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether both hold the same arrays, to the bit."""
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and array.shape == other[name].shape and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )


def _require_agreement(config: Config, moment: Moment, directory: RunDirectory) -> None:
    """Refuse a checkpoint whose counts are not those of both CSVs. Raises StoreError."""
    epochs, in_epoch, an_epoch = moment.summary.epoch - 1, moment.summary.steps, config.training.steps_per_epoch
    written = rows_and_sha256(directory.metrics_path)[0], rows_and_sha256(directory.steps_path)[0]
    if (epochs, moment.tally.steps) != written or moment.tally.steps != epochs * an_epoch + in_epoch or in_epoch > an_epoch:
        raise StoreError("its checkpoint counts other steps or epochs than were written")


def _prefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _unprefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in arrays.items() if name.startswith(f"{prefix}/")}


class _RunTally:
    """What is counted over a whole run."""

    def __init__(self, config: Config, variables: Sequence[str]) -> None:
        self._rule = RULES[config.clipping.mode]
        self._thresholds = config.thresholds(variables)
        self._bounded = config.threshold is not None and self._rule.measure is not None
        self._detector = Detector(variables)
        self.steps = 0
        self.warnings: tuple[Spike, ...] = ()
        self._overflow_steps, self._first_overflow = 0, 0
        self._largest_applied = 0.0

    def add(self, records: StepRecords) -> None:
        # Where the update was not finite either, the run ends: that is no overflow.
        survived = records.weights_finite.all(axis=1) & np.isfinite(records.loss + records.penalty)
        broken = np.flatnonzero(survived & ~np.isfinite(records.norm).all(axis=1))
        if len(broken):
            self._first_overflow = self._first_overflow or self.steps + int(broken[0]) + 1
            self._overflow_steps += len(broken)
        self.steps += len(records)
        self._warn_of(self._detector.update(records.loss, records.norm, records.applied_global_norm, records.clipped))
        if self._bounded:
            excess = self._rule.excess(records.applied_norm, records.applied_max_abs, self._thresholds)
            self._largest_applied = float(np.max(excess, initial=self._largest_applied, where=np.isfinite(excess)))

    def state(self) -> dict[str, Array]:
        """What `steps.csv` doesn't tell to the last digit."""
        counts = (self.steps, self._overflow_steps, self._first_overflow)
        return {"run/counts": np.array(counts), "run/largest_applied": np.array(self._largest_applied)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.steps, self._overflow_steps, self._first_overflow = arrays["run/counts"].tolist()
        self._largest_applied = float(arrays["run/largest_applied"])

    def read(self, rows: pd.DataFrame) -> None:
        """Let the detector read rows of `steps.csv`."""
        self._warn_of(self._detector.read(rows))

    def _warn_of(self, spikes: Sequence[Spike]) -> None:
        for spike in spikes:
            if not self.warnings or (spike.explosive and not any(warning.explosive for warning in self.warnings)):
                self.warnings += (spike,)

    def outcome(self, status: Status, epochs: int, divergence: Divergence | None = None) -> Outcome:
        largest = self._largest_applied if self._bounded else None
        health = self._detector.diagnosis(diverged=status == Status.DIVERGED) if self.steps else None
        return Outcome(
            status, epochs, self.steps, divergence, self._overflow_steps, self._first_overflow or None, largest, health
        )


class _EpochSummary:
    """What `metrics.csv` and the progress need of an epoch's steps so far."""

    def __init__(self, epoch: int, batch_size: int) -> None:
        self.epoch = epoch
        self.steps = 0
        self._batch_size = batch_size
        self._chunks: list[tuple[FloatArray, IntArray, FloatArray, BoolArray]] = []
        self._sums = np.zeros(3)

    def add(self, records: StepRecords) -> None:
        self._add(records.loss, records.correct, records.global_norm, records.clipped)

    def _add(self, loss: FloatArray, correct: IntArray, norm: FloatArray, clipped: BoolArray) -> None:
        self._chunks.append((loss, correct, norm, clipped))
        self._sums += loss.sum(), correct.sum(), clipped.sum()
        self.steps += len(loss)

    def state(self) -> dict[str, Array]:
        columns = [np.concatenate(parts) for parts in zip(*self._chunks, strict=True)] if self._chunks else []
        return {
            "epoch/number": np.array(self.epoch),
            **{f"epoch/{name}": part for name, part in zip(_COLUMNS, columns, strict=False)},
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.epoch = int(arrays["epoch/number"])
        if f"epoch/{_COLUMNS[0]}" in arrays:
            loss, correct, norm, clipped = (arrays[f"epoch/{name}"] for name in _COLUMNS)
            self._add(loss, correct, norm, clipped)

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        loss, correct, norm, clipped = (np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        return {
            "epoch": self.epoch,
            "loss": float(loss.mean()),
            "accuracy": float(correct.sum() / (len(correct) * self._batch_size)),
            "val_loss": evaluation.loss,
            "val_accuracy": evaluation.accuracy,
            "grad_norm_median": float(np.median(norm)),
            "grad_norm_max": float(norm.max()),
            "clipped_fraction": float(clipped.mean()),
        }

    def progress(self, tally: _RunTally, total: int, evaluation: Evaluation | None = None) -> Progress:
        loss, correct, clipped = self._sums / self.steps
        norm, accuracy = float(np.median(self._chunks[-1][2])), correct / self._batch_size
        return Progress(self.epoch, tally.steps, total, loss, accuracy, norm, clipped, evaluation, tally.warnings)


_COLUMNS = ("loss", "correct", "norm", "clipped")


def _chunks(steps: int) -> Iterable[int]:
    return (min(CHUNK, steps - start) for start in range(0, steps, CHUNK))


def find_divergence(records: StepRecords, variables: Sequence[str], done: int, steps_per_epoch: int) -> Divergence | None:
    """The first step at which a loss or a weight was not finite, counted on from `done`; None if all were."""
    loss_finite = np.isfinite(records.loss + records.penalty)
    sane = loss_finite & records.weights_finite.all(axis=1)
    if sane.all():
        return None
    first = int(np.argmin(sane))
    broken = tuple(name for name, finite in zip(variables, records.weights_finite[first], strict=True) if not finite)
    return Divergence(
        (done + first) // steps_per_epoch + 1, done + first + 1, "weights" if loss_finite[first] else "loss", broken
    )


def _step_rows(records: StepRecords, done: int) -> Iterable[list[Any]]:
    integers = zip(range(done + 1, done + len(records) + 1), records.correct.tolist(), records.clipped.tolist(), strict=True)
    floats = np.column_stack([records.loss, records.penalty, records.global_norm, records.applied_global_norm]).tolist()
    each = np.hstack([records.norm, records.max_abs, records.applied_norm, records.applied_max_abs]).tolist()
    for (step, correct, clipped), (loss, penalty, norm, applied), variables in zip(integers, floats, each, strict=True):
        yield [step, loss, penalty, correct, norm, applied, int(clipped), *variables]
