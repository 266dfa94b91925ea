"""What is counted over a run and over an epoch, and what is told of them: progress, divergence, outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gradclip_cli.arrays import Array, BoolArray, FloatArray, IntArray
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.gradients.excess import excess_of_variables, measured_excess
from gradclip_cli.gradients.health import Detector, Diagnosis, Spike
from gradclip_cli.gradients.step_records import StepRecords, Stretch
from gradclip_cli.runs.csv_files import score_columns
from gradclip_cli.runs.metadata import Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Progress:
    """Where a run stands: means over the epoch so far, and the median gradient norm of its last steps."""

    epoch: int
    step: int
    steps: int
    loss: float
    metrics: Mapping[str, float]
    """Over the same steps by name, as far as they tell: accuracy, or nothing."""
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
    def message(self) -> str:
        """The divergence in words, such as `loss, dense not finite at step 312 (epoch 1)`."""
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
    clipped_steps: Mapping[str, int] = field(default_factory=dict)
    """By variable: the steps on which clipping changed its gradient."""
    health: Diagnosis | None = None
    """What the gradients say; None before the first step."""


def find_divergence(taken: Stretch, variables: Sequence[str], done: int, steps_per_epoch: int) -> Divergence | None:
    """The first step at which a loss or a weight was not finite, counted on from `done`; None if all were.

    A step that was not measured tells its loss alone: weights that it broke are found by the next step's.
    """
    loss_finite = np.isfinite(taken.losses.loss + taken.losses.penalty)
    weights_finite = np.ones((len(taken), len(variables)), dtype=bool)
    weights_finite[taken.every - 1 :: taken.every] = taken.records.weights_finite
    sane = loss_finite & weights_finite.all(axis=1)
    if sane.all():
        return None
    first = int(np.argmin(sane))
    broken = tuple(name for name, finite in zip(variables, weights_finite[first], strict=True) if not finite)
    return Divergence(
        (done + first) // steps_per_epoch + 1, done + first + 1, "weights" if loss_finite[first] else "loss", broken
    )


class StepCounts:
    """What is counted of a run's recorded steps, however many they are."""

    def __init__(self, config: Config, variables: Sequence[str], every: int) -> None:
        """Of how many steps one is recorded, says `every`."""
        self._rule, self._thresholds = config.clipping, config.thresholds(variables)
        self._variables, self._every = variables, every
        self.records = 0
        """How many there are."""
        self._overflow_steps, self._first_overflow = 0, 0
        self._largest_applied = 0.0
        self._clipped_steps = np.zeros(len(variables), dtype=np.int64)

    def add(self, records: StepRecords) -> None:
        # Where the update was not finite either, the run ends: that is no overflow.
        survived = records.weights_finite.all(axis=1) & np.isfinite(records.loss + records.penalty)
        broken = np.flatnonzero(survived & ~np.isfinite(records.norm).all(axis=1))
        if len(broken):
            self._first_overflow = self._first_overflow or self.records + int(broken[0]) + 1
            self._overflow_steps += len(broken)
        self.records += len(records)
        self._clipped_steps += self._clipped(records).sum(axis=0)
        if self._rule.measured:
            applied = measured_excess(self._rule.scope, records.applied_norm, records.applied_max_abs, self._thresholds)
            self._largest_applied = float(np.max(applied, initial=self._largest_applied, where=np.isfinite(applied)))

    def _clipped(self, records: StepRecords) -> BoolArray:
        """Whether each variable's gradient was clipped on each step, (S, V) or, of all alike, (S, 1)."""
        if not self._rule.measured:
            return records.clipped[:, np.newaxis]
        return excess_of_variables(self._rule.scope, records.norm, records.max_abs, self._thresholds) > 1

    def state(self) -> dict[str, Array]:
        """What `steps.csv` doesn't tell to the last digit."""
        counts = (self.records, self._overflow_steps, self._first_overflow)
        return {
            "run/counts": np.array(counts),
            "run/largest_applied": np.array(self._largest_applied),
            "run/clipped_steps": self._clipped_steps.copy(),
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.records, self._overflow_steps, self._first_overflow = arrays["run/counts"].tolist()
        self._largest_applied = float(arrays["run/largest_applied"])
        self._clipped_steps[:] = arrays["run/clipped_steps"]

    def outcome(
        self, status: Status, epochs: int, steps: int, divergence: Divergence | None, health: Diagnosis | None
    ) -> Outcome:
        """How a run of so many epochs and steps ended, recorded or not."""
        largest = self._largest_applied if self._rule.measured else None
        clipped = dict(zip(self._variables, self._clipped_steps.tolist(), strict=True))
        first = self._first_overflow * self._every or None
        return Outcome(status, epochs, steps, divergence, self._overflow_steps, first, largest, clipped, health)


class RunTally(StepCounts):
    """What is counted over a whole run, and what its gradients say."""

    def __init__(self, config: Config, variables: Sequence[str]) -> None:
        super().__init__(config, variables, config.recorded_every)
        self._detector = Detector(variables, config.recorded_every)
        self.steps = 0
        """All that were taken."""
        self.warnings: tuple[Spike, ...] = ()

    def take(self, taken: Stretch) -> None:
        """Count steps that were taken."""
        records = taken.records
        self.add(records)
        self.steps += len(taken)
        self._warn_of(self._detector.update(records.loss, records.norm, records.applied_global_norm, records.clipped))

    def restore(self, arrays: Mapping[str, Array]) -> None:
        super().restore(arrays)
        self.steps = self.records * self._every  # a run stops after a recorded step

    def read(self, rows: pd.DataFrame) -> None:
        """Let the detector read rows of `steps.csv`."""
        self._warn_of(self._detector.read(rows))

    def _warn_of(self, spikes: Sequence[Spike]) -> None:
        for spike in spikes:
            if not self.warnings or (spike.explosive and not any(warning.explosive for warning in self.warnings)):
                self.warnings += (spike,)

    def ended(self, status: Status, epochs: int, divergence: Divergence | None = None) -> Outcome:
        """How the run ended, with its diagnosis."""
        health = self._detector.diagnosis(diverged=status == Status.DIVERGED) if self.records else None
        return self.outcome(status, epochs, self.steps, divergence, health)


class EpochSummary:
    """What `metrics.csv` and the progress need of an epoch's steps so far."""

    def __init__(self, epoch: int, batch_size: int | None) -> None:
        """`batch_size` is None where the records don't count what is correct."""
        self.epoch = epoch
        self.steps = 0
        self._batch_size = batch_size
        self._chunks: list[tuple[FloatArray, IntArray, FloatArray, BoolArray]] = []
        self._sums, self._records = np.zeros(3), 0

    def add(self, taken: Stretch) -> None:
        self._add(taken.losses.loss, taken.losses.correct, taken.records.global_norm, taken.records.clipped)

    def _add(self, loss: FloatArray, correct: IntArray, norm: FloatArray, clipped: BoolArray) -> None:
        self._chunks.append((loss, correct, norm, clipped))
        self._sums += loss.sum(), correct.sum(), clipped.sum()
        self.steps += len(loss)
        self._records += len(norm)

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
        """The epoch's row of `metrics.csv`, in the order of its columns."""
        loss, correct, norm, clipped = (np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        training = {**evaluation.training_metrics, **self._counted(correct.sum(), len(correct))}
        scores = [float(loss.mean()), *(float(training[name]) for name in evaluation.metrics)]
        scores += [evaluation.loss, *map(float, evaluation.metrics.values())]
        return {
            "epoch": self.epoch,
            **dict(zip(score_columns(evaluation.metrics), scores, strict=True)),
            "grad_norm_median": float(np.median(norm)),
            "grad_norm_max": float(norm.max()),
            "clipped_fraction": float(clipped.mean()),
        }

    def progress(self, tally: RunTally, total: int, evaluation: Evaluation | None = None) -> Progress:
        loss, correct, clipped = self._sums
        norms, metrics = self._chunks[-1][2], self._counted(correct, self.steps)
        norm = float(np.median(norms)) if len(norms) else np.nan
        loss, clipped = loss / self.steps, clipped / max(1, self._records)
        return Progress(self.epoch, tally.steps, total, loss, metrics, norm, clipped, evaluation, tally.warnings)

    def _counted(self, correct: float, steps: int) -> dict[str, float]:
        """The metric that the records tell, where they do."""
        return {"accuracy": float(correct / (steps * self._batch_size))} if self._batch_size else {}


_COLUMNS = ("loss", "correct", "norm", "clipped")
