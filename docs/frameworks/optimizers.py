"""The optimizers of Keras and PyTorch: arguments, defaults, and how far apart the steps are that both take on one gradient."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frameworks.tables import refusal, table
from gradclip_cli.arrays import FloatArray
from gradclip_cli.config import optimizers
from gradclip_cli.config.frameworks import pytorch as pytorch_words
from gradclip_cli.config.optimizers import OPTIMIZER_SECTIONS, Optimizer
from gradclip_cli.engines.pytorch import place_epsilon
from gradclip_cli.engines.tensorflow import keras, tf

STEPS = 20
ENOUGH = 2e-5
EACH = 8  # elements of gradients of a kind
LARGE, SMALL = slice(0, EACH), slice(EACH, 2 * EACH)


def _gradients() -> FloatArray:
    """The gradients of all steps, (steps, 16), in float64: eight sizes from 1e-4 to 1, eight from 1e-8 to 1e-4.

    No optimizer here mixes elements. Each element changes its sign now and then.
    """
    generator = np.random.default_rng(0)
    kinds = []
    for least, largest in ((1e-4, 1.0), (1e-8, 1e-4)):
        sizes = np.geomspace(least, largest, EACH) * generator.uniform(0.5, 1, (STEPS, EACH))
        kinds.append(np.clip(sizes, least, None) * generator.choice([1, 1, 1, -1], (STEPS, EACH)))
    return np.concatenate(kinds, axis=1)


GRADIENTS = _gradients()
START = np.tile(np.linspace(-1, 1, EACH), 2)


def keras_class(name: str) -> Any:
    """A Keras optimizer by the name it has in a config."""
    return next(each for key, each in vars(keras.optimizers).items() if key.lower() == name and isinstance(each, type))


@functools.cache
def keras_updates(section: Optimizer) -> FloatArray:
    """What each step changes, in float64, so that only the formulas can differ and no rounding of weights."""
    optimizer = keras_class(section.name)(learning_rate=section.learning_rate, **section.parameters())
    variable = keras.Variable(START, dtype="float64")
    weights = [START]
    for gradient in GRADIENTS:
        optimizer.apply([tf.constant(gradient)], [variable])
        weights.append(variable.value.numpy())
    return np.diff(weights, axis=0)


def pytorch_updates(section: Optimizer, *, epsilon_placed: bool = True) -> FloatArray:
    """The same from torch.optim, by gradclip's mapping, with Adam's epsilon set before each step as gradclip's engine does."""
    name, arguments = pytorch_words.pytorch_optimizer(section)
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimizer = getattr(torch.optim, name)([parameter], **arguments)
    weights = [START]
    for step, gradient in enumerate(GRADIENTS, 1):
        if epsilon_placed:
            place_epsilon(optimizer, section.name, section.parameters(), step)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        weights.append(parameter.detach().numpy().copy())
    return np.diff(weights, axis=0)


def section_of(name: str, **changes: Any) -> Optimizer:
    """An optimizer's section with Keras's own defaults."""
    return OPTIMIZER_SECTIONS[name](**{"name": name, **optimizers.OPTIMIZERS[name], **changes})


@dataclass(frozen=True)
class Apart:
    """How far two frameworks' updates differ, at the element where they do most."""

    difference: float
    """The largest difference, over the element's largest update by Keras."""
    ratio: float
    """The largest update by PyTorch over the largest by Keras."""

    def __str__(self) -> str:
        """With one digit: more of them would not be the same on every machine."""
        if self.difference < ENOUGH:
            return f"yes, within {ENOUGH:g}"
        if self.difference < 1:
            return f"no, by up to {_one_digit(100 * self.difference)}%"
        return f"no, PyTorch's is up to {_one_digit(self.ratio)} times as long"


def _one_digit(number: float) -> str:
    return f"{float(f'{number:.1g}'):g}"


def apart(section: Optimizer, kind: slice, *, epsilon_placed: bool = True) -> Apart:
    """Compare both frameworks' updates by the same gradients, of one kind."""
    ours = keras_updates(section)[:, kind]
    theirs = pytorch_updates(section, epsilon_placed=epsilon_placed)[:, kind]
    largest = np.abs(ours).max(0)
    differences = np.abs(ours - theirs).max(0) / largest
    worst = differences.argmax()
    return Apart(float(differences[worst]), float((np.abs(theirs).max(0) / largest)[worst]))


