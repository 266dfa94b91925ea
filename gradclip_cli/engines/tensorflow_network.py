"""What the Keras engine asks of a problem's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from gradclip_cli.arrays import Weights

Tensors = Any
"""One tensor, a tuple of them, or several by name."""


class Network(Protocol):
    """What this engine asks of a problem's network."""

    model: keras.Model
    metrics: Mapping[str, bool]
    chance: Mapping[str, float]
    counts_correct: bool
    remarks: tuple[str, ...]
    recurrent: bool
    """Whether steps loop over time, which XLA does fastest."""
    others: Mapping[str, keras.Variable]
    """Variables that are not trained and belong to a run: averages, seeds."""
    sums: Sequence[keras.Variable]
    """What the metrics have gathered since the last evaluation."""

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        """The trainable variables by their names, in the model's order."""
        ...

    def initial_weights(self, config: Any) -> Weights:
        """All of the network's state as the config's seed gives it, by name."""
        ...

    def inputs(self, samples: Tensors) -> Tensors:
        """What the model takes, from samples (batch, ...) of the dataset."""
        ...

    def loss_and_penalty(self, inputs: Tensors, targets: Tensors, outputs: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The batch's mean data loss, and what regularizers and layers add to it; their sum is trained on."""
        ...

    def observe(self, inputs: Tensors, targets: Tensors, outputs: Tensors) -> None:
        """Let the metrics see a batch that was trained on."""
        ...

    def correct(self, targets: Tensors, outputs: Tensors) -> tf.Tensor:
        """Whether each sample was predicted rightly, (batch,), where `counts_correct`."""
        ...

    def evaluate(self, inputs: Tensors, targets: Tensors) -> tf.Tensor:
        """Loss, penalty, each metric, and each metric of what was observed where `counts_correct` is not, as float64."""
        ...
