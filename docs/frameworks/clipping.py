"""How Keras and PyTorch clip: each rule's scope, what becomes of gradients out of the ordinary, odd thresholds, what is left."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frameworks.tables import refusal, table
from gradclip_cli.arrays import FloatArray
from gradclip_cli.engines.tensorflow import keras, tf
from gradclip_cli.gradients.clipping_rule import ClippingRule, Situation
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.scopes import EACH_VARIABLE

Arrays = list[FloatArray]
Clip = Callable[[Arrays, float], Arrays]

# The kernel's columns and the bias are the units; each of them is longer than the threshold of 1.
KERNEL, BIAS = np.array([[-2, 1], [0.5, -0.25], [2, 0.1]], np.float32), np.array([3, -0.5], np.float32)
UNIT_WEIGHTS = [np.full((3, 2), 3**-0.5, np.float32), np.full(2, 2**-0.5, np.float32)]  # of norm 1, each unit
SETTINGS = {"epsilon": 1e-3, "percentile": 50.0, "window": 4, "multiple": 1.0, "warmup": 3}
KERAS_MODES = [mode for mode, rule in RULES.items() if rule.keras_argument]
OUR_RULE = "gradclip's own rule"
INFINITE, NOT_A_NUMBER, OVERFLOWING, ORDINARY = (np.inf, -np.inf), (np.nan,), (1e30, -1e30), (-2.0, 2.0)


def gradients_with(element: float) -> Arrays:
    """Ordinary gradients but for the kernel's first element."""
    kernel = KERNEL.copy()
    kernel[0, 0] = element
    return [kernel, BIAS.copy()]


def norm(*arrays: FloatArray) -> float:
    return math.sqrt(sum(np.square(array.astype(np.float64)).sum() for array in arrays))


def rule_for(mode: str, threshold: float) -> ClippingRule:
    """A rule with this threshold, and the settings above."""
    settings = {**SETTINGS, "threshold": threshold, "warmup_threshold": 2 * threshold}
    return RULES[mode].model_validate({key: value for key, value in settings.items() if key in RULES[mode].model_fields})


@functools.cache
def seen_norms(mode: str, threshold: float) -> Mapping[str, Any]:
    """A memory of steps that all had this norm, jointly or each variable, so that it is the threshold even after one more."""
    rule = rule_for(mode, threshold)
    memory: Any = rule.memory(2)
    norms = (threshold, threshold if rule.scope is EACH_VARIABLE else 0)
    for _ in range(SETTINGS["window"] if memory else 0):
        with np.errstate(invalid="ignore"):  # of bounds that are not there yet
            memory = rule.apply(Situation([np.array([norm], np.float32) for norm in norms], memory=memory), np).memory
    return memory


def by_our_rule(mode: str, gradients: Sequence[Any], threshold: float, xp: Any, tensor: Callable[[Any], Any]) -> list[Any]:
    """Clip by gradclip_cli.gradients.rules, in any array namespace."""
    memory = {key: tensor(value) for key, value in seen_norms(mode, threshold).items()}
    weights = [tensor(weight) for weight in UNIT_WEIGHTS]
    with np.errstate(all="ignore"):
        return rule_for(mode, threshold).apply(Situation(gradients, [threshold] * 2, weights, memory), xp).gradients


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
    if not any(array.any() for array in one):  # The step is left out: how far it reaches that one element is large at all.
        one = clip([array / 100 for array in before], 1.0)
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
