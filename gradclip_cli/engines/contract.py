"""The contract of an engine: what it is asked for, and what a step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gradclip_cli.arrays import Array, FloatArray, IntArray, Weights
from gradclip_cli.config.schema import Config
from gradclip_cli.gradients.step_records import StepRecords, Stretch


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
        """Take a step on each batch of dataset indices, (S, batch_size), and measure each."""
        ...

    def train_measuring(self, batches: IntArray, every: int) -> Stretch:
        """The same steps, of which only one in `every` is measured: the last of each so many, which divides S.

        What is trained has the same bits for any `every`, as far as the compiler lets it.
        """
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
