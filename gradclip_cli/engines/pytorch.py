"""The PyTorch engine: `torch.nn` layers, `torch.optim`, and `torch.nn.utils.clip_grad_*` as a PyTorch user writes them.

It trains what the Keras engine trains: the same initial weights, the same batches, the same loss, and Keras's optimizer
arguments. Steps are taken one by one in eager mode; what is recorded of them stays on the device until a block of steps is done.

Where the two frameworks differ (docs/frameworks.md has the table): `clip_grad_norm_` divides by the norm plus 1e-6; Adam's
epsilon is set anew on each step, so that it counts as much as in Keras; RMSprop's and Adamax's stand elsewhere for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from gradclip_cli.arrays import Array, FloatArray, IntArray, Weights
from gradclip_cli.config.pytorch_words import pytorch_optimizer
from gradclip_cli.config.schema import Config, Loss, Model
from gradclip_cli.engines.contract import Evaluation, StepRecords
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.rules import RULES, Situation
from gradclip_cli.problems.fashion_mnist import CLASSES, Dataset

EVALUATION_BATCH = 1000
PYTORCH_MODES = ("clipvalue", "clipnorm", "global_clipnorm")
BLOCK_BYTES = 4_000_000  # of what a block of steps keeps on the device: as much as a cache holds
LAYERS: dict[str, type[torch.nn.RNNBase]] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}


class Network(torch.nn.Module):  # type: ignore[misc]  # mypy does not look into PyTorch
    """The article's model: recurrent layers and a dense one that gives logits, (batch, classes) from (batch, time, features)."""

    def __init__(self, model: Model, features: int, classes: int) -> None:
        super().__init__()
        # Only nn.RNN takes an activation; the other two have tanh.
        options = {"nonlinearity": model.activation} if model.cell == "simple_rnn" else {}
        self._names = list(model.layers)
        for name, units in model.layers.items():
            self.add_module(name, LAYERS[model.cell](features, units, batch_first=True, **options))
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


def keras_variables(network: Network, model: Model) -> list[Variable]:
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


def batch_loss(loss: Loss, labels: Tensor, outputs: Tensor, reduction: str = "mean") -> Tensor:
    """The mean (or `sum`) of the samples' losses, from labels (batch,) and outputs (batch, classes)."""
    if loss.name == "crossentropy":
        return functional.cross_entropy(outputs, labels, reduction=reduction)
    targets = loss.target_scale * functional.one_hot(labels, outputs.shape[-1])
    squared = functional.mse_loss(outputs, targets.to(outputs.dtype), reduction=reduction)
    return squared if reduction == "mean" else squared / outputs.shape[-1]


