"""Gradient clipping rules: what each one means, independent of any framework.

A rule maps one step's gradients (a list of V arrays of any shapes) to the gradients that the optimizer uses. It is
written over an array namespace (`numpy`, `keras.ops`, `torch`), so that the same lines are formula, reference and check.

| mode | bound | formula | scope |
|---|---|---|---|
| none | - | g | - |
| clipvalue | each element within [-t, t] | min(max(g, -t), t) | each element |
| clipnorm | norm of each variable's gradient at most t | g * t / max(norm(g), t) | each variable |
| global_clipnorm | norm of all gradients together at most t | g * t / max(norm(all), t) | all together |
| normalize | norm of all gradients together equal to t | g * t / norm(all) | all together |
| agc | norm of each unit's gradient at most t * max(norm(its weights), epsilon) | as clipnorm, by unit | each unit |
| autoclip | joint norm at most the p-th percentile of the norms of this and earlier steps | as global_clipnorm | all together |

Norms are L2. A unit is a column of a kernel, or a whole bias. What each rule does to gradients that are not finite:

| mode | an infinite element | a NaN element |
|---|---|---|
| none | stays | stays |
| clipvalue | becomes the threshold with its sign: the explosion is hidden from the weights | stays, alone |
| clipnorm, agc | becomes NaN, the rest of its variable (agc: unit) 0 | its variable (agc: unit) becomes NaN |
| global_clipnorm, normalize, autoclip | becomes NaN, everything else 0 | everything becomes NaN |

Keras's own clipnorm and global_clipnorm differ in two places: Keras's global_clipnorm turns everything into NaN for an
infinite element too, and where a squared norm of finite gradients overflows float32, its clipnorm gives 0 and its
global_clipnorm NaN, while the rules here keep to their formula. No rule with memory learns from a norm that is not finite.

Sources: Mikolov 2012, "Statistical language models based on neural networks" (by value); Pascanu, Mikolov and Bengio 2013, "On
the difficulty of training recurrent neural networks" (by norm); Hazan, Levy and Shalev-Shwartz 2015, "Beyond convexity:
stochastic quasi-convex optimization" (normalized gradients); Brock, De, Smith and Simonyan 2021, "High-performance large-scale
image recognition without normalization" (agc); Seetharaman, Wichern, Pardo and Le Roux 2020, "AutoClip: adaptive gradient
clipping for source separation networks" (autoclip); Keras's `clipvalue`, `clipnorm` and `global_clipnorm` (names, scopes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from gradclip_cli.arrays import FloatArray

Gradients = Sequence[Any]
Memory = Mapping[str, Any]


@dataclass(frozen=True)
class Situation:
    """What a rule may look at on one step, for V variables."""

    gradients: Gradients
    thresholds: Sequence[float] = ()
    """(V,) bound of each variable, infinite where it has none; a joint rule takes the first."""
    weights: Gradients = ()
    """(V,) the variables' values before the update."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Further parameters, by their names in a config."""
    memory: Memory = field(default_factory=dict)
    """What the rule kept from earlier steps."""


@dataclass(frozen=True)
class Clipped:
    """What a rule makes of a step: `excess` is how many times its bound the gradient was, where only the rule knows."""

    gradients: list[Any]
    excess: Any = None
    memory: Memory = field(default_factory=dict)


def unclipped(gradients: Gradients) -> list[Any]:
    """Return the gradients as they are."""
    return list(gradients)


def clip_by_value(gradients: Gradients, thresholds: Sequence[float], xp: Any) -> list[Any]:
    """Cut every element to [-threshold, threshold]. This changes the gradient's direction."""
    return [xp.clip(gradient, -threshold, threshold) for gradient, threshold in zip(gradients, thresholds, strict=True)]


def clip_by_norm(gradients: Gradients, thresholds: Sequence[float], xp: Any) -> list[Any]:
    """Rescale each variable's gradient to norm `threshold` where it is longer. Each keeps its own direction."""
    pairs = zip(gradients, thresholds, strict=True)
    return [_shortened([gradient], threshold, _Length([gradient], xp), xp)[0] for gradient, threshold in pairs]


def clip_by_global_norm(gradients: Gradients, threshold: Any, xp: Any) -> list[Any]:
    """Rescale all gradients by one factor where their joint norm exceeds `threshold`. The direction is kept."""
    return _shortened(gradients, threshold, _Length(gradients, xp), xp)


