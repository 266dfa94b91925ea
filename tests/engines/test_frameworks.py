"""Keras and PyTorch side by side: every cell of docs/frameworks.md's tables, by running the calls that it names.

`python tests/engines/test_frameworks.py` writes the tables anew into the page; with `--check` it says whether they are fresh.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MAY_SKIP_PYTORCH, NO_PYTORCH, import_pytorch, rule_with

from gradclip_cli.arrays import FloatArray
from gradclip_cli.config import loading, schema
from gradclip_cli.config.frameworks import pytorch as frameworks
from gradclip_cli.config.schema import OPTIMIZER_SECTIONS, Optimizer
from gradclip_cli.engines.tensorflow import keras, tf, use_one_thread
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.clipping_rule import Situation
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.scopes import EACH_VARIABLE
from gradclip_cli.problems.article_tensorflow import RECURRENT_LAYERS
from gradclip_cli.problems.article_weights import GATES, initial_weights

pytestmark = pytest.mark.trains

if __name__ == "__main__" and not importlib.util.find_spec("torch"):
    print(f"{NO_PYTORCH}: docs/frameworks.md is neither checked nor written anew", file=sys.stderr)
    sys.exit(not ("--check" in sys.argv and MAY_SKIP_PYTORCH))  # all else can be checked without it, but not where CI is set

torch = import_pytorch()

use_one_thread()
torch.set_num_threads(1)
Arrays = list[FloatArray]
Clip = Callable[[Arrays, float], Arrays]

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


# How the two clip.

# The kernel's columns and the bias are the units; each of them is longer than the threshold of 1.
KERNEL, BIAS = np.array([[-2, 1], [0.5, -0.25], [2, 0.1]], np.float32), np.array([3, -0.5], np.float32)
UNIT_WEIGHTS = [np.full((3, 2), 3**-0.5, np.float32), np.full(2, 2**-0.5, np.float32)]  # of norm 1, each unit
SETTINGS = {"epsilon": 1e-3, "percentile": 50.0, "window": 4}
KERAS_MODES = [mode for mode, rule in RULES.items() if rule.keras_argument]
INFINITE, NOT_A_NUMBER, OVERFLOWING, ORDINARY = (np.inf, -np.inf), (np.nan,), (1e30, -1e30), (-2.0, 2.0)


def gradients_with(element: float) -> Arrays:
    """Ordinary gradients but for the kernel's first element."""
    kernel = KERNEL.copy()
    kernel[0, 0] = element
    return [kernel, BIAS.copy()]


def norm(*arrays: FloatArray) -> float:
    return math.sqrt(sum(np.square(array.astype(np.float64)).sum() for array in arrays))


@functools.cache
def seen_norms(mode: str, threshold: float) -> Mapping[str, Any]:
    """A memory of steps that all had this norm, so that their median is the threshold even after one more."""
    rule = rule_with(mode, **SETTINGS, threshold=threshold)
    memory: Any = rule.memory()
    for _ in range(SETTINGS["window"] if memory else 0):
        memory = rule.apply(Situation([np.array([threshold], np.float32)], memory=memory), np).memory
    return memory


def by_our_rule(mode: str, gradients: Sequence[Any], threshold: float, xp: Any, tensor: Callable[[Any], Any]) -> list[Any]:
    """Clip by gradclip_cli.gradients.rules, in any array namespace."""
    memory = {key: tensor(value) for key, value in seen_norms(mode, threshold).items()}
    weights = [tensor(weight) for weight in UNIT_WEIGHTS]
    rule = rule_with(mode, **SETTINGS, threshold=threshold)
    with np.errstate(all="ignore"):
        return rule.apply(Situation(gradients, [threshold] * 2, weights, memory), xp).gradients


def by_keras(mode: str, gradients: Arrays, threshold: float, *, our_rule: bool = False) -> Arrays:
    """What Keras's SGD takes from weights of zero at a learning rate of one: the gradients that it uses."""
    return keras_step(mode, [gradient.shape for gradient in gradients], threshold, our_rule=our_rule)(gradients)


