"""One run: epochs, records, divergence. It knows no framework; an engine does the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradclip_cli.data import BatchSchedule
from gradclip_cli.engines import BoolArray, Engine, Evaluation, FloatArray, IntArray, StepRecords
from gradclip_cli.schema import Config
from gradclip_cli.store import RunDirectory

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
    done = 0
    overflows: list[int] = []
    for epoch in range(1, training.epochs + 1):
        summary = _EpochSummary(epoch, config.data.batch_size)
        for steps in _chunks(training.steps_per_epoch):
            if should_stop():
                return Outcome("interrupted", epoch - 1, done, None, *_overflow(overflows))
            records = engine.train(schedule.take(steps))
            divergence = _divergence(records, engine.variables, epoch, done)
            if divergence:
                records = records.first(divergence.step - done)
            directory.append_steps(_step_rows(records, done))
            overflows += _overflow_steps(records, done)
            done += len(records)
            if divergence:
                return Outcome("diverged", epoch - 1, done, divergence, *_overflow(overflows, but=done))
            summary.add(records)
            report(summary.progress(done, total))
        evaluation = engine.evaluate()
        if not np.isfinite(evaluation.loss):
            divergence = Divergence(epoch, done, "val_loss", ())
            return Outcome("diverged", epoch - 1, done, divergence, *_overflow(overflows))
        directory.append_metrics(summary.metrics(evaluation))
        report(summary.progress(done, total, evaluation))
    return Outcome("complete", training.epochs, done, None, *_overflow(overflows))


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

    def progress(self, done: int, total: int, evaluation: Evaluation | None = None) -> Progress:
        loss, correct, clipped = self._sums / self._steps
        norm = float(np.median(self._chunks[-1][2]))
        return Progress(self._epoch, done, total, loss, correct / self._batch_size, norm, clipped, evaluation)


def _chunks(steps: int) -> Iterable[int]:
    return (min(CHUNK, steps - start) for start in range(0, steps, CHUNK))


def _divergence(records: StepRecords, variables: Sequence[str], epoch: int, done: int) -> Divergence | None:
    loss_finite = np.isfinite(records.loss + records.penalty)
    sane = loss_finite & records.weights_finite.all(axis=1)
    if sane.all():
        return None
    first = int(np.argmin(sane))
    broken = tuple(name for name, finite in zip(variables, records.weights_finite[first], strict=True) if not finite)
    return Divergence(epoch, done + first + 1, "weights" if loss_finite[first] else "loss", broken)


def _overflow_steps(records: StepRecords, done: int) -> list[int]:
    return [done + int(index) + 1 for index in np.flatnonzero(~np.isfinite(records.norm).all(axis=1))]


def _overflow(steps: list[int], but: int | None = None) -> tuple[int, int | None]:
    """How many steps overflowed and the first of them, without the one at which the run diverged."""
    steps = [step for step in steps if step != but]
    return len(steps), min(steps, default=None)


def _step_rows(records: StepRecords, done: int) -> Iterable[list[Any]]:
    integers = zip(range(done + 1, done + len(records) + 1), records.correct.tolist(), records.clipped.tolist(), strict=True)
    floats = np.column_stack([records.loss, records.penalty, records.global_norm, records.applied_global_norm]).tolist()
    each = np.hstack([records.norm, records.max_abs, records.applied_norm, records.applied_max_abs]).tolist()
    for (step, correct, clipped), (loss, penalty, norm, applied), variables in zip(integers, floats, each, strict=True):
        yield [step, loss, penalty, correct, norm, applied, int(clipped), *variables]