def normalize(gradients: Gradients, threshold: float, xp: Any) -> list[Any]:
    """Rescale all gradients by one factor to joint norm `threshold`, up as well as down. Zero gradients stay zero."""
    length = _Length(gradients, xp)
    factor = threshold / xp.where(length.of_units == 0, xp.ones_like(length.of_units), length.of_units)
    return [unit * factor for unit in length.units]


def clip_adaptively(
    gradients: Gradients, weights: Gradients, thresholds: Sequence[float], epsilon: float, xp: Any
) -> tuple[list[Any], Any]:
    """Rescale each unit's gradient to `threshold` times the norm of its weights (at least `epsilon`) where it is longer.

    Returns the gradients and the largest gradient norm of a unit over its bound.
    """
    clipped, excesses = [], []
    for gradient, weight, threshold in zip(gradients, weights, thresholds, strict=True):
        axis = None if len(gradient.shape) < 2 else 0
        length, bound = _Length([gradient], xp, axis), xp.clip(_Length([weight], xp, axis).norm, epsilon, np.inf) * threshold
        clipped += _shortened([gradient], bound, length, xp)
        excesses.append(xp.amax(length.norm / bound))
    return clipped, xp.amax(xp.stack(excesses))


def clip_by_percentile(gradients: Gradients, memory: Memory, percentile: float, xp: Any) -> tuple[list[Any], Any, Memory]:
    """Rescale all gradients to the percentile of the joint norms kept in `memory`, this step's among them.

    Returns the gradients, the joint norm over that percentile, and the memory with this step.
    """
    norm = _Length(gradients, xp).norm
    memory = _remembered(memory, norm, xp)
    threshold = _percentile(memory, percentile, xp)
    excess = norm / xp.where(threshold > 0, threshold, xp.ones_like(threshold))
    return clip_by_global_norm(gradients, threshold, xp), excess, memory


def percentile_memory(window: int) -> dict[str, np.ndarray[Any, Any]]:
    """An empty memory of the last `window` norms: in order of arrival, sorted (infinite where empty), and their count."""
    return {
        "recent": np.full(window, np.inf, np.float32),
        "sorted": np.full(window, np.inf, np.float32),
        "count": np.zeros((), np.int32),
    }


def _remembered(memory: Memory, norm: Any, xp: Any) -> Memory:
    """Put a norm in the oldest one's place, in as many operations as the window is long: no sort. Not if it isn't finite."""
    recent, ordered, count = memory["recent"], memory["sorted"], memory["count"]
    places = xp.arange(recent.shape[0])
    slot = count % recent.shape[0]
    # Close the gap that the oldest leaves, then open one for the new norm.
    # (XLA would compile a plain recent[slot] anew for each slot.)
    oldest = xp.amin(xp.where(places == slot, recent, xp.full_like(recent, np.inf)))
    gap = xp.count_nonzero(ordered < oldest)
    following = xp.concatenate([ordered[1:], xp.full_like(ordered[:1], np.inf)])
    closed = xp.where(places < gap, ordered, following)
    place = xp.count_nonzero(closed < norm)
    preceding = xp.concatenate([closed[:1], closed[:-1]])
    opened = xp.where(places < place, closed, xp.where(places == place, norm, preceding))
    keep = xp.isfinite(norm)
    return {
        "recent": xp.where(xp.logical_and(keep, places == slot), norm, recent),
        "sorted": xp.where(keep, opened, ordered),
        "count": xp.where(keep, count + 1, count),
    }


def _percentile(memory: Memory, percentile: float, xp: Any) -> Any:
    """The percentile of the norms in a memory, interpolated as `numpy.percentile` does; infinite where it is empty."""
    ordered = memory["sorted"]
    last = xp.clip(memory["count"] - 1, 0, ordered.shape[0] - 1)
    position = xp.multiply(last, percentile / 100)
    share = xp.clip(1 - xp.abs(xp.subtract(xp.arange(ordered.shape[0]), position)), 0, 1)
    return xp.sum(share * xp.where(share > 0, ordered, xp.zeros_like(ordered)))


class _Length:
    """The L2 norm of some arrays together (along `axis`, for each unit), taken of units so that no square over- or underflows."""

    def __init__(self, arrays: Gradients, xp: Any, axis: int | None = None) -> None:
        largest = [xp.amax(xp.abs(array), axis=axis, keepdims=axis is not None) for array in arrays]
        together = largest[0] if len(largest) == 1 else xp.amax(xp.stack(largest))
        usable = xp.logical_and(together > 0, xp.isfinite(together))
        self.scale = xp.where(usable, together, xp.ones_like(together))
        self.units = [array / self.scale for array in arrays]
        squares = [xp.sum(xp.square(unit), axis=axis, keepdims=axis is not None) for unit in self.units]
        self.of_units = xp.sqrt(sum(squares[1:], squares[0]))

    @property
    def norm(self) -> Any:
        return self.scale * self.of_units


