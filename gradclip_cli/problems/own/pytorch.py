"""A user's own `torch.nn.Module`, as the PyTorch engine asks for it; loss and metrics by Keras's names, or his own functions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from gradclip_cli.arrays import Array, FloatArray, Weights
from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.errors import ConfigError, DatasetError, OwnCodeError
from gradclip_cli.problems.chance import chance_scores
from gradclip_cli.problems.contract import GENERATOR_SEED, Arrays, Dataset, samples
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own.calls import own_code_runs, returned
from gradclip_cli.problems.own.labels import require_classes
from gradclip_cli.problems.own.models import built
from gradclip_cli.problems.own.pytorch_losses import SPARSE, by_class, choose_loss
from gradclip_cli.problems.own.pytorch_metrics import choose_metrics
from gradclip_cli.problems.own_arrays.array_likes import each, leaves

PROBE = 2
"""Samples on which a module is called once, to see what it gives."""
TRAINED_KINDS = (torch.float32, torch.float64)
UNITS_LAST = (torch.nn.Embedding, torch.nn.EmbeddingBag)
UNITS_SECOND = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


def build_module(config: OwnConfig, seed: int, *, again: bool = False) -> torch.nn.Module:
    """The user's module with the initial weights of a seed. Raises ConfigError and OwnCodeError, each with what to do."""
    if config.model.file:
        raise ConfigError(["model.file: only a Keras model is read from a file; give model: {factory: FILE.py:function}"])
    torch.manual_seed(seed)
    what, module = str(config.model.factory), built(config, seed, again=again)
    if any(base.__module__.partition(".")[0] == "keras" for base in type(module).__mro__):
        raise ConfigError([f"{what}: it returned a Keras model, which engine: {{framework: tensorflow}} trains"])
    if not isinstance(module, torch.nn.Module):
        raise returned(what, module, "a torch.nn.Module")
    _require_trainable(module, what)
    return module


def _require_trainable(module: torch.nn.Module, what: str) -> None:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        message = "no parameter of the module requires a gradient; is every layer frozen (requires_grad=False)?"
        raise OwnCodeError(f"{what}: {message}")
    kinds = {parameter.dtype for parameter in trained}
    if len(kinds) > 1 or not kinds <= {*TRAINED_KINDS}:
        told = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        raise OwnCodeError(f"{what}: it has trained parameters of {told}; gradclip trains float32, or float64 throughout")
    if any(tensor.dtype is torch.bfloat16 for tensor in named_tensors(module).values()):
        raise OwnCodeError(f"{what}: it has tensors of bfloat16, which gradclip can't store; call .float() on it")


def named_tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by their paths in it, `layer/weight`, each once; what a CSV can't hold is `_`."""
    named: dict[str, Tensor] = {}
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        name = re.sub(r"[^\w/-]", "_", path.replace(".", "/"))
        count = sum(1 for other in named if other == name or re.fullmatch(rf"{re.escape(name)}_\d+", other))
        named[f"{name}_{count}" if count else name] = tensor
    return named


@dataclass(frozen=True)
class Variable:
    """`gradclip_cli.engines.pytorch_network.Variable`: a parameter as the module has it."""

    name: str
    parameters: tuple[torch.nn.Parameter]
    units: int
    """The axis of its units."""

    def read(self) -> FloatArray:
        return _copied(self.parameters[0])

    def write(self, values: FloatArray) -> None:
        self.parameters[0].detach().copy_(torch.from_numpy(np.array(values)))

    @property
    def weight(self) -> Tensor:
        return self._by_unit(self.parameters[0].detach())

    @property
    def gradient(self) -> Tensor:
        return self._by_unit(cast(Tensor, self.parameters[0].grad))

    def set_gradient(self, gradient: Tensor) -> None:
        held = cast(Tensor, self.parameters[0].grad)
        if held.ndim > 1:
            moved = held.movedim(self.units, -1)
            moved.copy_(gradient.reshape(moved.shape))
        else:
            held.copy_(gradient)

    def _by_unit(self, values: Tensor) -> Tensor:
        return values.movedim(self.units, -1).flatten(0, -2) if values.ndim > 1 else values


