"""The contract of an engine: what it is asked for, what a step is, and what it records of each step and each variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

import numpy as np

from gradclip_cli.arrays import Array, BoolArray, FloatArray, IntArray, Weights
from gradclip_cli.config.schema import Config
from gradclip_cli.gradients.scopes import joint_norm

OF_STEP = ("loss", "penalty", "correct", "excess", "update_norm")
OF_VARIABLES = ("norm", "max_abs", "applied_norm", "applied_max_abs", "weights_finite")
"""What is recorded of a step, and of each of its variables, as a row of numbers holds it: one after another."""


def row_width(variables: int) -> int:
    """Numbers in the row of a step with so many variables."""
    return len(OF_STEP) + len(OF_VARIABLES) * variables


@dataclass(frozen=True)
class StepRecords:
    """What S steps did, for V variables. Norms are L2 and never overflow where the elements are finite (float64)."""

    loss: FloatArray
    """(S,) mean data loss of the batch, before the update."""
    penalty: FloatArray
    """(S,) what regularizers add to it."""
    correct: IntArray
    """(S,) samples of the batch that were classified correctly."""
    norm: FloatArray
    """(S, V) norm of each variable's gradient before clipping."""
    max_abs: FloatArray
    """(S, V) largest absolute element of the same."""
    applied_norm: FloatArray
    """(S, V) norm of the gradient that the optimizer used."""
    applied_max_abs: FloatArray
    """(S, V) largest absolute element of the same."""
    excess: FloatArray
    """(S,) how many times its bound the gradient was at most, as the rule measures it; 0 without a bound."""
    update_norm: FloatArray
    """(S,) norm of what the optimizer added to all variables together: the weights after the step minus those before it."""
    weights_finite: BoolArray
    """(S, V) whether each variable held only finite values after the update."""

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def clipped(self) -> BoolArray:
        """(S,) whether the rule's threshold was exceeded."""
        return np.asarray(self.excess > 1)

    @property
    def global_norm(self) -> FloatArray:
        """(S,) norm of all gradients together, before clipping."""
        return joint_norm(self.norm)[:, 0]

    @property
    def applied_global_norm(self) -> FloatArray:
        """(S,) norm of all gradients together, as the optimizer used them."""
        return joint_norm(self.applied_norm)[:, 0]

    @classmethod
    def from_rows(cls, rows: FloatArray, variables: int) -> StepRecords:
        """Records from rows (S, `row_width`) of float64, in the order of OF_STEP and OF_VARIABLES."""
        scalars = dict(zip(OF_STEP, rows[:, : len(OF_STEP)].T, strict=True))
        each = dict(zip(OF_VARIABLES, np.split(rows[:, len(OF_STEP) :], len(OF_VARIABLES), axis=1), strict=True))
        kinds = {"correct": scalars["correct"].astype(np.int64), "weights_finite": each["weights_finite"].astype(bool)}
        return cls(**{**scalars, **each, **kinds})

    @classmethod
    def joined(cls, pieces: Sequence[StepRecords]) -> StepRecords:
        """The records of several pieces, in order."""
        return cls(**{field.name: np.concatenate([getattr(piece, field.name) for piece in pieces]) for field in fields(cls)})

    def first(self, steps: int) -> StepRecords:
        """The records of the first `steps` steps."""
        return StepRecords(**{field.name: getattr(self, field.name)[:steps] for field in fields(self)})


@dataclass(frozen=True)
class Evaluation:
    """Mean data loss, penalty and metrics on the evaluation split."""

    loss: float
    penalty: float
    metrics: Mapping[str, float]
    """By name, in the order of `Engine.metrics`."""
    training_metrics: Mapping[str, float] = field(default_factory=dict)
    """The same over the steps since the last evaluation, where the records of the steps don't tell."""


class Engine(Protocol):
    """One compiled model. `reset` starts a run; everything else goes on from where the run stands."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Canonical names of the V trainable variables, in the order of the records."""
        ...

    @property
    def metrics(self) -> Mapping[str, bool]:
        """The problem's metrics by name, each with whether higher is better."""
        ...

    @property
    def chance(self) -> Mapping[str, float]:
        """What the best constant prediction on the training targets scores, by the columns of `metrics.csv`, as far as known.

        Where a column of the evaluated split (`val_loss` and so on) is not named, it scores as on the training split.
        """
        ...

    @property
    def counts_correct(self) -> bool:
        """Whether the records' `correct` means something; `accuracy` is then a metric."""
        ...

    @property
    def compiled(self) -> str:
        """How the steps are compiled: `xla`, `graph`, or `eager` for not at all."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of how the problem is trained."""
        ...

    @property
    def compiles(self) -> bool:
        """Whether its first steps and its first evaluation are compiled, which takes seconds."""
        ...

    def initial_weights(self, config: Config) -> Weights:
        """The weights that a run of this config's seed begins with, whatever its arm: all of the network's state.

        The config may differ from that of the engine in what only initial weights and batches need.
        """
        ...

    def reset(self, weights: Weights, *, learning_rate: float | None) -> None:
        """Take these weights, fresh optimizer slots and metrics, an empty memory of the clipping rule and step 0.

        Weights are all of the network's state that is not the optimizer's: averages and seeds too. Without a learning rate the
        optimizer keeps its own, such as a schedule.
        """
        ...

    def train(self, batches: IntArray) -> StepRecords:
        """Take a step on each batch of dataset indices, (S, batch_size)."""
        ...

    def evaluate(self) -> Evaluation:
        """Evaluate on the dataset's evaluation split."""
        ...

    def weights(self) -> dict[str, FloatArray]:
        """Copy out the current weights."""
        ...

    def state(self) -> dict[str, Array]:
        """Copy out all that resuming needs: weights, optimizer slots, step count, the clipping rule's memory."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on exactly where `state` was taken."""
        ...

    def save(self, path: Path) -> None:
        """Save the model in the framework's own format."""
        ...