def keras_step(
    mode: str, shapes: Sequence[tuple[int, ...]], threshold: float, *, our_rule: bool = False, compiled: bool = False
) -> Callable[[Arrays], Arrays]:
    """A function that takes one such step."""
    by_itself = mode in KERAS_MODES and not our_rule
    optimizer = keras.optimizers.SGD(learning_rate=1.0, **({mode: threshold} if by_itself else {}))
    variables = [keras.Variable(np.zeros(shape, np.float32)) for shape in shapes]
    optimizer.build(variables)

    def step(tensors: list[Any]) -> None:
        ours = tensors if by_itself else by_our_rule(mode, tensors, threshold, keras.ops, tf.constant)
        optimizer.apply(ours, variables)

    run = tf.function(step, jit_compile=True) if compiled else step

    def taken(gradients: Arrays) -> Arrays:
        for variable in variables:
            variable.assign(np.zeros(variable.shape, np.float32))
        run([tf.constant(gradient) for gradient in gradients])
        return [0 - variable.value.numpy() for variable in variables]

    return taken


def by_pytorch(mode: str, gradients: Arrays, threshold: float, *, our_rule: bool = False) -> Arrays:
    """What PyTorch's functions leave in `.grad`."""
    parameters = [torch.nn.Parameter(torch.zeros(gradient.shape)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    if our_rule or mode not in KERAS_MODES:
        return [each.numpy() for each in by_our_rule(mode, [p.grad for p in parameters], threshold, torch, torch.tensor)]
    if mode == "clipvalue":
        torch.nn.utils.clip_grad_value_(parameters, threshold)
    elif mode == "global_clipnorm":
        torch.nn.utils.clip_grad_norm_(parameters, threshold)
    else:
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_([parameter], threshold)
    return [parameter.grad.numpy() for parameter in parameters]


OUR_RULE = "gradclip's own rule"


@dataclass(frozen=True)
class Way:
    """A row of the clipping table."""

    mode: str
    calls: tuple[str, str] = (OUR_RULE, OUR_RULE)
    layers: bool = False

    @property
    def title(self) -> str:
        return f"`{self.mode}`{' with `layers`' if self.layers else ''}"

    @property
    def clips(self) -> tuple[Clip, Clip]:
        """Keras's way and PyTorch's."""
        return (
            functools.partial(by_keras, self.mode, our_rule=self.layers),
            functools.partial(by_pytorch, self.mode, our_rule=self.layers),
        )


def calls(mode: str) -> tuple[str, str]:
    """What a user of Keras and one of PyTorch writes for a rule."""
    rule = RULES[mode]
    if mode == "none":
        return "`SGD()`", "no call"
    if not rule.keras_argument or not rule.pytorch_function:
        return OUR_RULE, OUR_RULE
    each = rule.scope is EACH_VARIABLE
    parameters, times = ("[parameter]", " for each variable") if each else ("parameters", "")
    return f"`SGD({rule.keras_argument}=t)`", f"`{rule.pytorch_function}({parameters}, t)`{times}"


def ways() -> Iterable[Way]:
    """Rules by the frameworks' own functions first, then those of them that take `layers` with these, then all others."""
    by_function = [mode for mode in RULES if calls(mode) != (OUR_RULE, OUR_RULE)]
    yield from (Way(mode, calls(mode)) for mode in by_function)
    yield from (Way(mode, layers=True) for mode in by_function if "layers" in RULES[mode].model_fields)
    yield from (Way(mode) for mode in RULES if mode not in by_function)


WAYS = tuple(ways())
BY_MODE = {way.mode: way for way in reversed(WAYS)}

# The rest of the first element's unit, the rest of its variable, and the other variable.
SURROUNDINGS = ("unit", "variable", "others")
REACHES = ("its unit", "its variable", "everything")


def surroundings(arrays: Arrays) -> dict[str, FloatArray]:
    return {"unit": arrays[0][1:, 0], "variable": arrays[0][:, 1], "others": arrays[1]}


def same(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.allclose(one, other, rtol=1e-5, atol=0))


def fate(values: FloatArray, usual: FloatArray | None = None) -> str:
    """What became of some elements: `usual` is what the call makes of them when no element is out of the ordinary."""
    if np.isnan(values).all():
        return "NaN"
    if not values.any():
        return "0"
    return "as ever" if usual is not None and same(values, usual) else "other"


def reach_of(fates: Sequence[str]) -> int:
    """How many of the surroundings share a fate that is not the usual one; those beyond must all be as ever."""
    reach = next((index for index, each in enumerate(fates) if each == "as ever"), len(fates))
    assert set(fates[reach:]) <= {"as ever"}, fates
    assert len(set(fates[:reach])) <= 1, fates
    return reach


def told_alone(before: float, after: float, threshold: float) -> str:
    """What became of an element around which everything is as ever."""
    if np.array_equal(before, after, equal_nan=True):
        return "stays"
    assert after == math.copysign(threshold, before), (before, after)
    return "becomes the threshold with its sign"


def is_rescaled(before: Arrays, after: Arrays, length: float) -> bool:
    """Whether the arrays together point where they did, and have this length; where it is negative, the other way."""
    factor = length / norm(*before)
    return all(np.allclose(b, factor * a.astype(np.float64), rtol=1e-5, atol=1e-37) for a, b in zip(before, after, strict=True))


def told(clip: Clip, element: float, threshold: float = 1.0) -> str:
    """In words, what a call does to gradients with such an element."""
    before, usual = gradients_with(element), surroundings(clip(gradients_with(0.0), threshold))
    after = clip(before, threshold)
    around = surroundings(after)
    fates = [fate(around[name], usual[name]) for name in SURROUNDINGS]
    reach = reach_of(fates)
    if reach == 0:
        return told_alone(before[0][0, 0], after[0][0, 0], threshold)
    own, whole = fate(after[0][:1, 0]), REACHES[reach - 1]
    if fates[0] == "other":
        groups = ([array[0][:1, 0], *(surroundings(array)[name] for name in SURROUNDINGS[:reach])] for array in (before, after))
        assert is_rescaled(*groups, length=threshold), after
        return f"{whole} is rescaled to the threshold"
    if own == fates[0]:
        return f"{'everything' if whole == 'everything' else f'all of {whole}'} becomes {own}"
    assert own == "NaN", after
    return f"becomes NaN, {'everything else' if whole == 'everything' else f'the rest of {whole}'} {fates[0]}"


def told_of_all(clip: Clip, elements: Sequence[float]) -> str:
    """The same words for each of these elements."""
    (words,) = {told(clip, element) for element in elements}
    return words


def scope(clip: Clip) -> str:
    """How far it reaches that one element is ten times as large: into what is clipped together with it."""
    before, larger = gradients_with(-2.0), gradients_with(-20.0)
    one, other = clip(before, 1.0), clip(larger, 1.0)
    if all(np.array_equal(*each) for each in zip(before, one, strict=True)):
        return "nothing"
    names = ("each element", "each unit", "each variable", "all together")
    moved = [not same(surroundings(one)[name], surroundings(other)[name]) for name in SURROUNDINGS]
    assert moved == sorted(moved, reverse=True)
    return names[sum(moved)]


def side_by_side(keras_words: str, pytorch_words: str) -> str:
    return keras_words if keras_words == pytorch_words else f"Keras: {keras_words}; PyTorch: {pytorch_words}"


def clipping_table() -> str:
    header = ("rule", "Keras", "PyTorch", "scope", "an infinite element", "a NaN element", "finite, its square overflows float32")
    kinds = (INFINITE, NOT_A_NUMBER, OVERFLOWING)
    return table(
        header,
        (
            (
                way.title,
                *way.calls,
                side_by_side(*map(scope, way.clips)),
                *(side_by_side(*(told_of_all(clip, elements) for clip in way.clips)) for elements in kinds),
            )
            for way in WAYS
        ),
    )


def told_of_threshold(mode: str, clip: Clip, threshold: float) -> str:
    """What a threshold of zero or below does, to gradients above and below its absolute value."""
    (words,) = {
        _told_of_threshold(mode, clip, threshold, [factor * gradient for gradient in (KERNEL, BIAS)])
        for factor in np.array([1, 0.1], np.float32)
    }
    return words


def _told_of_threshold(mode: str, clip: Clip, threshold: float, before: Arrays) -> str:
    after = clip(before, threshold)
    if all(np.array_equal(*each) for each in zip(before, after, strict=True)):
        return "nothing is clipped"
    if not any(array.any() for array in after):
        return "everything becomes 0"
    if all((array == threshold).all() for array in after):
        return "every element becomes the threshold"
    pairs = list(zip(before, after, strict=True))
    groups = [(before, after)] if mode == "global_clipnorm" else [([b], [a]) for b, a in pairs]
    assert all(is_rescaled(b, a, threshold) for b, a in groups), after
    return "turned round and rescaled to norm -t, up or down"


def refusal(*settings: str) -> str:
    """What gradclip says of a setting."""
    with pytest.raises(ConfigError) as caught:
        loading.load("none", list(settings))
    return str(caught.value).split(": ", 1)[1]


def threshold_table() -> str:
    rows = []
    for mode in KERAS_MODES:
        keras_clip, pytorch_clip = BY_MODE[mode].clips
        for told_threshold, threshold in (("0", 0.0), ("below 0", -1.0)):
            words = [told_of_threshold(mode, clip, threshold) for clip in (keras_clip, pytorch_clip)]
            refused = refusal(f"clipping.mode={mode}", f"clipping.threshold={threshold:g}")
            rows.append((f"`{mode}`", told_threshold, *words, f"config error: {refused}"))
    return table(("rule", "t", "Keras", "PyTorch", "gradclip"), rows)


LENGTHS = ((1.0, 10.0), (1e-3, 1e-1), (1e-3, 1e-2), (1e-4, 1e-3), (1e-5, 1e-4), (1e-6, 1e-5), (1e-6, 9e-7), (1e-6, 1e-7))


def of_norm(length: float) -> Arrays:
    return [(gradient * (length / norm(KERNEL, BIAS))).astype(np.float32) for gradient in (KERNEL, BIAS)]


def clipped_norms(threshold: float, length: float) -> list[float]:
    return [norm(*clip(of_norm(length), threshold)) for clip in BY_MODE["global_clipnorm"].clips]


def norm_table() -> str:
    rows = ((t, length, *clipped_norms(t, length)) for t, length in LENGTHS)
    return table(("t", "norm before", "after, Keras", "after, PyTorch"), ([f"{number:.5g}" for number in row] for row in rows))


# Optimizers.

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


def pytorch_updates(section: Optimizer, *, place_epsilon: bool = True) -> FloatArray:
    """The same from torch.optim, by gradclip's mapping, with Adam's epsilon set before each step as gradclip does."""
    name, arguments = frameworks.pytorch_optimizer(section)
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimizer = getattr(torch.optim, name)([parameter], **arguments)
    weights = [START]
    for step, gradient in enumerate(GRADIENTS, 1):
        if place_epsilon and section.name in ("adam", "adamw"):
            optimizer.param_groups[0]["eps"] = section.epsilon / math.sqrt(1 - section.beta_2**step)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        weights.append(parameter.detach().numpy().copy())
    return np.diff(weights, axis=0)


def section_of(name: str, **changes: Any) -> Optimizer:
    """An optimizer's section with Keras's own defaults."""
    return OPTIMIZER_SECTIONS[name](**{"name": name, **schema.OPTIMIZERS[name], **changes})


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


def apart(section: Optimizer, kind: slice, *, place_epsilon: bool = True) -> Apart:
    """Compare both frameworks' updates by the same gradients, of one kind."""
    ours = keras_updates(section)[:, kind]
    theirs = pytorch_updates(section, place_epsilon=place_epsilon)[:, kind]
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
    counterpart = frameworks.OPTIMIZERS[name]
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
    counterpart, pairs = frameworks.OPTIMIZERS[name], argument_pairs(name)
    pytorch_class = getattr(torch.optim, counterpart.name)
    mapped = [ours if ours == theirs else f"{ours} → {theirs}" for ours, theirs, *_ in pairs]
    mapped += [f"always {argument} = {shown(value)}" for argument, value in counterpart.fixed.items()]
    ours = [told_default(parameter, value, other) for parameter, _, value, other in pairs]
    theirs = [told_default(argument, other, value) for _, argument, value, other in pairs]
    theirs += [told_default(argument, default(pytorch_class, argument), value) for argument, value in counterpart.fixed.items()]
    same_step = str(apart(section_of(name), LARGE))
    return (
        f"`{name}`", f"`torch.optim.{counterpart.name}`", ", ".join(mapped), ", ".join(ours), ", ".join(theirs), same_step
    )  # fmt: skip


def optimizer_table() -> str:
    header = ("Keras", "PyTorch", "arguments", "Keras's defaults", "PyTorch's defaults", "same step?")
    return table(header, map(optimizer_row, frameworks.OPTIMIZERS))


SETTINGS_APART: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in frameworks.OPTIMIZERS),
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
    rows += [row(name, {}, place_epsilon=False) for name in ("adam", "adamw")]
    return table(("optimizer", "gradients from 1e-4 to 1", "gradients from 1e-8 to 1e-4"), rows)


def lacking_table() -> str:
    """What gradclip refuses with PyTorch, in its own words."""
    names = sorted(set(schema.OPTIMIZERS) - set(frameworks.OPTIMIZERS))
    settings = [
        *((f"optimizer.name={name}",) for name in names),
        ("optimizer.name=adam", "optimizer.weight_decay=0.1"),
        ("model.cell=lstm", "model.activation=relu"),
        ("model.cell=gru", "model.activation=relu"),
        ("model.cell=simple_rnn", "model.activation=sigmoid"),
    ]
    rows = ((f"`{' '.join(each)}`", refusal("engine.framework=pytorch", *each)) for each in settings)
    return table(("with `engine.framework=pytorch`", "gradclip says"), rows)


# Models.

UNITS, FEATURES, TIME_STEPS = 3, 2, 4
KERAS_GATES = {"lstm": "i f c o", "gru": "z r h", "simple_rnn": "h"}
PYTORCH_LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}