def find_device(device: str) -> torch.device:
    """The device that `engine.device` means. Raises EngineError where there is no GPU to use."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("engine.device is cuda, but PyTorch sees no GPU here; auto takes one only where there is one.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


class PyTorchEngine:
    """`gradclip_cli.engines.contract.Engine` in PyTorch, on one thread of a CPU or on a GPU.

    Raises EngineError where the device that a config asks for is not there.
    """

    compiles = False

    def __init__(self, config: Config, dataset: Dataset) -> None:
        torch.set_num_threads(1)  # Runs then are the same bits whatever else the machine does, and go one to a core.
        self._config = config
        self._device = find_device(config.engine.device)
        self._network = Network(config.model, config.data.sequence_shape[1], CLASSES).to(self._device)
        self._variables = keras_variables(self._network, config.model)
        self._parameters = [parameter for variable in self._variables for parameter in variable.parameters]
        self._gradient = _shared_gradient(self._parameters)
        self._kernels = [variable.parameters[0] for variable in self._variables if variable.is_kernel]
        self._images, self._labels = self._moved(dataset.train_images), self._moved(dataset.train_labels.astype(np.int64))
        self._test_images = self._moved(dataset.evaluation_images)
        self._test_labels = self._moved(dataset.evaluation_labels.astype(np.int64))
        self._rule = RULES[config.clipping.mode]
        self._thresholds = config.thresholds(self.variables)
        # Both are dumped from the config: not on every step.
        self._settings, self._optimizer_parameters = config.clipping.settings, config.optimizer.parameters()
        self._memory: dict[str, Tensor] = {}
        self._begin(config.optimizer.learning_rate)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self._variables)

    def reset(self, weights: Weights, *, learning_rate: float) -> None:
        for variable in self._variables:
            variable.write(weights[variable.name])
        self._begin(learning_rate)

    def train(self, batches: IntArray) -> StepRecords:
        size = self._steps_in_a_block()
        blocks = [self._train_block(batches[start : start + size]) for start in range(0, len(batches), size)]
        return StepRecords.joined(blocks)

    def evaluate(self) -> Evaluation:
        with torch.no_grad():
            return self._evaluate()

    def _evaluate(self) -> Evaluation:
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        pieces = (self._test_images.split(EVALUATION_BATCH), self._test_labels.split(EVALUATION_BATCH))
        for images, labels in zip(*pieces, strict=True):
            outputs = self._network(self._inputs(images))
            loss += batch_loss(self._config.loss, labels, outputs, "sum")
            correct += (outputs.argmax(-1) == labels).sum()
        samples, penalty = len(self._test_labels), self._penalty()
        return Evaluation(loss.item() / samples, 0.0 if penalty is None else penalty.item(), correct.item() / samples)

    def weights(self) -> dict[str, FloatArray]:
        return {variable.name: variable.read() for variable in self._variables}

    def state(self) -> dict[str, Array]:
        slots = {
            f"optimizer/{index}/{name}": value.cpu().numpy().copy()
            for index, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }
        memory = {f"clipping/{key}": value.cpu().numpy().copy() for key, value in self._memory.items()}
        rate = np.array(self._optimizer.param_groups[0]["lr"])
        return {**self.weights(), **slots, **memory, "steps": np.array(self._steps), "learning_rate": rate}

    def restore(self, state: Mapping[str, Array]) -> None:
        self.reset({name: state[name] for name in self.variables}, learning_rate=float(state["learning_rate"]))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer/"):
                _, index, slot = name.split("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value.copy())
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": slots})
        self._memory = {key: self._moved(state[f"clipping/{key}"]) for key in self._memory}
        self._steps = int(state["steps"])

    def save(self, path: Path) -> None:
        torch.save(self._network.state_dict(), path)

    def _begin(self, learning_rate: float) -> None:
        """Fresh optimizer slots, an empty memory of the rule, step 0."""
        name, arguments = pytorch_optimizer(self._config.optimizer)
        self._optimizer = getattr(torch.optim, name)(self._parameters, **{**arguments, "lr": learning_rate})
        self._memory = {key: self._moved(value) for key, value in self._rule.memory(self._settings).items()}
        self._steps = 0

    def _moved(self, array: Array) -> Tensor:
        return torch.from_numpy(array.copy() if not array.flags.writeable else array).to(self._device)

    def _steps_in_a_block(self) -> int:
        """As many steps as BLOCK_BYTES hold the inputs, gradients and weights of."""
        values = 3 * sum(parameter.numel() for parameter in self._parameters)
        values += self._config.data.batch_size * (math.prod(self._config.data.sequence_shape) + CLASSES)
        return max(1, int(BLOCK_BYTES // (4 * values)))

    def _train_block(self, batches: IntArray) -> StepRecords:
        steps, size = batches.shape
        indices = self._moved(batches.astype(np.int64))
        inputs = self._inputs(self._images[indices.flatten()]).unflatten(0, (steps, size))
        labels = self._labels[indices]
        block = Block(steps, size, self._parameters)
        for step, batch in enumerate(zip(inputs, labels, strict=True)):
            self._step(*batch, block, step)
        return self._records(block, labels)

    def _step(self, inputs: Tensor, labels: Tensor, block: Block, step: int) -> None:
        """Take one optimizer step as PyTorch users write it, and keep what is to be recorded of it."""
        self._gradient.zero_()
        outputs = self._network(inputs)
        loss, penalty = batch_loss(self._config.loss, labels, outputs), self._penalty()
        (loss if penalty is None else loss + penalty).backward()
        block.loss[step], block.outputs[step] = loss.detach(), outputs.detach()
        if penalty is not None:
            block.penalty[step] = penalty.detach()
        block.gradients[step] = self._gradient
        excess = self._clip()
        if excess is not None:
            block.excess[step] = excess
        block.applied[step] = self._gradient
        self._steps += 1
        place_epsilon(self._optimizer, self._config.optimizer.name, self._optimizer_parameters, self._steps)
        self._optimizer.step()
        block.keep_weights(step)

    def _clip(self) -> Tensor | None:
        """Clip in place, by PyTorch's own functions where they mean the same; the excess, where only the rule knows it."""
        mode, threshold = self._config.clipping.mode, self._config.threshold
        if mode not in PYTORCH_MODES or threshold is None or self._config.clipping.layer_thresholds:
            return None if mode == "none" else self._clip_by_our_rule()
        if mode == "clipvalue":
            clip_grad_value_(self._parameters, threshold)
        elif mode == "clipnorm":
            for variable in self._variables:
                clip_grad_norm_(variable.parameters, threshold)
        else:
            clip_grad_norm_(self._parameters, threshold)
        return None

    def _clip_by_our_rule(self) -> Tensor | None:
        gradients, weights = [each.gradient for each in self._variables], [each.weight for each in self._variables]
        situation = Situation(gradients, self._thresholds, weights, self._settings, self._memory)
        clipped = self._rule.apply(situation, torch)
        for variable, gradient in zip(self._variables, clipped.gradients, strict=True):
            variable.set_gradient(gradient)
        self._memory = {key: clipped.memory[key].to(value.dtype) for key, value in self._memory.items()}
        excess: Tensor | None = clipped.excess
        return excess

    def _inputs(self, images: Tensor) -> Tensor:
        data = self._config.data
        pixels = images.float()
        if data.pool > 1:
            pixels = functional.avg_pool2d(pixels[:, None], data.pool)
        return pixels.reshape(-1, *data.sequence_shape) / data.scale

    def _penalty(self) -> Tensor | None:
        """What regularizers add to the loss; None without one."""
        penalty = self._config.model.regularizer
        if not penalty.l1 and not penalty.l2:
            return None
        parts = [penalty.l1 * kernel.abs().sum() + penalty.l2 * kernel.square().sum() for kernel in self._kernels]
        return torch.stack(parts).sum()

    def _records(self, block: Block, labels: Tensor) -> StepRecords:
        sizes = [sum(parameter.numel() for parameter in variable.parameters) for variable in self._variables]
        norm, max_abs = _norms(block.gradients, sizes)
        applied_norm, applied_max_abs = _norms(block.applied, sizes)
        finite = torch.stack([part.isfinite().all(1) for part in block.weights.split(sizes, 1)], 1)
        excess = block.excess.cpu().double().numpy()
        if self._rule.measure:
            excess = self._rule.excess(norm, max_abs, self._thresholds)
        return StepRecords(
            loss=block.loss.cpu().double().numpy(),
            penalty=block.penalty.cpu().double().numpy(),
            correct=(block.outputs.argmax(-1) == labels).sum(-1).cpu().numpy(),
            norm=norm,
            max_abs=max_abs,
            applied_norm=applied_norm,
            applied_max_abs=applied_max_abs,
            excess=excess,
            weights_finite=finite.cpu().numpy(),
        )


