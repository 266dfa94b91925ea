"""The PyTorch engine: `torch.nn` layers, `torch.optim`, and `torch.nn.utils.clip_grad_*` as a PyTorch user writes them.

It trains what the Keras engine trains: the same initial weights, the same batches, the same loss, and Keras's optimizer
arguments. Steps are taken one by one in eager mode; what is recorded of them stays on the device until a block of steps is done.

Where the two frameworks differ (docs/frameworks.md has the table): `clip_grad_norm_` divides by the norm plus 1e-6; Adam's
epsilon is set anew on each step, so that it counts as much as in Keras; RMSprop's and Adamax's stand elsewhere for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gradclip_cli.arrays import Array, FloatArray, IntArray, Weights
from gradclip_cli.config.frameworks.pytorch import pytorch_optimizer
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine, Evaluation, StepRecords
from gradclip_cli.engines.shared import ChosenRule, memory_key, slot_key
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Clipped
from gradclip_cli.gradients.scopes import EACH_VARIABLE
from gradclip_cli.problems.contract import EVALUATION_BATCH, Dataset, Problem

BLOCK_BYTES = 4_000_000  # of what a block of steps keeps on the device: as much as a cache holds

NOTHING_TOLD = Clipped([])
"""Of a step whose gradients PyTorch clipped in place, or nobody."""


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

    def initial_weights(self, config: Any) -> Weights:
        """All of the network's state as the config's seed gives it, by name."""
        ...

    input_values: int
    """Numbers in what the module takes of a sample."""
    output_shape: tuple[int, ...]
    """Of what the module gives for a sample."""

    def inputs(self, samples: Tensor) -> Tensor:
        """What the module takes, from samples (N, ...) of the dataset."""
        ...

    def loss(self, targets: Tensor, outputs: Tensor, reduction: str = "mean") -> Tensor:
        """The mean (or `sum`) of the samples' losses."""
        ...

    def correct(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Whether each sample was predicted rightly."""
        ...

    def penalty(self) -> Tensor | None:
        """What regularizers add to the loss; None without one."""
        ...


def find_device(device: str) -> torch.device:
    """The device that `engine.device` means. Raises EngineError where there is no GPU to use."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("engine.device is cuda, but PyTorch sees no GPU here; auto takes one only where there is one.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def set_up() -> None:
    """Give PyTorch one thread: runs then are the same bits whatever else the machine does, and go one to a core."""
    torch.set_num_threads(1)


class PyTorchEngine:
    """`gradclip_cli.engines.contract.Engine` in PyTorch, on one thread of a CPU or on a GPU.

    Raises EngineError where the device that a config asks for is not there.
    """

    compiles = False
    compiled = "eager"

    def __init__(self, problem: Problem, dataset: Dataset) -> None:
        self._config = config = problem.config
        self._device = find_device(config.engine.device)
        self._network: Network = problem.network("pytorch", dataset)
        self._module, self._variables = self._network.module.to(self._device), self._network.variables
        self._parameters = [parameter for variable in self._variables for parameter in variable.parameters]
        self._gradient = _shared_gradient(self._parameters)
        self._train_inputs, self._train_targets = self._moved(dataset.train_inputs), self._targets(dataset.train_targets)
        self._evaluation_inputs = self._moved(dataset.evaluation_inputs)
        self._evaluation_targets = self._targets(dataset.evaluation_targets)
        self._chosen = ChosenRule.of(config, self.variables)
        self._rule = self._chosen.rule
        self._optimizer_parameters = config.optimizer.parameters()  # dumped from the config: not on every step
        each = [variable.parameters for variable in self._variables]
        self._clipped_together = each if self._rule.scope is EACH_VARIABLE else [self._parameters]
        self._memory: dict[str, Tensor] = {}
        self._begin(config.optimizer.learning_rate)

    @property
    def metrics(self) -> Mapping[str, bool]:
        return self._network.metrics

    @property
    def chance(self) -> Mapping[str, float]:
        return self._network.chance

    @property
    def counts_correct(self) -> bool:
        return self._network.counts_correct

    @property
    def remarks(self) -> tuple[str, ...]:
        return self._network.remarks

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self._variables)

    def initial_weights(self, config: Config) -> Weights:
        return self._network.initial_weights(config)

    def reset(self, weights: Weights, *, learning_rate: float | None) -> None:
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
        pieces = (self._evaluation_inputs.split(EVALUATION_BATCH), self._evaluation_targets.split(EVALUATION_BATCH))
        for samples, targets in zip(*pieces, strict=True):
            outputs = self._module(self._network.inputs(samples))
            loss += self._network.loss(targets, outputs, "sum")
            correct += self._network.correct(targets, outputs).sum()
        count, penalty = len(self._evaluation_targets), self._network.penalty()
        metrics = {"accuracy": correct.item() / count}
        return Evaluation(loss.item() / count, 0.0 if penalty is None else penalty.item(), metrics)

    def weights(self) -> dict[str, FloatArray]:
        return {variable.name: variable.read() for variable in self._variables}

    def state(self) -> dict[str, Array]:
        slots = {
            slot_key(f"{index}/{name}"): value.cpu().numpy().copy()
            for index, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }
        memory = {memory_key(key): value.cpu().numpy().copy() for key, value in self._memory.items()}
        rate = np.array(self._optimizer.param_groups[0]["lr"])
        return {**self.weights(), **slots, **memory, "steps": np.array(self._steps), "learning_rate": rate}

    def restore(self, state: Mapping[str, Array]) -> None:
        self.reset({name: state[name] for name in self.variables}, learning_rate=float(state["learning_rate"]))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith(slot_key("")):
                _, index, slot = name.split("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value.copy())
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": slots})
        self._memory = {key: self._moved(state[memory_key(key)]) for key in self._memory}
        self._steps = int(state["steps"])

    def save(self, path: Path) -> None:
        torch.save(self._module.state_dict(), path)

    def _begin(self, learning_rate: float | None) -> None:
        """Fresh optimizer slots, an empty memory of the rule, step 0."""
        name, arguments = pytorch_optimizer(self._config.optimizer)
        self._optimizer = getattr(torch.optim, name)(self._parameters, **{**arguments, "lr": learning_rate})
        self._memory = {key: self._moved(value) for key, value in self._chosen.memory().items()}
        self._steps = 0

    def _moved(self, array: Array) -> Tensor:
        return torch.from_numpy(array.copy() if not array.flags.writeable else array).to(self._device)

    def _targets(self, targets: Array) -> Tensor:
        """The targets on the device; labels as PyTorch counts."""
        return self._moved(targets.astype(np.int64) if np.issubdtype(targets.dtype, np.integer) else targets)

    def _steps_in_a_block(self) -> int:
        """As many steps as BLOCK_BYTES hold the inputs, gradients and weights of."""
        values = 3 * sum(parameter.numel() for parameter in self._parameters)
        values += self._config.data.batch_size * (self._network.input_values + math.prod(self._network.output_shape))
        return max(1, int(BLOCK_BYTES // (4 * values)))

    def _train_block(self, batches: IntArray) -> StepRecords:
        steps, size = batches.shape
        indices = self._moved(batches.astype(np.int64))
        inputs = self._network.inputs(self._train_inputs[indices.flatten()]).unflatten(0, (steps, size))
        targets = self._train_targets[indices]
        block = Block(steps, (size, *self._network.output_shape), self._parameters)
        for step, batch in enumerate(zip(inputs, targets, strict=True)):
            self._step(*batch, block, step)
        return self._records(block, targets)

    def _step(self, inputs: Tensor, targets: Tensor, block: Block, step: int) -> None:
        """Take one optimizer step as PyTorch users write it, and keep what is to be recorded of it."""
        self._gradient.zero_()
        outputs = self._module(inputs)
        loss, penalty = self._network.loss(targets, outputs), self._network.penalty()
        (loss if penalty is None else loss + penalty).backward()
        block.loss[step], block.outputs[step] = loss.detach(), outputs.detach()
        if penalty is not None:
            block.penalty[step] = penalty.detach()
        block.gradients[step] = self._gradient
        clipped = self._clip()
        if clipped.excess is not None:
            block.excess[step] = clipped.excess
        block.applied[step] = self._gradient
        if not (self._rule.skips and clipped.skip):
            self._apply()
        block.keep_weights(step + 1)

    def _apply(self) -> None:
        self._steps += 1
        place_epsilon(self._optimizer, self._config.optimizer.name, self._optimizer_parameters, self._steps)
        self._optimizer.step()

    def _clip(self) -> Clipped:
        """Clip in place, by PyTorch's own function where it means the same; what is told of it is what only the rule knows."""
        rule = self._rule
        if rule.mode == "none":
            return NOTHING_TOLD
        if not rule.pytorch_function or rule.layer_thresholds:
            return self._clip_by_our_rule()
        clip = getattr(torch.nn.utils, rule.pytorch_function)
        for parameters in self._clipped_together:
            clip(parameters, rule.threshold_of_all)
        return NOTHING_TOLD

    def _clip_by_our_rule(self) -> Clipped:
        gradients, weights = [each.gradient for each in self._variables], [each.weight for each in self._variables]
        clipped = self._chosen.clip(gradients, weights, self._memory, torch)
        for variable, gradient in zip(self._variables, clipped.gradients, strict=True):
            variable.set_gradient(gradient)
        self._memory = {key: clipped.memory[key].to(value.dtype) for key, value in self._memory.items()}
        return clipped

    def _records(self, block: Block, targets: Tensor) -> StepRecords:
        sizes = [sum(parameter.numel() for parameter in variable.parameters) for variable in self._variables]
        norm, max_abs = _norms(block.gradients, sizes)
        applied_norm, applied_max_abs = _norms(block.applied, sizes)
        finite = torch.stack([part.isfinite().all(1) for part in block.weights[1:].split(sizes, 1)], 1)
        records = StepRecords(
            loss=block.loss.cpu().double().numpy(),
            penalty=block.penalty.cpu().double().numpy(),
            correct=self._network.correct(targets, block.outputs).sum(-1).cpu().numpy(),
            norm=norm,
            max_abs=max_abs,
            applied_norm=applied_norm,
            applied_max_abs=applied_max_abs,
            excess=block.excess.cpu().double().numpy(),
            update_norm=torch.linalg.vector_norm(block.weights.double().diff(dim=0), dim=1).cpu().numpy(),
            weights_finite=finite.cpu().numpy(),
        )
        return self._chosen.with_excess(records)


class Block:
    """What is kept of some steps on the device, until all of it is measured at once: a step has no time for it."""

    def __init__(self, steps: int, outputs: tuple[int, ...], parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = [parameter.detach().view(-1) for parameter in parameters]
        device, values = parameters[0].device, sum(parameter.numel() for parameter in parameters)
        self.gradients, self.applied = (torch.empty(steps, values, device=device) for _ in range(2))
        self.weights = torch.empty(steps + 1, values, device=device)  # before the first step, then after each
        self.outputs = torch.empty(steps, *outputs, device=device)
        self.loss, self.penalty, self.excess = (torch.zeros(steps, device=device) for _ in range(3))
        self.keep_weights(0)

    def keep_weights(self, steps: int) -> None:
        """Keep the parameters as they are now, after so many steps of the block."""
        torch.cat(self._parameters, out=self.weights[steps])


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


ENGINE: type[Engine] = PyTorchEngine