def _shortened(gradients: Gradients, bound: Any, length: _Length, xp: Any) -> list[Any]:
    """Rescale to `bound` what is longer; what is within it stays as it is, to the bit. NaN fills all that it was summed with."""
    within = length.of_units <= bound / length.scale
    factor = bound / xp.where(within, xp.ones_like(length.of_units), length.of_units)
    return [xp.where(within, gradient, unit * factor) for gradient, unit in zip(gradients, length.units, strict=True)]


def joint_norm(norm: FloatArray) -> FloatArray:
    """Norm of all variables together, (..., 1), from the norms of each, (..., V)."""
    return np.asarray(np.linalg.norm(norm, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Rule:
    """One way to clip.

    `apply(situation, xp)` is the rule itself. `measure(norm, max_abs)` takes the per-variable norms and largest absolute
    elements of S steps, both (S, V), and returns the quantity that the threshold bounds: (S, V), or (S, 1) where it is
    joint; it is None where the bound depends on more than these. `scope` names what each threshold is held against;
    `memory(settings)` gives what the rule remembers before the first step.
    """

    apply: Callable[[Situation, Any], Clipped]
    scope: str
    measure: Callable[[FloatArray, FloatArray], FloatArray] | None = None
    memory: Callable[[Mapping[str, Any]], dict[str, np.ndarray[Any, Any]]] = lambda settings: {}

    def excess(self, norm: FloatArray, max_abs: FloatArray, thresholds: Sequence[float]) -> FloatArray:
        """How many times its bound the gradient of each of S steps was, at most, (S,): above 1 the rule acts.

        Not to be asked where `measure` is None. NaN where nothing but NaN was measured.
        """
        assert self.measure is not None
        measured = self.measure(norm, max_abs)
        with np.errstate(invalid="ignore"):  # an infinite norm without a bound
            return np.asarray(np.fmax.reduce(measured / np.asarray(thresholds)[: measured.shape[-1]], axis=-1))


def _by_norm(norm: FloatArray, max_abs: FloatArray) -> FloatArray:
    return norm


def _by_element(norm: FloatArray, max_abs: FloatArray) -> FloatArray:
    return max_abs


def _by_joint_norm(norm: FloatArray, max_abs: FloatArray) -> FloatArray:
    return joint_norm(norm)


def _apply_agc(now: Situation, xp: Any) -> Clipped:
    return Clipped(*clip_adaptively(now.gradients, now.weights, now.thresholds, now.settings["epsilon"], xp))


def _apply_autoclip(now: Situation, xp: Any) -> Clipped:
    return Clipped(*clip_by_percentile(now.gradients, now.memory, now.settings["percentile"], xp))


def bounds(mode: str, threshold: float | None, layers: Mapping[str, float | None]) -> dict[str, float]:
    """What a rule's thresholds bound, with their values, where a recorded norm or element can be held against them.

    `layers` holds thresholds of single layers. Nothing where the bound depends on more than gradients, as agc's on the weights.
    """
    rule = RULES[mode]
    if threshold is None or rule.measure is None:
        return {}
    return {rule.scope: threshold, **{f"{rule.scope} of {name}": value for name, value in layers.items() if value is not None}}


EACH_ELEMENT, EACH_VARIABLE, EACH_UNIT, ALL_TOGETHER = "each element", "each variable", "each unit", "all together"

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "none": Rule(lambda now, xp: Clipped(unclipped(now.gradients)), "nothing", _by_norm),
        "clipvalue": Rule(lambda now, xp: Clipped(clip_by_value(now.gradients, now.thresholds, xp)), EACH_ELEMENT, _by_element),
        "clipnorm": Rule(lambda now, xp: Clipped(clip_by_norm(now.gradients, now.thresholds, xp)), EACH_VARIABLE, _by_norm),
        "global_clipnorm": Rule(
            lambda now, xp: Clipped(clip_by_global_norm(now.gradients, now.thresholds[0], xp)), ALL_TOGETHER, _by_joint_norm
        ),
        "normalize": Rule(lambda now, xp: Clipped(normalize(now.gradients, now.thresholds[0], xp)), ALL_TOGETHER, _by_joint_norm),
        "agc": Rule(_apply_agc, EACH_UNIT),
        "autoclip": Rule(_apply_autoclip, ALL_TOGETHER, memory=lambda settings: percentile_memory(settings["window"])),
    }
)
