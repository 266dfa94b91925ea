"""The article's network in PyTorch, its parameters named and laid out as Keras's are. Only the PyTorch engine asks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradclip_cli.arrays import FloatArray, Weights
from gradclip_cli.config.article import ArticleConfig, Model
from gradclip_cli.problems.article_weights import initial_weights
from gradclip_cli.problems.contract import EVALUATION_BATCH

RECURRENT_LAYERS: dict[str, type[torch.nn.RNNBase]] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}


class Network:
    """`gradclip_cli.engines.pytorch_network.Network` of the article."""

    metrics: ClassVar[Mapping[str, bool]] = {"accuracy": True}
    counts_correct = True
    remarks = ()
    changes_with_mode = observes = False
    evaluation_batch = EVALUATION_BATCH
    others: ClassVar[Mapping[str, Tensor]] = {}

    def __init__(self, config: ArticleConfig, chance: Mapping[str, float]) -> None:
        self._data, self._loss, self._regularizer = config.data, config.loss, config.model.regularizer
        self.chance = chance
        classes = config.data.published.classes
        self.module = RecurrentNetwork(config.model, config.data.sequence_shape[1], classes)
        self.variables = keras_variables(self.module, config.model)
        self._kernels = [variable.parameters[0] for variable in self.variables if variable.is_kernel]
        self.input_values, self.output_shape = math.prod(config.data.sequence_shape), (classes,)

    def initial_weights(self, config: ArticleConfig) -> Weights:
        features, classes = config.data.sequence_shape[1], config.data.published.classes
        return initial_weights(config.model, features=features, classes=classes, seed=config.training.seed)

    def inputs(self, samples: Tensor) -> Tensor:
        pixels = samples.float()
        if self._data.pool > 1:
            pixels = functional.avg_pool2d(pixels[:, None], self._data.pool)
        return pixels.reshape(-1, *self._data.sequence_shape) / self._data.scale

    def outputs(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.module(inputs)
        return logits

    def loss(self, targets: Tensor, outputs: Tensor, reduction: str = "mean") -> Tensor:
        if self._loss.name == "crossentropy":
            return functional.cross_entropy(outputs, targets, reduction=reduction)
        scaled = self._loss.target_scale * functional.one_hot(targets, outputs.shape[-1])
        squared = functional.mse_loss(outputs, scaled.to(outputs.dtype), reduction=reduction)
        return squared if reduction == "mean" else squared / outputs.shape[-1]

    def correct(self, targets: Tensor, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1) == targets

    def sums(self, targets: Tensor, outputs: Tensor) -> Tensor:
        return self.correct(targets, outputs).sum().double()[None]

    def results(self, means: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.metrics, means, strict=True))

    def penalty(self) -> Tensor | None:
        l1, l2 = self._regularizer.l1, self._regularizer.l2
        if not l1 and not l2:
            return None
        return torch.stack([l1 * kernel.abs().sum() + l2 * kernel.square().sum() for kernel in self._kernels]).sum()


class RecurrentNetwork(torch.nn.Module):  # type: ignore[misc]  # mypy does not look into PyTorch
    """Recurrent layers and a dense one that gives logits, (batch, classes) from (batch, time, features)."""

    def __init__(self, model: Model, features: int, classes: int) -> None:
        super().__init__()
        # Only nn.RNN takes an activation; the other two have tanh.
        options = {"nonlinearity": model.activation} if model.cell == "simple_rnn" else {}
        self._names = list(model.layers)
        for name, units in model.layers.items():
            self.add_module(name, RECURRENT_LAYERS[model.cell](features, units, batch_first=True, **options))
            features = units
        self.dense = torch.nn.Linear(features, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        for name in self._names:
            inputs, _ = self.get_submodule(name)(inputs)
        logits: Tensor = self.dense(inputs[:, -1])
        return logits


@dataclass(frozen=True)
class Variable:
    """One of Keras's variables, held by PyTorch in one parameter, or in two (a GRU's input and recurrent biases)."""

    name: str
    parameters: tuple[torch.nn.Parameter, ...]
    is_kernel: bool
    gates_swapped: bool
    """Whether PyTorch has the first two gates the other way round: a GRU's reset and update."""

    def read(self) -> FloatArray:
        """Copy out the values in Keras's layout."""
        return self._gates_swapped(self._in_keras_shape([each.detach().cpu() for each in self.parameters]).numpy()).copy()

    def write(self, values: FloatArray) -> None:
        """Take values in Keras's layout."""
        self._spread(torch.from_numpy(self._gates_swapped(values).copy()), self.parameters)

    @property
    def weight(self) -> Tensor:
        """The values in Keras's shape, the gates in PyTorch's order."""
        return self._in_keras_shape([each.detach() for each in self.parameters])

    @property
    def gradient(self) -> Tensor:
        """The gradient in Keras's shape, the gates in PyTorch's order."""
        return self._in_keras_shape(_gradients(self.parameters))

    def set_gradient(self, gradient: Tensor) -> None:
        """Take a gradient as `gradient` gives it."""
        self._spread(gradient, _gradients(self.parameters))

    def _in_keras_shape(self, tensors: Sequence[Tensor]) -> Tensor:
        if len(tensors) > 1:
            return torch.stack(list(tensors))
        return tensors[0].T if self.is_kernel else tensors[0]

    def _spread(self, value: Tensor, tensors: Sequence[Tensor]) -> None:
        parts = value.unbind() if len(tensors) > 1 else [value.T if self.is_kernel else value]
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part)

    def _gates_swapped(self, values: FloatArray) -> FloatArray:
        if not self.gates_swapped:
            return values
        update, reset, candidate = np.split(values, 3, axis=-1)
        return np.concatenate([reset, update, candidate], axis=-1)


def _gradients(parameters: Sequence[torch.nn.Parameter]) -> list[Tensor]:
    return [cast(Tensor, parameter.grad) for parameter in parameters]


def keras_variables(network: RecurrentNetwork, model: Model) -> list[Variable]:
    """A network's parameters as Keras's variables, in Keras's order; what Keras doesn't have is set to zero and not trained."""
    variables = []
    for layer in model.layers:
        kernel, recurrent, bias, recurrent_bias = (
            network.get_parameter(f"{layer}.{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        gru = model.cell == "gru"
        if not gru:
            torch.nn.init.zeros_(recurrent_bias.requires_grad_(False))
        variables += [
            Variable(f"{layer}/kernel", (kernel,), True, gru),
            Variable(f"{layer}/recurrent_kernel", (recurrent,), True, gru),
            Variable(f"{layer}/bias", (bias, recurrent_bias) if gru else (bias,), False, gru),
        ]
    dense = network.dense
    return [
        *variables,
        Variable("dense/kernel", (dense.weight,), True, False),
        Variable("dense/bias", (dense.bias,), False, False),
    ]
