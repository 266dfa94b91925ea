"""The PyTorch engine: `torch.nn` layers, `torch.optim`, and `torch.nn.utils.clip_grad_*` as a PyTorch user writes them.

It trains what the Keras engine trains: the same initial weights, the same batches, the same loss, and Keras's optimizer
arguments. Steps are taken one by one in eager mode; what is recorded of them stays on the device until a block of steps is done.

Where the two frameworks differ (docs/frameworks.md has the table): `clip_grad_norm_` divides by the norm plus 1e-6; Adam's
epsilon is set anew on each step, so that it counts as much as in Keras; RMSprop's and Adamax's stand elsewhere for good.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradclip_cli.arrays import Array, FloatArray, IntArray, Weights
from gradclip_cli.config.frameworks.pytorch import pytorch_optimizer
from gradclip_cli.engines.contract import Engine, Evaluation
from gradclip_cli.engines.pytorch_blocks import Block, finite, norms, shared_gradient, update_norms
from gradclip_cli.engines.pytorch_generators import Generators
from gradclip_cli.engines.pytorch_network import Network, Tensors, as_targets, taken
from gradclip_cli.engines.shared import ChosenRule, OfNetwork, generator_key, memory_key, metric_key, slot_key, state_key
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Clipped
from gradclip_cli.gradients.scopes import EACH_VARIABLE
from gradclip_cli.gradients.step_records import StepLosses, StepRecords, Stretch
from gradclip_cli.problems.contract import GENERATOR_SEED, Arrays, Dataset, Problem, samples
from gradclip_cli.problems.own_arrays.array_likes import each

BLOCK_BYTES = 4_000_000  # of what a block of steps keeps on the device: as much as a cache holds

NOTHING_TOLD = Clipped([])
"""Of a step whose gradients PyTorch clipped in place, or nobody."""


def find_device(device: str) -> torch.device:
    """The device that `engine.device` means. Raises EngineError where there is no GPU to use."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("engine.device is cuda, but PyTorch sees no GPU here; auto takes one only where there is one.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def set_up() -> None:
    """Give PyTorch one thread: runs then are the same bits whatever else the machine does, and go one to a core."""
    torch.set_num_threads(1)