def _variables(module: torch.nn.Module) -> list[Variable]:
    last = {id(parameter) for layer in module.modules() if isinstance(layer, UNITS_LAST) for parameter in layer.parameters()}
    second = {id(parameter) for layer in module.modules() if isinstance(layer, UNITS_SECOND) for parameter in layer.parameters()}
    return [
        Variable(name, (tensor,), -1 if id(tensor) in last else int(id(tensor) in second and tensor.ndim > 1))
        for name, tensor in named_tensors(module).items()
        if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
    ]


class CalledModule:
    """A user's module, and how it is called on samples of the dataset."""

    def __init__(self, config: OwnConfig, dataset: Dataset) -> None:
        self._what, self._integers_stay = str(config.model.factory), True
        self.module = build_module(config, config.training.seed)
        self._kind = next(each for each in self.module.parameters() if each.requires_grad).dtype
        self._few = _few(dataset.train_inputs)
        self.outputs_of_few = self._outputs_of_few()

    def inputs(self, samples: Any) -> Any:
        return each(samples, self._input)

    def _input(self, samples: Tensor) -> Tensor:
        if samples.is_floating_point() or not (self._integers_stay or samples.dtype is torch.bool):
            return samples.to(self._kind)
        return samples if samples.dtype is torch.bool else samples.long()

    def outputs(self, inputs: Any) -> Any:
        return self._call(self.module, inputs)

    def _call(self, module: torch.nn.Module, inputs: Any) -> Any:
        with own_code_runs(self._what, "calling its module"):
            if isinstance(inputs, tuple):
                return module(*inputs)
            return module(**inputs) if isinstance(inputs, Mapping) else module(inputs)

    def _outputs_of_few(self) -> Any:
        """What the module gives for some samples. Integers become floats where it takes only those."""
        self.module.eval()
        try:
            return self.outputs(self.inputs(self._few))
        except OwnCodeError as error:
            tensors: dict[str, Any] = leaves("x", self._few)
            if all(tensor.is_floating_point() for tensor in tensors.values()):
                raise
            self._integers_stay = False
            try:
                return self.outputs(self.inputs(self._few))
            except OwnCodeError:
                raise error from None


