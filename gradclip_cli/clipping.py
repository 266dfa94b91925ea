"""Gradient clipping rules: what each one means, independent of any framework.

A rule maps one step's gradients (a list of V arrays of any shapes) to the gradients that the optimizer uses. It is
written over an array namespace (`numpy`, `keras.ops`), so that the same lines are formula, reference and check.

| mode | bound | formula | scope |
|---|---|---|---|
| none | - | g | - |
| clipvalue | each element within [-t, t] | min(max(g, -t), t) | element |
| clipnorm | norm of each variable's gradient at most t | g * t / max(norm(g), t) | variable |
| global_clipnorm | norm of all gradients together at most t | g * t / max(norm(all), t) | joint |

Norms are L2. Sources: Mikolov 2012, "Statistical language models based on neural networks" (by value); Pascanu,
Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks" (by norm); Keras's
`clipvalue`, `clipnorm` and `global_clipnorm` optimizer arguments (names and scopes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
Gradients = Sequence[Any]


def unclipped(gradients: Gradients, threshold: float, xp: Any) -> list[Any]:
    """Return the gradients as they are; the threshold is ignored."""
    return list(gradients)


def clip_by_value(gradients: Gradients, threshold: float, xp: Any) -> list[Any]:
    """Cut every element to [-threshold, threshold]. This changes the gradient's direction."""
    return [xp.clip(gradient, -threshold, threshold) for gradient in gradients]


def clip_by_norm(gradients: Gradients, threshold: float, xp: Any) -> list[Any]:
    """Rescale each variable's gradient to norm `threshold` where it is longer. Each keeps its own direction."""
    return [gradient * (threshold / xp.maximum(_norm([gradient], xp), threshold)) for gradient in gradients]


def clip_by_global_norm(gradients: Gradients, threshold: float, xp: Any) -> list[Any]:
    """Rescale all gradients by one factor where their joint norm exceeds `threshold`. The direction is kept."""
    factor = threshold / xp.maximum(_norm(gradients, xp), threshold)
    return [gradient * factor for gradient in gradients]


def _norm(gradients: Gradients, xp: Any) -> Any:
    """Joint L2 norm, scaled by the largest element so that no square overflows."""
    largest = xp.max(xp.stack([xp.max(xp.abs(gradient)) for gradient in gradients]))
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    return scale * xp.sqrt(sum(xp.sum(xp.square(gradient / scale)) for gradient in gradients))


def joint_norm(norm: FloatArray) -> FloatArray:
    """Norm of all variables together, (..., 1), from the norms of each, (..., V)."""
    return np.asarray(np.linalg.norm(norm, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Rule:
    """One way to clip.

    `apply(gradients, threshold, xp)` is the rule itself. `measure(norm, max_abs)` takes the per-variable norms and
    largest absolute elements of S steps, both (S, V), and returns the quantity that the threshold bounds: (S, V), or
    (S, 1) where it is joint. `scope` names what each threshold is held against.
    """

    apply: Callable[[Gradients, float, Any], list[Any]]
    measure: Callable[[FloatArray, FloatArray], FloatArray]
    scope: str

    def exceeded(self, norm: FloatArray, max_abs: FloatArray, threshold: float) -> BoolArray:
        """Tell for each of S steps whether the threshold was exceeded anywhere: (S,). NaN exceeds nothing."""
        return np.asarray((self.measure(norm, max_abs) > threshold).any(axis=-1))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "none": Rule(unclipped, lambda norm, max_abs: norm, "nothing"),
        "clipvalue": Rule(clip_by_value, lambda norm, max_abs: max_abs, "each element"),
        "clipnorm": Rule(clip_by_norm, lambda norm, max_abs: norm, "each variable"),
        "global_clipnorm": Rule(clip_by_global_norm, lambda norm, max_abs: joint_norm(norm), "all together"),
    }
)