def keras_layer(cell: str) -> Any:
    """A layer with weights drawn at random, biases too."""
    layer = RECURRENT_LAYERS[cell](UNITS, return_sequences=True)
    layer.build((None, TIME_STEPS, FEATURES))
    generator = np.random.default_rng(0)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def pytorch_layer(cell: str, weights: Arrays, order: Sequence[int]) -> Any:
    """A PyTorch layer that takes Keras's weights: kernels transposed, gates in this order."""
    layer = PYTORCH_LAYERS[cell](FEATURES, UNITS, batch_first=True)
    kernel, recurrent, bias = (
        np.concatenate([np.split(weight, len(order), axis=-1)[gate] for gate in order], axis=-1) for weight in weights
    )
    first, second = bias if bias.ndim > 1 else (bias, np.zeros_like(bias))
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (kernel.T, recurrent.T, first, second), strict=True):
            parameter.copy_(torch.tensor(value))
    return layer


@functools.cache
def gate_order(cell: str) -> tuple[int, ...]:
    """The one order of Keras's gates in which PyTorch computes what Keras does."""
    inputs = np.random.default_rng(1).normal(size=(2, TIME_STEPS, FEATURES)).astype(np.float32)
    ours = keras_layer(cell)
    expected, weights = np.array(ours(inputs)), ours.get_weights()

    def agrees(order: tuple[int, ...]) -> bool:
        outputs, _ = pytorch_layer(cell, weights, order)(torch.tensor(inputs))
        return np.allclose(outputs.detach().numpy(), expected, atol=1e-5)

    (found,) = filter(agrees, itertools.permutations(range(GATES[cell])))
    return found


