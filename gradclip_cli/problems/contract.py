"""The contract of a problem: what is trained, whatever the arm: data, initial weights, network, and what chance scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gradclip_cli.arrays import Array
from gradclip_cli.config.schema import Config

Arrays = Array | tuple[Array, ...] | Mapping[str, Array]
"""One array, several in order, or several by name: samples along the first axis of each."""


@dataclass(frozen=True)
class Dataset:
    """What a problem trains and evaluates on: samples (N, ...) as its network takes them, with their targets (N, ...)."""

    train_inputs: Arrays
    train_targets: Arrays
    evaluation_inputs: Arrays
    evaluation_targets: Arrays
    evaluation_split: Literal["test", "holdout"]
    sha256: str
    """Of all that was read to make it."""
    remarks: tuple[str, ...] = ()
    """What a user should know of the data."""

    @property
    def samples(self) -> int:
        """How many there are to train on."""
        return samples(self.train_inputs)

    @property
    def evaluation_samples(self) -> int:
        """How many there are to evaluate on."""
        return samples(self.evaluation_inputs)


def samples(arrays: Arrays) -> int:
    """How many samples some arrays hold."""
    if isinstance(arrays, tuple):
        return len(arrays[0])
    return len(next(iter(arrays.values())) if isinstance(arrays, Mapping) else arrays)


@dataclass(frozen=True)
class Chance:
    """What a model scores that looks at nothing: the best constant prediction on the training targets."""

    loss: float
    accuracy: float
    """Between 0 and 1."""


GENERATOR_SEED = "generator.seed"
"""Stands among a network's initial weights for what the random generators outside of it begin with, where it draws from them."""

EVALUATION_BATCH = 1000
"""The article's samples that are evaluated at a time, so that long sequences fit into memory."""


class DownloadProgress(Protocol):
    """What is told of a download, to show it; the methods but `start` are those that pooch asks of a progress bar."""

    total: int

    def start(self, what: str) -> None: ...
    def update(self, size: int) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class Problem(Protocol):
    """What is trained. It knows NumPy only: `network` imports a framework, and only the engine of that framework calls it."""

    @property
    def config(self) -> Config:
        """The config that poses it."""
        ...

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the trainable variables, `layer/variable`, in the order of the network; none where only the model tells."""
        ...

    @property
    def chance(self) -> Chance | None:
        """What a model scores that looks at nothing; None where only data and model together tell."""
        ...

    @property
    def evaluation_samples(self) -> int:
        """How many samples an evaluation sees; 0 where only the data tell."""
        ...

    @property
    def loaded_from(self) -> str:
        """All of the config that `load` depends on."""
        ...

    @property
    def compiled_for(self) -> str:
        """All of the config's data and model that a compiled training loop depends on."""
        ...

    @property
    def timed_as(self) -> str:
        """All of the config's data and model that the time of a step depends on."""
        ...

    @property
    def runs_own_code(self) -> bool:
        """Whether to train it runs code of the user's own."""
        ...

    @property
    def data_from_function(self) -> bool:
        """Whether a function of the user's own makes the data.

        It may import the framework, which its engine must have set up before, and fills memory in each process that calls it.
        """
        ...

    def on_a_sample(self) -> Problem:
        """The same problem on few data that are at hand, to time a step on."""
        ...

    def find(self, data_directory: Path | None, progress: DownloadProgress | None) -> Path | None:
        """The folder to load the data from; they are fetched where nothing local has them. Raises DatasetError."""
        ...

    def load(self, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
        """Load the data, verified. Raises DatasetError."""
        ...

    def network(self, framework: str, dataset: Dataset) -> Any:
        """The network as that framework's engine asks for it: see the engine's `Network`."""
        ...