def default(function: Any, argument: str) -> Any:
    return inspect.signature(function).parameters[argument].default


def shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def argument_pairs(name: str) -> list[tuple[str, str, Any, Any]]:
    """Keras's and PyTorch's name of each argument that gradclip maps, with their defaults."""
    counterpart = pytorch_words.OPTIMIZERS[name]
    pytorch_class, pairs = getattr(torch.optim, counterpart.name), []
    for argument, parameters in {"lr": ("learning_rate",), **counterpart.arguments}.items():
        theirs = default(pytorch_class, argument)
        values = theirs if len(parameters) > 1 else (theirs,)
        for index, (parameter, value) in enumerate(zip(parameters, values, strict=True)):
            place = f"{argument}[{index}]" if len(parameters) > 1 else argument
            pairs.append((parameter, place, default(keras_class(name), parameter), value))
    return pairs


def told_default(name: str, value: Any, other: Any) -> str:
    """A default, bold where the other framework has another."""
    text = f"{name} {shown(value)}"
    return text if (value or 0) == (other or 0) else f"**{text}**"


def optimizer_row(name: str) -> tuple[str, ...]:
    counterpart, pairs = pytorch_words.OPTIMIZERS[name], argument_pairs(name)
    pytorch_class = getattr(torch.optim, counterpart.name)
    mapped = [ours if ours == theirs else f"{ours} → {theirs}" for ours, theirs, *_ in pairs]
    mapped += [f"always {argument} = {shown(value)}" for argument, value in counterpart.fixed.items()]
    ours = [told_default(parameter, value, other) for parameter, _, value, other in pairs]
    theirs = [told_default(argument, other, value) for _, argument, value, other in pairs]
    theirs += [told_default(argument, default(pytorch_class, argument), value) for argument, value in counterpart.fixed.items()]
    same_step = str(apart(section_of(name), LARGE))
    names = (f"`{name}`", f"`torch.optim.{counterpart.name}`")
    return (*names, ", ".join(mapped), ", ".join(ours), ", ".join(theirs), same_step)


def optimizer_table() -> str:
    header = ("Keras", "PyTorch", "arguments", "Keras's defaults", "PyTorch's defaults", "same step?")
    return table(header, map(optimizer_row, pytorch_words.OPTIMIZERS))


SETTINGS_APART: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in pytorch_words.OPTIMIZERS),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"nesterov": True}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"centered": True}),
    ("adam", {"amsgrad": True}),
    ("adamw", {"weight_decay": 0.1}),
    ("nadam", {"weight_decay": 0.1}),
    ("adagrad", {"initial_accumulator_value": 0.0}),
)


def step_table() -> str:
    def row(name: str, changes: dict[str, Any], **options: bool) -> tuple[str, ...]:
        said = ", ".join(f"{key} {shown(value)}" for key, value in changes.items())
        title = f"`{name}`" + (f" {said}" if said else "") + (", epsilon left as it is" if options else "")
        return title, *(str(apart(section_of(name, **changes), kind, **options)) for kind in (LARGE, SMALL))

    rows = [row(name, changes) for name, changes in SETTINGS_APART]
    rows += [row(name, {}, epsilon_placed=False) for name in ("adam", "adamw")]
    return table(("optimizer", "gradients from 1e-4 to 1", "gradients from 1e-8 to 1e-4"), rows)


def lacking_table() -> str:
    """What gradclip refuses with PyTorch, in its own words."""
    names = sorted(set(optimizers.OPTIMIZERS) - set(pytorch_words.OPTIMIZERS))
    settings = [
        *((f"optimizer.name={name}",) for name in names),
        ("optimizer.name=adam", "optimizer.weight_decay=0.1"),
        ("model.cell=lstm", "model.activation=relu"),
        ("model.cell=gru", "model.activation=relu"),
        ("model.cell=simple_rnn", "model.activation=sigmoid"),
    ]
    rows = ((f"`{' '.join(each)}`", refusal("engine.framework=pytorch", *each)) for each in settings)
    return table(("with `engine.framework=pytorch`", "gradclip says"), rows)