def told_shape(shape: Sequence[int]) -> str:
    """A bias's shape, where u is the number of units."""
    *leading, width = shape
    return f"({', '.join([*map(str, leading), f'{width // UNITS}u' if width > UNITS else 'u'])})"


def model_table() -> str:
    rows = []
    for cell, letters in KERAS_GATES.items():
        order, layer = gate_order(cell), PYTORCH_LAYERS[cell](FEATURES, UNITS)
        weights, names = keras_layer(cell).get_weights(), letters.split()
        biases = (
            f"{name.removesuffix('_l0')} {told_shape(value.shape)}" for name, value in layer.named_parameters() if "bias" in name
        )
        rows.append(
            (
                f"`{cell}`",
                f"`torch.nn.{type(layer).__name__}`",
                letters,
                " ".join(names[gate] for gate in order),
                f"bias {told_shape(weights[-1].shape)}",
                ", ".join(biases),
                ", ".join(frameworks.ACTIVATIONS[cell]),
            )
        )
    header = (
        "cell",
        "PyTorch",
        "Keras's gates",
        "PyTorch's gates",
        "Keras's bias",
        "PyTorch's biases",
        "activation with PyTorch",
    )
    return table(header, rows)


TABLES: dict[str, Callable[[], str]] = {
    "clipping": clipping_table,
    "thresholds": threshold_table,
    "norms": norm_table,
    "optimizers": optimizer_table,
    "steps": step_table,
    "lacking": lacking_table,
    "models": model_table,
}