class Block:
    """What is kept of some steps on the device, until all of it is measured at once: a step has no time for it."""

    def __init__(self, steps: int, batch_size: int, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = [parameter.detach().view(-1) for parameter in parameters]
        device, values = parameters[0].device, sum(parameter.numel() for parameter in parameters)
        self.gradients, self.applied, self.weights = (torch.empty(steps, values, device=device) for _ in range(3))
        self.outputs = torch.empty(steps, batch_size, CLASSES, device=device)
        self.loss, self.penalty, self.excess = (torch.zeros(steps, device=device) for _ in range(3))

    def keep_weights(self, step: int) -> None:
        """Keep the parameters as they are now."""
        torch.cat(self._parameters, out=self.weights[step])


def _shared_gradient(parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    """Let the parameters' gradients be parts of one tensor, (elements of all,): one copy then keeps all of them."""
    sizes = [parameter.numel() for parameter in parameters]
    gradient = torch.zeros(sum(sizes), device=parameters[0].device)
    for parameter, part in zip(parameters, gradient.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
    return gradient


def _norms(rows: Tensor, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Norm and largest absolute element of each variable, both (steps, variables), from (steps, elements of all)."""
    parts = rows.split(list(sizes), 1)
    norm = torch.stack([part.double().square().sum(1).sqrt() for part in parts], 1)
    max_abs = torch.stack([part.abs().amax(1) for part in parts], 1)
    return norm.cpu().numpy(), max_abs.cpu().double().numpy()


def place_epsilon(optimizer: torch.optim.Optimizer, name: str, parameters: Mapping[str, Any], step: int) -> None:
    """Before a step (from 1), let the epsilon of Keras's `parameters` count in PyTorch's Adam and AdamW as much as in Keras's.

    Keras adds it to the root before its bias is corrected, PyTorch after that.
    """
    if name in ("adam", "adamw"):
        correction = math.sqrt(1 - parameters["beta_2"] ** step)
        for group in optimizer.param_groups:
            group["eps"] = parameters["epsilon"] / correction