class PyTorchEngine(OfNetwork):
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
        self._gradient = shared_gradient(self._parameters)
        self._block: Block | None = None
        self._generators: Generators | None = None
        self._sums, self._observed = self._no_sums(), 0
        self._train_inputs, self._train_targets = self._all(dataset.train_inputs), self._all(dataset.train_targets)
        self._evaluation_inputs = self._all(dataset.evaluation_inputs)
        self._evaluation_targets = self._all(dataset.evaluation_targets)
        self._evaluation_samples = samples(dataset.evaluation_inputs)
        self._chosen = ChosenRule.of(config, self.variables)
        self._rule = self._chosen.rule
        self._optimizer_parameters = config.optimizer.parameters()  # dumped from the config: not on every step
        by_variable = [variable.parameters for variable in self._variables]
        self._clipped_together = by_variable if self._rule.scope is EACH_VARIABLE else [self._parameters]
        self._memory: dict[str, Tensor] = {}
        self._begin(config.optimizer.learning_rate)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self._variables)

    def reset(self, weights: Weights, *, learning_rate: float | None) -> None:
        for variable in self._variables:
            variable.write(weights[variable.name])
        for name, tensor in self._network.others.items():
            tensor.detach().copy_(self._moved(weights[name]))
        self._generators = Generators(int(weights[GENERATOR_SEED])) if GENERATOR_SEED in weights else None
        self._begin(learning_rate)

    def train(self, batches: IntArray) -> StepRecords:
        return self.train_measuring(batches, 1).records

    def train_measuring(self, batches: IntArray, every: int) -> Stretch:
        size = self._steps_in_a_block(every)
        with self._in_mode(training=True):
            blocks = [self._train_block(batches[start : start + size], every) for start in range(0, len(batches), size)]
        return Stretch.joined(blocks)

    def evaluate(self) -> Evaluation:
        with torch.no_grad(), self._in_mode(training=False):
            return self._evaluate()

    @contextlib.contextmanager
    def _in_mode(self, *, training: bool) -> Iterator[None]:
        """Let the module train or evaluate, with the run's own random numbers."""
        if self._network.changes_with_mode:
            self._module.train(training)
        with self._generators.in_use() if self._generators else contextlib.nullcontext():
            yield

    def _evaluate(self) -> Evaluation:
        network, count = self._network, self._evaluation_samples
        loss, sums = torch.zeros((), dtype=torch.float64, device=self._device), self._no_sums()
        for start in range(0, count, network.evaluation_batch):
            chosen = slice(start, start + network.evaluation_batch)
            targets = as_targets(taken(self._evaluation_targets, chosen))
            outputs = network.outputs(network.inputs(taken(self._evaluation_inputs, chosen)))
            loss += network.loss(targets, outputs, "sum")
            sums += network.sums(targets, outputs)
        penalty = network.penalty()
        metrics, training_metrics = self._results(sums, count), self._results(self._sums, self._observed)
        self._sums, self._observed = self._no_sums(), 0
        return Evaluation(loss.item() / count, 0.0 if penalty is None else penalty.item(), metrics, training_metrics)

    def _no_sums(self) -> Tensor:
        return torch.zeros(len(self._network.metrics), dtype=torch.float64, device=self._device)

    def _results(self, sums: Tensor, count: int) -> dict[str, float]:
        return self._network.results([value / count for value in sums.tolist()]) if count else {}

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
        others = {state_key(name): tensor.detach().cpu().numpy().copy() for name, tensor in self._network.others.items()}
        state = {**self.weights(), **others, **slots, **memory, "steps": np.array(self._steps), "learning_rate": rate}
        return {**state, **self._state_of_chance_and_metrics()}

    def _state_of_chance_and_metrics(self) -> dict[str, Array]:
        drawn = self._generators.arrays() if self._generators else {}
        state = {generator_key(name): value for name, value in drawn.items()}
        if self._network.observes:
            state |= {metric_key(0): self._sums.cpu().numpy().copy(), metric_key(1): np.array(self._observed)}
        return state

    def restore(self, state: Mapping[str, Array]) -> None:
        weights = {name: state[name] for name in self.variables}
        weights |= {name: state[state_key(name)] for name in self._network.others}
        self.reset(weights, learning_rate=float(state["learning_rate"]))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith(slot_key("")):
                _, index, slot = name.split("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value.copy())
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": slots})
        self._memory = {key: self._moved(state[memory_key(key)]) for key in self._memory}
        self._steps = int(state["steps"])
        self._restore_chance_and_metrics(state)

    def _restore_chance_and_metrics(self, state: Mapping[str, Array]) -> None:
        start = generator_key("")
        if drawn := {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}:
            self._generators = Generators(0)
            self._generators.restore(drawn)
        if self._network.observes:
            self._sums, self._observed = self._moved(state[metric_key(0)].copy()), int(state[metric_key(1)])

    def save(self, path: Path) -> None:
        torch.save(self._module.state_dict(), path)

    def _begin(self, learning_rate: float | None) -> None:
        """Fresh optimizer slots and metrics, an empty memory of the rule, step 0."""
        name, arguments = pytorch_optimizer(self._config.optimizer)
        given = {} if learning_rate is None else {"lr": learning_rate}
        self._optimizer = getattr(torch.optim, name)(self._parameters, **{**arguments, **given})
        self._memory = {key: self._moved(value) for key, value in self._chosen.memory().items()}
        self._sums, self._observed, self._steps = self._no_sums(), 0, 0

    def _all(self, arrays: Arrays) -> Tensors:
        return each(arrays, self._moved)

    def _moved(self, array: Array) -> Tensor:
        mapped = isinstance(array, np.memmap)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to the data
            tensor = torch.from_numpy(array if array.flags.writeable or mapped else array.copy())
        return tensor.to(self._device)

    def _steps_in_a_block(self, every: int) -> int:
        """As many steps, of which one in `every` is measured, as BLOCK_BYTES hold the inputs, gradients and weights of."""
        kept = 3 if every == 1 else 4
        values = kept * sum(parameter.numel() for parameter in self._parameters)
        outputs = math.prod(self._network.output_shape) if self.counts_correct else 0
        values += every * self._config.data.batch_size * (self._network.input_values + outputs)
        return every * max(1, int(BLOCK_BYTES // (4 * values)))

    def _train_block(self, batches: IntArray, every: int) -> Stretch:
        steps, size = batches.shape
        indices = self._moved(batches.astype(np.int64))
        inputs = self._network.inputs(taken(self._train_inputs, indices.flatten()))
        inputs = each(inputs, functools.partial(torch.unflatten, dim=0, sizes=(steps, size)))
        targets = as_targets(taken(self._train_targets, indices))
        block = self._block_of(steps, every, size)
        for step in range(steps):
            self._step(taken(inputs, step), taken(targets, step), block, step)
        return self._stretch(block, targets)

    def _block_of(self, steps: int, every: int, size: int) -> Block:
        """Room for so many steps: what the last block had, where that had as many."""
        outputs = (size, *self._network.output_shape) if self.counts_correct else (0,)
        if self._block is None or (self._block.every, *self._block.outputs.shape) != (every, steps, *outputs):
            self._block = None  # what a big model needs is not to be held twice
            self._block = Block(steps, every, outputs, self._parameters)
        return self._block

    def _step(self, inputs: Tensors, targets: Tensors, block: Block, step: int) -> None:
        """Take one optimizer step as PyTorch users write it, and keep what is to be recorded of it."""
        self._gradient.zero_()
        outputs = self._network.outputs(inputs)
        loss, penalty = self._network.loss(targets, outputs), self._network.penalty()
        (loss if penalty is None else loss + penalty).backward()
        block.loss[step] = loss.detach()
        if penalty is not None:
            block.penalty[step] = penalty.detach()
        if self.counts_correct:
            block.outputs[step] = outputs.detach()
        if self._network.observes:
            self._observe(targets, outputs)
        row = block.row(step)
        if row is None:
            self._apply_unless_skipped(self._clip())
        else:
            self._update_measured(block, row)

    def _update_measured(self, block: Block, row: int) -> None:
        """Clip and apply the gradients, and keep them and the weights, before and after."""
        block.keep_before(row)
        block.gradients[row] = self._gradient
        clipped = self._clip()
        if clipped.excess is not None:
            block.excess[row] = clipped.excess
        block.applied[row] = self._gradient
        self._apply_unless_skipped(clipped)
        block.keep_after(row)

    def _apply_unless_skipped(self, clipped: Clipped) -> None:
        if not (self._rule.skips and clipped.skip):
            self._apply()

    def _apply(self) -> None:
        self._steps += 1
        place_epsilon(self._optimizer, self._config.optimizer.name, self._optimizer_parameters, self._steps)
        self._optimizer.step()

    def _observe(self, targets: Tensors, outputs: Tensors) -> None:
        with torch.no_grad():
            self._sums += self._network.sums(targets, outputs)
        self._observed += samples(targets)

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
        gradients, weights = [one.gradient for one in self._variables], [one.weight for one in self._variables]
        clipped = self._chosen.clip(gradients, weights, self._memory, torch)
        for variable, gradient in zip(self._variables, clipped.gradients, strict=True):
            variable.set_gradient(gradient)
        self._memory = {key: clipped.memory[key].to(value.dtype) for key, value in self._memory.items()}
        return clipped

    def _stretch(self, block: Block, targets: Tensors) -> Stretch:
        losses = StepLosses(_copied(block.loss), _copied(block.penalty), self._correct(block, targets))
        return Stretch(losses, self._records(block, losses), block.every)

    def _records(self, block: Block, losses: StepLosses) -> StepRecords:
        sizes = [sum(parameter.numel() for parameter in variable.parameters) for variable in self._variables]
        norm, max_abs = norms(block.gradients, sizes)
        applied_norm, applied_max_abs = (norm, max_abs) if self._rule.mode == "none" else norms(block.applied, sizes)
        records = StepRecords(
            **vars(losses.of_one_in(block.every)),
            norm=norm,
            max_abs=max_abs,
            applied_norm=applied_norm,
            applied_max_abs=applied_max_abs,
            excess=_copied(block.excess),
            update_norm=update_norms(block.before, block.after),
            weights_finite=finite(block.after, sizes),
        )
        return self._chosen.with_excess(records)

    def _correct(self, block: Block, targets: Tensors) -> IntArray:
        if not self.counts_correct:
            return np.zeros(len(block.loss), np.int64)
        return np.asarray(self._network.correct(targets, block.outputs).sum(-1).cpu().numpy())


def _copied(values: Tensor) -> FloatArray:
    return np.array(values.cpu().numpy(), np.float64)


def place_epsilon(optimizer: torch.optim.Optimizer, name: str, parameters: Mapping[str, Any], step: int) -> None:
    """Before a step (from 1), let the epsilon of Keras's `parameters` count in PyTorch's Adam and AdamW as much as in Keras's.

    Keras adds it to the root before its bias is corrected, PyTorch after that.
    """
    if name in ("adam", "adamw"):
        correction = math.sqrt(1 - parameters["beta_2"] ** step)
        for group in optimizer.param_groups:
            group["eps"] = parameters["epsilon"] / correction


ENGINE: type[Engine] = PyTorchEngine