def marked(name: str, content: str) -> str:
    return f"<!-- {name} -->\n\n{content}\n\n<!-- end -->"


def written_anew(page: str) -> str:
    """The page with each table anew between its marks."""
    for name, build in TABLES.items():
        page, places = re.subn(f"<!-- {name} -->.*?<!-- end -->", lambda _: marked(name, build()), page, flags=re.DOTALL)  # noqa: B023
        assert places == 1, f"{PAGE.name} has {places} places for the table {name}"
    return page


def write_or_check(arguments: Sequence[str]) -> int:
    """Write the page anew, or with `--check` say whether that would change it; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = written_anew(page)
    if arguments == ["--check"]:
        print(f"{PAGE.name} is {'fresh' if page == fresh else 'stale: make docs writes its tables anew'}", file=sys.stderr)
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


@pytest.mark.parametrize("name", TABLES)
def test_page_tells_what_the_frameworks_do(name: str) -> None:
    expected = marked(name, TABLES[name]())
    assert expected in PAGE.read_text(encoding="utf-8"), (
        f"the table {name} of {PAGE.name} is stale; `python tests/engines/test_frameworks.py` writes it; now it is\n{expected}"
    )


def test_page_has_no_other_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- (\w+) -->", page) == [mark for name in TABLES for mark in (name, "end")]
    assert not re.search(r"^\|", re.sub(r"<!-- \w+ -->.*?<!-- end -->", "", page, flags=re.DOTALL), flags=re.MULTILINE)


def test_files_that_the_page_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def altered(place: tuple[int, ...], value: float) -> Clip:
    """Keras's clipnorm, but for one element of the kernel."""

    def clip(gradients: Arrays, threshold: float) -> Arrays:
        kernel, bias = by_keras("clipnorm", gradients, threshold)
        kernel[place] = value if not np.isfinite(gradients[0]).all() else kernel[place]
        return [kernel, bias]

    return clip