class Network(CalledModule):
    """`gradclip_cli.engines.pytorch_network.Network` of a user's own module."""

    changes_with_mode = observes = True
    evaluation_batch = 256

    def __init__(self, config: OwnConfig, dataset: Dataset) -> None:
        if config.optimizer.name == COMPILED:
            message = "a PyTorch module is not compiled with one; write optimizer: {name: adam, learning_rate: 0.001}"
            raise ConfigError([f"optimizer: {message}"])
        super().__init__(config, dataset)
        outputs, targets = self.outputs_of_few, each(_few(dataset.train_targets), _as_label)
        for parameter in self.module.parameters():
            parameter.data = parameter.data.contiguous()  # the engine keeps them as rows
        self.variables = _variables(self.module)
        self._loss = choose_loss(config, self.module, targets, outputs)
        self._metrics = choose_metrics(config, self._loss, targets, outputs)
        self._require_fit(dataset, targets, outputs)
        self.metrics = {metric.name: metric.higher_is_better for metric in self._metrics}
        self.chance = self._chance(dataset)
        self._accuracy = next((metric for metric in self._metrics if metric.name == "accuracy"), None)
        self.counts_correct = self._counts(dataset.train_targets, outputs)
        self.output_shape = tuple(outputs.shape[1:]) if self.counts_correct else ()
        taken = {**leaves("x", dataset.train_inputs), **leaves("y", dataset.train_targets)}
        self.input_values = sum(math.prod(array.shape[1:]) for array in taken.values())

    @property
    def remarks(self) -> tuple[str, ...]:
        return (*self._loss.remarks, *(() if self._integers_stay else ("the module gets integer inputs as floats",)))

    @property
    def others(self) -> Mapping[str, Tensor]:
        trained = {variable.name for variable in self.variables}
        return {name: tensor for name, tensor in named_tensors(self.module).items() if name not in trained}

    def initial_weights(self, config: OwnConfig) -> Weights:
        """Built anew, as the config's seed says. Raises OwnCodeError where that gives other parameters than before."""
        seed = config.training.seed
        module = build_module(config, seed, again=True)
        if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters()):
            self._call(module.eval(), self.inputs(self._few))
        tensors = named_tensors(module)
        self._require_same(tensors)
        factor = 1 + config.model.perturbation
        trained = {variable.name for variable in self.variables}
        weights = {name: _copied(tensor) for name, tensor in tensors.items()}
        scaled = {name: (weights[name] * factor).astype(weights[name].dtype) for name in trained if factor != 1}
        return {**weights, **scaled, GENERATOR_SEED: np.array(seed)}

    def _require_same(self, tensors: Mapping[str, Tensor]) -> None:
        before, again = ({name: tuple(each.shape) for name, each in of.items()} for of in (named_tensors(self.module), tensors))
        if again != before:
            name = sorted(name for name, _ in before.items() ^ again.items())[0]
            told = f"{name} {before.get(name, 'missing')}, then {again.get(name, 'missing')}"
            raise OwnCodeError(f"{self._what}: built twice, it has other parameters: {told}")

    def loss(self, targets: Any, outputs: Any, reduction: str = "mean") -> Tensor:
        loss = self._loss.measure(targets, outputs)
        return loss if reduction == "mean" else loss * samples(targets)

    def correct(self, targets: Tensor, outputs: Tensor) -> Tensor:
        assert self._accuracy
        assert self._accuracy.classes
        classes = self._accuracy.classes(outputs).reshape(outputs.shape[:2])
        return classes == targets.reshape(classes.shape)

    def sums(self, targets: Any, outputs: Any) -> Tensor:
        means = [metric.measure(targets, outputs).detach().double() for metric in self._metrics]
        return torch.stack(means) * samples(targets) if means else torch.zeros(0, dtype=torch.float64)

    def results(self, means: Sequence[float]) -> dict[str, float]:
        return {metric.name: metric.finish(mean) for metric, mean in zip(self._metrics, means, strict=True)}

    def penalty(self) -> None:
        return None

    def _require_fit(self, dataset: Dataset, targets: Any, outputs: Any) -> None:
        """Let loss and metrics see some samples. Raises DatasetError where they don't fit."""
        try:
            if self._loss.name == SPARSE and self._loss.plain:
                require_classes(dataset, by_class(targets, outputs)[1].shape[-1], "module")
            loss = self._loss.measure(targets, outputs)
            self.sums(targets, outputs)
        except (ValueError, RuntimeError, IndexError) as error:
            shapes = f"outputs {_shapes(outputs)}, targets {_shapes(targets)}"
            reason = str(error).splitlines()[0]
            raise DatasetError(f"{self._loss.label} or a metric doesn't fit the module's {shapes}: {reason}") from None
        if not loss.requires_grad:
            message = "what it returns has no gradient; was it, or the module's output, detached?"
            raise OwnCodeError(f"{self._loss.label}: {message}")

    def _chance(self, dataset: Dataset) -> dict[str, float]:
        trained, evaluated = dataset.train_targets, dataset.evaluation_targets
        if not isinstance(trained, np.ndarray) or not isinstance(evaluated, np.ndarray):
            return {}
        functions = {metric.name: metric.function for metric in self._metrics}
        scores = chance_scores(self._loss.name, functions, trained, evaluated)
        return {name: score for name, score in scores.items() if self._loss.plain or name not in ("loss", "val_loss")}

    def _counts(self, targets: Arrays, outputs: Any) -> bool:
        """Whether targets are one integer class a sample, and accuracy is measured by what a sample's outputs say."""
        if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iu" or targets.size != len(targets):
            return False
        classes = self._accuracy.classes if self._accuracy else None
        return classes is not None and classes(outputs).numel() == len(outputs)


def _copied(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy())


def _few(arrays: Arrays) -> Any:
    return each(arrays, lambda array: torch.from_numpy(np.array(array[:PROBE])))


def _as_label(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() or tensor.dtype is torch.bool else tensor.long()


def _shapes(values: Any) -> str:
    tensors = leaves("", values).values()
    return ", ".join(str(tuple(each.shape)) if isinstance(each, Tensor) else type(each).__name__ for each in tensors)


def brought(config: OwnConfig, dataset: Dataset) -> Brought:
    """What a module says of itself: only what it gives. Raises ConfigError and OwnCodeError as `build_module`."""
    called = CalledModule(config, dataset)
    first = next(iter(leaves("", called.outputs_of_few).values()))
    if not isinstance(first, Tensor):
        raise returned(f"{config.model.factory}, called", first, "a tensor")
    return Brought((None, *first.shape[1:]))
