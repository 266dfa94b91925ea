"""What the PyTorch engine asks of a problem's network, and how it treats what a module takes and gives: one tensor or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gradclip_cli.arrays import FloatArray, Weights
from gradclip_cli.problems.own_arrays.array_likes import each

Tensors = Any
"""One tensor, a tuple of them, or several by name."""
LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Variable(Protocol):
    """One of a network's variables in the layout that all frameworks share, held by PyTorch in one parameter or several."""

    name: str
    parameters: tuple[torch.nn.Parameter, ...]

    def read(self) -> FloatArray:
        """Copy out the values in the shared layout."""
        ...

    def write(self, values: FloatArray) -> None:
        """Take values in the shared layout."""
        ...

    @property
    def weight(self) -> Tensor:
        """The values as the clipping rules see them: units along the last axis."""
        ...

    @property
    def gradient(self) -> Tensor:
        """The gradient as the clipping rules see it."""
        ...

    def set_gradient(self, gradient: Tensor) -> None:
        """Take a gradient as `gradient` gives it."""
        ...


class Network(Protocol):
    """What this engine asks of a problem's network."""

    module: torch.nn.Module
    variables: Sequence[Variable]
    metrics: Mapping[str, bool]
    chance: Mapping[str, float]
    counts_correct: bool
    remarks: tuple[str, ...]
    changes_with_mode: bool
    """Whether the module is to be told when it trains and when it is evaluated."""
    observes: bool
    """Whether the metrics see each batch that is trained on."""
    input_values: int
    """Numbers in what a step takes of a sample."""
    output_shape: tuple[int, ...]
    """Of what the module gives for a sample, where `counts_correct`."""
    evaluation_batch: int
    """Samples that are evaluated at a time."""

    @property
    def others(self) -> Mapping[str, Tensor]:
        """What is not trained and belongs to a run, by name: averages, frozen parameters."""
        ...

    def initial_weights(self, config: Any) -> Weights:
        """All of the network's state as the config's seed gives it, by name.

        With GENERATOR_SEED among them, a run has random generators of its own, which begin with that seed.
        """
        ...

    def inputs(self, samples: Tensors) -> Tensors:
        """What the module takes, from samples (N, ...) of the dataset."""
        ...

    def outputs(self, inputs: Tensors) -> Tensors:
        """What the module gives for them."""
        ...

    def loss(self, targets: Tensors, outputs: Tensors, reduction: str = "mean") -> Tensor:
        """The mean (or `sum`) of the samples' losses."""
        ...

    def correct(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Whether each sample was predicted rightly, (steps, batch) from (steps, batch, ...), where `counts_correct`."""
        ...

    def sums(self, targets: Tensors, outputs: Tensors) -> Tensor:
        """What each metric sums over the samples, (metrics,) of float64."""
        ...

    def results(self, means: Sequence[float]) -> dict[str, float]:
        """The metrics by name, from the means of those sums over all samples."""
        ...

    def penalty(self) -> Tensor | None:
        """What regularizers add to the loss; None without one."""
        ...


def taken(values: Tensors, chosen: Any) -> Tensors:
    """Those of the samples."""
    return each(values, lambda tensor: tensor[chosen])


def as_targets(values: Tensors) -> Tensors:
    """Targets as losses take them: labels as PyTorch counts."""
    return each(values, _as_target)


def _as_target(tensor: Any) -> Any:
    return tensor.long() if tensor.dtype in LABELS else tensor