@pytest.mark.parametrize(("place", "value"), [((0, 0), 1.0), ((2, 0), 0.5), ((1, 1), np.nan), ((2, 1), 1e-3)])
def test_what_has_no_words_is_not_told(place: tuple[int, ...], value: float) -> None:
    """One element that differs from what a cell says is noticed."""
    assert told(BY_MODE["clipnorm"].clips[0], np.inf) == "becomes NaN, the rest of its variable 0"
    with pytest.raises(AssertionError):
        told(altered(place, value), np.inf)


# The most important facts, in code.


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_scopes_are_those_of_the_rules(way: Way) -> None:
    assert [scope(clip) for clip in way.clips] == [RULES[way.mode].scope.name] * 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_frameworks_and_rules_agree_on_ordinary_gradients(way: Way, seed: int) -> None:
    """Within 1e-6, and for PyTorch's norms within what it adds to them."""
    generator = np.random.default_rng(seed)
    gradients = [(generator.normal(size=array.shape) * 10.0 ** (seed - 1)).astype(np.float32) for array in (KERNEL, BIAS)]
    shortest = min(map(norm, gradients))
    for threshold in (0.01, 1.0):
        expected = by_our_rule(way.mode, gradients, threshold, np, np.asarray)
        for clip, slack in zip(way.clips, (0, 1e-6 / shortest), strict=True):
            for array, other in zip(clip(gradients, threshold), expected, strict=True):
                np.testing.assert_allclose(array, other, rtol=1e-6 + slack)


