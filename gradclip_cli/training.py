"""One run: epochs, records, divergence. It knows no framework; an engine does the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.clipping import RULES
from gradclip_cli.data import CLASSES, BatchSchedule, Dataset
from gradclip_cli.engines import BoolArray, Engine, Evaluation, FloatArray, IntArray, StepRecords
from gradclip_cli.health import Detector, Diagnosis, Spike
from gradclip_cli.schema import Config
from gradclip_cli.store import RunDirectory
from gradclip_cli.weights import initial_weights

CHUNK = 250  # steps between two looks at the outside: divergence, progress, a request to stop


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

    status: str
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


def train(
    config: Config,
    engine: Engine,
    schedule: BatchSchedule,
    directory: RunDirectory,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train an engine that was reset, writing `steps.csv` and, after each whole epoch, a row of `metrics.csv`.

    The run ends at the first step whose loss or weights are not finite; that step is the last in `steps.csv`. It stops
    between two chunks where `should_stop` says so.
    """
    training = config.training
    total = training.epochs * training.steps_per_epoch
    tally = _RunTally(config, engine.variables)
    for epoch in range(1, training.epochs + 1):
        summary = _EpochSummary(epoch, config.data.batch_size)
        for steps in _chunks(training.steps_per_epoch):
            if should_stop():
                return tally.outcome("interrupted", epoch - 1)
            records = engine.train(schedule.take(steps))
            divergence = find_divergence(records, engine.variables, epoch, tally.steps)
            if divergence:
                records = records.first(divergence.step - tally.steps)
            directory.append_steps(_step_rows(records, tally.steps))
            tally.add(records)
            summary.add(records)
            report(summary.progress(tally, total))
            if divergence:
                return tally.outcome("diverged", epoch - 1, divergence)
        evaluation = engine.evaluate()
        if not np.isfinite(evaluation.loss):
            return tally.outcome("diverged", epoch - 1, Divergence(epoch, tally.steps, "val_loss", ()))
        directory.append_metrics(summary.metrics(evaluation))
        report(summary.progress(tally, total, evaluation))
    return tally.outcome("complete", training.epochs)


class _RunTally:
    """What is counted over a whole run."""

    def __init__(self, config: Config, variables: Sequence[str]) -> None:
        self._rule = RULES[config.clipping.mode]
        self._thresholds = config.thresholds(variables)
        self._bounded = config.threshold is not None and self._rule.measure is not None
        self._detector = Detector(variables)
        self.steps = 0
        self.warnings: tuple[Spike, ...] = ()
        self._overflows: list[int] = []
        self._largest_applied = 0.0

    def add(self, records: StepRecords) -> None:
        broken = np.flatnonzero(~np.isfinite(records.norm).all(axis=1))
        self._overflows += [self.steps + int(index) + 1 for index in broken]
        self.steps += len(records)
        self._warn_of(self._detector.update(records.loss, records.norm, records.applied_global_norm, records.clipped))
        if self._bounded:
            excess = self._rule.excess(records.applied_norm, records.applied_max_abs, self._thresholds)
            self._largest_applied = float(np.max(excess, initial=self._largest_applied, where=np.isfinite(excess)))

    def _warn_of(self, spikes: Sequence[Spike]) -> None:
        for spike in spikes:
            if not self.warnings or (spike.explosive and not any(warning.explosive for warning in self.warnings)):
                self.warnings += (spike,)

    def outcome(self, status: str, epochs: int, divergence: Divergence | None = None) -> Outcome:
        overflows = [step for step in self._overflows if not divergence or step != divergence.step]
        largest = self._largest_applied if self._bounded else None
        health = self._detector.diagnosis(diverged=status == "diverged") if self.steps else None
        return Outcome(status, epochs, self.steps, divergence, len(overflows), min(overflows, default=None), largest, health)


class _EpochSummary:
    """What `metrics.csv` and the progress need of an epoch's steps so far."""

    def __init__(self, epoch: int, batch_size: int) -> None:
        self._epoch = epoch
        self._batch_size = batch_size
        self._chunks: list[tuple[FloatArray, IntArray, FloatArray, BoolArray]] = []
        self._sums = np.zeros(3)
        self._steps = 0

    def add(self, records: StepRecords) -> None:
        self._chunks.append((records.loss, records.correct, records.global_norm, records.clipped))
        self._sums += records.loss.sum(), records.correct.sum(), records.clipped.sum()
        self._steps += len(records)

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        loss, correct, norm, clipped = (np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        return {
            "epoch": self._epoch,
            "loss": float(loss.mean()),
            "accuracy": float(correct.sum() / (len(correct) * self._batch_size)),
            "val_loss": evaluation.loss,
            "val_accuracy": evaluation.accuracy,
            "grad_norm_median": float(np.median(norm)),
            "grad_norm_max": float(norm.max()),
            "clipped_fraction": float(clipped.mean()),
        }

    def progress(self, tally: _RunTally, total: int, evaluation: Evaluation | None = None) -> Progress:
        loss, correct, clipped = self._sums / self._steps
        norm, accuracy = float(np.median(self._chunks[-1][2])), correct / self._batch_size
        return Progress(self._epoch, tally.steps, total, loss, accuracy, norm, clipped, evaluation, tally.warnings)


def _chunks(steps: int) -> Iterable[int]:
    return (min(CHUNK, steps - start) for start in range(0, steps, CHUNK))


def find_divergence(records: StepRecords, variables: Sequence[str], epoch: int, done: int) -> Divergence | None:
    """The first step at which a loss or a weight was not finite, counted on from `done`; None if all were."""
    loss_finite = np.isfinite(records.loss + records.penalty)
    sane = loss_finite & records.weights_finite.all(axis=1)
    if sane.all():
        return None
    first = int(np.argmin(sane))
    broken = tuple(name for name, finite in zip(variables, records.weights_finite[first], strict=True) if not finite)
    return Divergence(epoch, done + first + 1, "weights" if loss_finite[first] else "loss", broken)


def _step_rows(records: StepRecords, done: int) -> Iterable[list[Any]]:
    integers = zip(range(done + 1, done + len(records) + 1), records.correct.tolist(), records.clipped.tolist(), strict=True)
    floats = np.column_stack([records.loss, records.penalty, records.global_norm, records.applied_global_norm]).tolist()
    each = np.hstack([records.norm, records.max_abs, records.applied_norm, records.applied_max_abs]).tolist()
    for (step, correct, clipped), (loss, penalty, norm, applied), variables in zip(integers, floats, each, strict=True):
        yield [step, loss, penalty, correct, norm, applied, int(clipped), *variables]
