"""What the Keras engine measures of a step: exactly, in float64; and quickly, where each operation is a pass over memory.

XLA makes one pass of the exact way, and the engine measures so there. Elsewhere it measures quickly, which tells of each step
whether something was not finite or float32's squares may have over- or underflowed: such a step is measured exactly after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from gradclip_cli.gradients.lengths import SMALLEST_MEAN_SQUARE
from gradclip_cli.gradients.step_records import OF_VARIABLES

PASSED_ON = ("Identity", "IdentityN")


class Taken(NamedTuple):
    """A step that was taken, as lists of V tensors: gradients before and after clipping, weights before and after the step."""

    gradients: Sequence[tf.Tensor]
    applied: Sequence[tf.Tensor]
    before: Sequence[tf.Tensor]
    after: Sequence[tf.Tensor]


# Exactly.


def norm(gradient: tf.Tensor) -> tf.Tensor:
    """L2 norm in float64, which neither overflows nor vanishes where float32 elements are finite."""
    return tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))


def update_norm(before: Sequence[tf.Tensor], after: Sequence[tf.Tensor]) -> tf.Tensor:
    """Norm of what was added to all variables together."""
    return norm(tf.stack([_distance(*each) for each in zip(before, after, strict=True)]))


def _distance(before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Norm of the difference, which is taken in float64: float32 would round it, or overflow."""
    return norm(tf.cast(after, tf.float64) - tf.cast(before, tf.float64))


def _max_abs(gradient: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_max(tf.abs(gradient)), tf.float64)


def of_variables(taken: Taken) -> dict[str, list[tf.Tensor]]:
    """What is recorded of each variable, by the names of OF_VARIABLES."""
    return {
        "norm": [norm(gradient) for gradient in taken.gradients],
        "max_abs": [_max_abs(gradient) for gradient in taken.gradients],
        "applied_norm": [norm(gradient) for gradient in taken.applied],
        "applied_max_abs": [_max_abs(gradient) for gradient in taken.applied],
        "weights_finite": [tf.reduce_all(tf.math.is_finite(weight)) for weight in taken.after],
    }


def exact_row(losses: Sequence[tf.Tensor], taken: Taken) -> tf.Tensor:
    """A step's record as a row of `StepRecords.from_rows`, measured in float64; `losses` are OF_STEP but the update's norm."""
    update, of_each = update_norm(taken.before, taken.after), of_variables(taken)
    row = [*losses, update, *(value for name in OF_VARIABLES for value in of_each[name])]
    return tf.stack([tf.cast(value, tf.float64) for value in row])


def bare_row(width: int) -> Callable[[Sequence[tf.Tensor], Taken], tf.Tensor]:
    """What makes the row of a step that is not measured: its losses, and zeros for all else."""

    def row(losses: Sequence[tf.Tensor], taken: Taken) -> tf.Tensor:
        told = tf.stack([tf.cast(value, tf.float64) for value in losses])
        return tf.concat([told, tf.zeros(width - len(losses), tf.float64)], 0)

    return row


# Quickly.


def quick_row(losses: Sequence[tf.Tensor], taken: Taken) -> tf.Tensor:
    """The same in few passes over float32, and a number more: 1 where the row is doubtful and is to be measured exactly.

    What was applied as it came is not measured again. Weights are finite where the sum of their squared changes is.
    """
    norms, largest, doubtful = _measured(taken.gradients)
    same = all(_source(one) is _source(other) for one, other in zip(taken.gradients, taken.applied, strict=True))
    applied_norms, applied_largest, also = (norms, largest, doubtful) if same else _measured(taken.applied)
    changes = tf.stack([_squares(new - old) for old, new in zip(taken.before, taken.after, strict=True)])
    moved = tf.reduce_sum(tf.cast(changes, tf.float64))
    lost = ~tf.math.is_finite(moved) | (moved < SMALLEST_MEAN_SQUARE * sum(map(_size, taken.after)))
    of_step = tf.stack([*(tf.cast(value, tf.float64) for value in losses), tf.sqrt(moved)])
    mark = tf.cast(doubtful | also | lost, tf.float64)
    return tf.concat([of_step, norms, largest, applied_norms, applied_largest, tf.ones_like(norms), mark[None]], 0)


def _measured(gradients: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Norms and largest absolute elements, (V,), and whether one of them may be wrong."""
    squares = tf.cast(tf.stack([_squares(gradient) for gradient in gradients]), tf.float64)
    highest = tf.stack([tf.reduce_max(gradient) for gradient in gradients])
    lowest = tf.stack([tf.reduce_min(gradient) for gradient in gradients])
    largest = tf.cast(tf.maximum(highest, -lowest), tf.float64)
    least = tf.constant([SMALLEST_MEAN_SQUARE * _size(gradient) for gradient in gradients], tf.float64)
    doubtful = tf.reduce_any(~tf.math.is_finite(squares) | ((squares < least) & (largest > 0)))
    return tf.sqrt(squares), largest, doubtful


def _squares(values: tf.Tensor) -> tf.Tensor:
    return 2 * tf.nn.l2_loss(values)


def _size(values: tf.Tensor) -> int:
    return int(values.shape.num_elements())


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """Where a tensor comes from that was only passed on."""
    while tensor.op.type in PASSED_ON:
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def can_be_quick(variables: Sequence[Any]) -> bool:
    """Whether Keras's variables are of the kind that is measured quickly: float32, and none of them empty."""
    return all(variable.dtype == "float32" and all(variable.shape) for variable in variables)