@pytest.mark.parametrize("mode", KERAS_MODES)
def test_compiled_keras_clips_as_it_does_step_by_step(mode: str) -> None:
    """The engine compiles with XLA, whose maximum of a number and NaN need not be NaN."""
    shapes = [KERNEL.shape, BIAS.shape]
    by_step, compiled = keras_step(mode, shapes, 1.0), keras_step(mode, shapes, 1.0, compiled=True)
    for element in (*INFINITE, *NOT_A_NUMBER, *OVERFLOWING, *ORDINARY):
        for one, other in zip(by_step(gradients_with(element)), compiled(gradients_with(element)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_clipnorm_is_per_variable_and_clip_grad_norm_joint() -> None:
    gradients = [np.array([[3.0]], np.float32), np.array([4.0], np.float32)]
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in by_keras("clipnorm", gradients, 1.0)]), [1, 1], rtol=1e-6)
    for joint in (by_keras, by_pytorch):
        clipped = np.concatenate([g.ravel() for g in joint("global_clipnorm", gradients, 1.0)])
        np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("clip", [by_keras, by_pytorch])
def test_infinite_elements_become_the_threshold_under_clipvalue(clip: Callable[..., Arrays]) -> None:
    for infinite in INFINITE:
        kernel, bias = clip("clipvalue", gradients_with(infinite), 1.0)
        np.testing.assert_array_equal(kernel, np.clip(gradients_with(infinite)[0], -1, 1))
        np.testing.assert_array_equal(bias, [1, -0.5])
        assert abs(kernel[0, 0]) == 1


@pytest.mark.parametrize("clip", [by_keras, by_pytorch])
def test_nan_makes_everything_nan_under_the_joint_norm(clip: Callable[..., Arrays]) -> None:
    assert all(np.isnan(array).all() for array in clip("global_clipnorm", gradients_with(np.nan), 1.0))


def test_infinite_element_under_the_joint_norm() -> None:
    assert all(np.isnan(array).all() for array in by_keras("global_clipnorm", gradients_with(np.inf), 1.0))
    kernel, bias = by_pytorch("global_clipnorm", gradients_with(np.inf), 1.0)
    assert np.isnan(kernel).sum() == 1
    assert np.isnan(kernel[0, 0])
    assert not np.nan_to_num(kernel).any()
    assert not bias.any()


@pytest.mark.parametrize("shape", [(3, 2), (64, 200)])
def test_overflow_of_the_squared_norm(shape: tuple[int, int]) -> None:
    """Also of large variables, which frameworks sum up in another way."""
    gradients = [np.full(shape, 1e25, np.float32), BIAS]
    for clip in (by_keras, by_pytorch):
        kernel, bias = clip("clipnorm", gradients, 1.0)
        assert not kernel.any()
        assert norm(bias) == pytest.approx(1)
    assert all(np.isnan(array).all() for array in by_keras("global_clipnorm", gradients, 1.0))
    assert not any(array.any() for array in by_pytorch("global_clipnorm", gradients, 1.0))
    for clip in (by_keras, by_pytorch):
        assert norm(clip("clipnorm", gradients_with(1e30), 1.0, our_rule=True)[0]) == pytest.approx(1)


@pytest.mark.parametrize(("threshold", "length"), LENGTHS)
def test_clip_grad_norm_divides_by_the_norm_plus_1e_6(threshold: float, length: float) -> None:
    keras_norm, pytorch_norm = clipped_norms(threshold, length)
    assert keras_norm == pytest.approx(min(threshold, length), rel=1e-6)
    assert pytorch_norm == pytest.approx(length * min(1, threshold / (length + 1e-6)), rel=1e-6)


def test_negative_max_norm_turns_the_gradient_round() -> None:
    kernel, bias = by_pytorch("global_clipnorm", [KERNEL, BIAS], -1.0)
    factor = -1 / norm(KERNEL, BIAS)
    np.testing.assert_allclose(kernel, factor * KERNEL, rtol=1e-5)
    np.testing.assert_allclose(bias, factor * BIAS, rtol=1e-5)


@pytest.mark.parametrize(("name", "changes"), SETTINGS_APART)
def test_what_maps_to_the_same_optimizer(name: str, changes: dict[str, Any]) -> None:
    """All but RMSprop take Keras's step."""
    assert (apart(section_of(name, **changes), LARGE).difference < ENOUGH) != (name == "rmsprop")


@pytest.mark.parametrize("name", ["rmsprop", "adagrad", "adamax", "adam", "adamw"])
def test_step_is_the_same_where_epsilon_does_not_count(name: str) -> None:
    """So it is epsilon alone that keeps them apart."""
    start = {"initial_accumulator_value": 0.0} if name == "adagrad" else {}
    assert apart(section_of(name, epsilon=1e-30, **start), LARGE).difference < ENOUGH


def test_without_its_epsilon_moved_adam_differs() -> None:
    assert apart(section_of("adam"), LARGE, place_epsilon=False).difference > 0.01


def test_defaults_of_configs_are_those_of_keras() -> None:
    for name in frameworks.OPTIMIZERS:
        for parameter, value in schema.OPTIMIZERS[name].items():
            assert default(keras_class(name), parameter) == value, (name, parameter)


@pytest.mark.parametrize(("cell", "order"), [("lstm", (0, 1, 2, 3)), ("gru", (1, 0, 2)), ("simple_rnn", (0,))])
def test_order_of_gates(cell: str, order: tuple[int, ...]) -> None:
    assert gate_order(cell) == order


@pytest.mark.parametrize("cell", sorted(PYTORCH_LAYERS))
def test_second_bias_has_a_gradient_of_its_own_only_in_a_gru(cell: str) -> None:
    layer = pytorch_layer(cell, keras_layer(cell).get_weights(), gate_order(cell))
    outputs, _ = layer(torch.ones(2, TIME_STEPS, FEATURES))
    outputs.sum().backward()
    twins = torch.allclose(layer.bias_ih_l0.grad, layer.bias_hh_l0.grad)
    assert twins == (cell != "gru")


def test_forget_bias_of_one_is_keras_and_gradclip_but_not_pytorch() -> None:
    layer = RECURRENT_LAYERS["lstm"](UNITS)
    layer.build((None, TIME_STEPS, FEATURES))
    ours = initial_weights(schema.Model(units=UNITS), features=FEATURES, classes=10, seed=0)["lstm/bias"]
    np.testing.assert_array_equal(layer.get_weights()[-1], ours)
    assert ours.tolist() == [0] * UNITS + [1] * UNITS + [0] * (2 * UNITS)
    assert torch.nn.LSTM(FEATURES, UNITS).bias_ih_l0.abs().max() < UNITS**-0.5


def decayed_apart(name: str, switch: Mapping[str, bool] = {}, **arguments: Any) -> bool:
    """Whether torch.optim's weight_decay does what Keras's does."""
    ours = keras_updates(section_of(name, weight_decay=0.1, **arguments))
    pytorch_class = getattr(torch.optim, frameworks.OPTIMIZERS[name].name)
    _, mapped = frameworks.pytorch_optimizer(section_of(name, **arguments))
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimizer = pytorch_class([parameter], **{**mapped, **switch, "weight_decay": 0.1})
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return bool(np.allclose(START + ours.sum(0), parameter.detach().numpy(), rtol=0, atol=1e-5))


def test_weight_decay_is_apart_from_the_gradient_in_keras_and_in_adamw() -> None:
    """NAdam has a switch for it, which we set. Plain SGD keeps nothing of earlier gradients: there the two are one."""
    assert decayed_apart("adamw", epsilon=1e-30)
    assert decayed_apart("sgd")
    assert decayed_apart("nadam")
    assert not decayed_apart("nadam", {"decoupled_weight_decay": False})
    assert not decayed_apart("sgd", momentum=0.9)
    assert not decayed_apart("adam", epsilon=1e-30)


def test_a_stale_page_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One table stands for all: the others cost seconds, and each has its own test."""
    page = tmp_path / "frameworks.md"
    monkeypatch.setitem(globals(), "PAGE", page)
    monkeypatch.setitem(globals(), "TABLES", {"lacking": lacking_table})
    page.write_text("before\n<!-- lacking -->\n\nstale\n\n<!-- end -->\nafter\n")
    assert write_or_check(["--check"]) == 1
    assert "stale: make docs" in capsys.readouterr().err
    assert write_or_check([]) == 0
    assert write_or_check(["--check"]) == 0
    assert page.read_text() == f"before\n{marked('lacking', lacking_table())}\nafter\n"


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:]))
