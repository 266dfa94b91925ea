"""What a recorded `fit` keeps between steps, and how gradients are measured, on each of Keras's backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.lengths import SMALLEST_MEAN_SQUARE

LARGE = 16384  # elements
LANES = 64
"""Sums that XLA makes of a large tensor side by side: it adds one element after another, and several sums at once."""
Sizes = tuple[Any, Any]
"""L2 norms and largest absolute elements of V tensors, (V,). Norms neither overflow nor vanish where the elements are finite."""


class Kept(Protocol):
    """A ring of rows that steps write to, a count of the steps, and the backend's ways to measure."""

    replicas: int
    """How many copies of the model train at once."""

    def __init__(self, model: Any, optimizer: Any, shape: tuple[int, int], steps: int) -> None:
        """A ring of this shape, after so many steps."""
        ...

    def count(self) -> int: ...
    def ring(self) -> FloatArray: ...

    def copies(self, variables: Sequence[Any], every: int) -> list[Any]:
        """The variables' values, which what comes later doesn't change; nothing where this step isn't recorded."""
        ...

    def sizes(self, tensors: Sequence[Any]) -> Sizes:
        """Of each tensor."""
        ...

    def noting(self, optimizer: Any) -> Mapping[str, Callable[..., Any]]:
        """The optimizer's methods that change a variable, where what they add is noted for `changes`."""
        ...

    def changes(self, variables: Sequence[Any], before: Sequence[Any]) -> Any:
        """L2 norm of what was added to each variable since, (V,)."""
        ...

    def write(self, row: Callable[[], Any], every: int, applied: Sequence[Any]) -> None:
        """Count a step that applied these gradients, and write its row where it is one of those that are recorded."""
        ...

    def uncompiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, of which a compiler of whole steps makes nothing."""
        ...

    def hidden(self) -> AbstractContextManager[None]:
        """While it lasts, the optimizer has only the variables that it had."""
        ...

    def forget(self) -> None:
        """Leave the optimizer as it was."""
        ...


class OnTensorFlow:
    """Variables of its own, which the optimizer knows nothing of. All is float64."""

    def __init__(self, model: Any, optimizer: Any, shape: tuple[int, int], steps: int) -> None:
        import tensorflow as tf

        self._tf, self._shape = tf, shape
        self._squares = self._squares_in_lanes if model.jit_compile else self._squares_as_one
        strategy = optimizer._distribution_strategy
        self.replicas = int(strategy.num_replicas_in_sync)
        own = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ}
        own["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        with strategy.scope():
            self._ring = tf.Variable(tf.zeros(shape, tf.float64), name="gradclip_rows", **own)
            self._count = tf.Variable(tf.constant(steps, tf.int64), name="gradclip_steps", **own)
        self._added: dict[int, list[Any]] = {}
        """What the optimizer added to each variable, by its identity; None among it where it gave the variable a new value."""
        silent = _is_own(optimizer) or getattr(optimizer, "weight_decay", None) or optimizer.ema_overwrite_frequency
        self._says_what_it_adds = not (model.jit_compile or self.replicas > 1 or silent)

    def count(self) -> int:
        return int(self._count.numpy())

    def ring(self) -> FloatArray:
        return np.asarray(self._ring.numpy())

    def copies(self, variables: Sequence[Any], every: int) -> list[Any]:
        self._added = {id(_tensorflow_variable(variable)): [] for variable in variables}
        return [self._tf.convert_to_tensor(variable.value) for variable in variables]

    def sizes(self, tensors: Sequence[Any]) -> Sizes:
        dense = [self._tf.convert_to_tensor(tensor) for tensor in tensors]
        return self._norms(dense), self._largest(dense)

    def noting(self, optimizer: Any) -> Mapping[str, Callable[..., Any]]:
        def noted(name: str) -> Callable[..., Any]:
            method, adds = getattr(optimizer, name), name != "assign"

            def changing(variable: Any, value: Any) -> Any:
                self._added.get(id(_tensorflow_variable(variable)), []).append(value if adds else None)
                return method(variable, value)

            return changing

        return {name: noted(name) for name in ("assign", "assign_add", "assign_sub") if self._says_what_it_adds}

    def changes(self, variables: Sequence[Any], before: Sequence[Any]) -> Any:
        """Of what the optimizer added, where it said so: to keep each variable as it was would have TensorFlow copy it."""
        added = [self._added[id(_tensorflow_variable(variable))] for variable in variables]
        free = all(variable.constraint is None for variable in variables)
        if free and all(len(each) == 1 and each[0] is not None for each in added):
            return self._norms([self._tf.convert_to_tensor(value) for (value,) in added])
        after = [self._tf.convert_to_tensor(variable.value) for variable in variables]
        return self._norms([new - old for new, old in zip(after, before, strict=True)])

    def _norms(self, tensors: Sequence[Any]) -> Any:
        """In float64; of large tensors in float32, a third of the time, unless squares of one may over- or underflow."""
        tf = self._tf
        large = [place for place, each in enumerate(tensors) if each.dtype == tf.float32 and _elements(each) >= LARGE]
        small = sorted(set(range(len(tensors))) - set(large))
        exact = self._exact_squares([tensors[place] for place in small])
        quick = self._quick_squares([tensors[place] for place in large])
        return tf.gather(tf.sqrt(tf.concat([exact, quick], 0)), np.argsort([*small, *large]))

    def _exact_squares(self, tensors: Sequence[Any]) -> Any:
        tf = self._tf
        halves = [tf.nn.l2_loss(tf.cast(tensor, tf.float64)) for tensor in tensors]
        return 2 * tf.stack(halves) if halves else tf.zeros(0, tf.float64)

    def _quick_squares(self, tensors: Sequence[Any]) -> Any:
        tf = self._tf
        if not tensors:
            return tf.zeros(0, tf.float64)
        squares = tf.cast(tf.stack([self._squares(tensor) for tensor in tensors]), tf.float64)
        least = tf.constant([SMALLEST_MEAN_SQUARE * _elements(tensor) for tensor in tensors], tf.float64)
        sure = tf.reduce_all(tf.math.is_finite(squares) & (squares > least))
        return tf.cond(sure, lambda: squares, lambda: self._exact_squares(tensors))

    def _squares_as_one(self, tensor: Any) -> Any:
        return 2 * self._tf.nn.l2_loss(tensor)

    def _squares_in_lanes(self, tensor: Any) -> Any:
        """The sum of squares, which XLA would make one of again if the lanes were not cast before they are added."""
        tf, flat = self._tf, self._tf.reshape(tensor, [-1])
        whole = flat.shape[0] // LANES * LANES
        lanes = tf.reduce_sum(tf.square(tf.reshape(flat[:whole], [-1, LANES])), 0)
        return tf.reduce_sum(tf.cast(lanes, tf.float64)) + tf.reduce_sum(tf.square(tf.cast(flat[whole:], tf.float64)))

    def _largest(self, tensors: Sequence[Any]) -> Any:
        """In two passes that write nothing: the absolute elements are more than both."""
        tf = self._tf
        highest, lowest = ([extreme(tensor) for tensor in tensors] for extreme in (tf.reduce_max, tf.reduce_min))
        return tf.maximum(self._as_float64(highest), -self._as_float64(lowest))

    def _as_float64(self, scalars: Sequence[Any]) -> Any:
        """Stacked, (V,): at once where all are of one type."""
        tf = self._tf
        if len({scalar.dtype for scalar in scalars}) == 1:
            return tf.cast(tf.stack(scalars), tf.float64)
        return tf.stack([tf.cast(scalar, tf.float64) for scalar in scalars])

    def write(self, row: Callable[[], Any], every: int, applied: Sequence[Any]) -> None:
        with self._tf.control_dependencies(list(applied)):  # or a step would count for which there are no more data
            count = self._count.assign_add(1, read_value=True)
        slot = (count // every - 1) % self._shape[0]

        def written() -> Any:
            if self.replicas == 1:
                self._ring.scatter_nd_update([[slot]], [row()])
            else:  # a variable of several replicas can be assigned as a whole only
                rows = self._tf.tensor_scatter_nd_update(self._tf.convert_to_tensor(self._ring), [[slot]], [row()])
                self._ring.assign(rows)
            return self._tf.constant(True)

        if every == 1:
            written()
        else:
            self._tf.cond(count % every == 0, written, lambda: self._tf.constant(False))

    def uncompiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def hidden(self) -> AbstractContextManager[None]:
        return nullcontext()

    def forget(self) -> None:
        pass


def _tensorflow_variable(variable: Any) -> Any:
    import keras

    return variable.value if isinstance(variable, keras.Variable) else variable


def _elements(tensor: Any) -> int:
    return int(tensor.shape.num_elements() or 0)


def _is_own(optimizer: Any) -> bool:
    """Whether it is of a user's own, which may change a variable in any way."""
    return type(optimizer).__module__.partition(".")[0] != "keras"


class OnJax:
    """Two of the optimizer's variables: a compiled step keeps no other state. What saves or loads it does not see them."""

    replicas = 1

    def __init__(self, model: Any, optimizer: Any, shape: tuple[int, int], steps: int) -> None:
        import jax

        self._jax, self._optimizer, self._shape = jax, optimizer, shape
        self._others = list(optimizer.variables)
        self._ring = optimizer.add_variable(shape, dtype="float32", name="gradclip_rows")
        self._count = optimizer.add_variable((), dtype="int32", name="gradclip_steps")
        self._count.assign(steps)

    def count(self) -> int:
        return int(self._count.numpy())

    def ring(self) -> FloatArray:
        return np.asarray(self._ring.numpy())

    def copies(self, variables: Sequence[Any], every: int) -> list[Any]:
        return [variable.value for variable in variables]

    def sizes(self, tensors: Sequence[Any]) -> Sizes:
        largest = [self._largest(tensor) for tensor in tensors]
        norms = [self._norm(tensor, most) for tensor, most in zip(tensors, largest, strict=True)]
        return self._jax.numpy.stack(norms), self._jax.numpy.stack(largest)

    def noting(self, optimizer: Any) -> Mapping[str, Callable[..., Any]]:
        return {}

    def changes(self, variables: Sequence[Any], before: Sequence[Any]) -> Any:
        moved = [new - old for new, old in zip(self.copies(variables, 1), before, strict=True)]
        return self.sizes(moved)[0]

    def _largest(self, tensor: Any) -> Any:
        return self._jax.numpy.max(self._jax.numpy.abs(tensor.astype("float32")))

    def _norm(self, tensor: Any, largest: Any) -> Any:
        """Of the tensor over its largest element, so that no square overflows or vanishes; summed in two stages, to be exact."""
        xp = self._jax.numpy
        scale = xp.where(xp.isfinite(largest) & (largest > 0), largest, 1.0)
        squares = xp.square(tensor.astype("float32") / scale)
        rows = xp.sum(squares, axis=-1) if squares.ndim else squares
        return scale * xp.sqrt(xp.sum(rows))

    def write(self, row: Callable[[], Any], every: int, applied: Sequence[Any]) -> None:
        count, ring = self._count.value + 1, self._ring.value
        slot = (count // every - 1) % self._shape[0]

        def written() -> Any:
            return self._jax.lax.dynamic_update_slice(ring, row()[None], (slot, 0))

        self._ring.assign(written() if every == 1 else self._jax.lax.cond(count % every == 0, written, lambda: ring))
        self._count.assign(count)

    def uncompiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    @contextmanager
    def hidden(self) -> Iterator[None]:
        shown = self._optimizer._variables[:]
        self._optimizer._variables[:] = self._others
        try:
            yield
        finally:
            self._optimizer._variables[:] = shown

    def forget(self) -> None:
        self._optimizer._variables[:] = self._others


class OnTorch:
    """A tensor and a number: its steps are not compiled. Norms are summed in float64."""

    replicas = 1

    def __init__(self, model: Any, optimizer: Any, shape: tuple[int, int], steps: int) -> None:
        import torch

        self._torch, self._shape, self._steps = torch, shape, steps
        self.copies = torch.compiler.disable(self.copies)  # type: ignore[method-assign]  # it counts in Python
        device = optimizer._trainable_variables[0].value.device
        self._rows = torch.zeros(shape, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)

    def count(self) -> int:
        return self._steps

    def ring(self) -> FloatArray:
        return np.asarray(self._rows.cpu().numpy())

    def copies(self, variables: Sequence[Any], every: int) -> list[Any]:
        skipped = (self._steps + 1) % every
        return [] if skipped else [variable.value.detach().clone() for variable in variables]

    def sizes(self, tensors: Sequence[Any]) -> Sizes:
        dense = [tensor.detach().to_dense() if tensor.is_sparse else tensor.detach() for tensor in tensors]
        norms = self._torch._foreach_norm(dense, 2, self._rows.dtype)
        largest = [tensor.to(self._rows.dtype) for tensor in self._torch._foreach_norm(dense, float("inf"))]
        return self._torch.stack(norms), self._torch.stack(largest)

    def noting(self, optimizer: Any) -> Mapping[str, Callable[..., Any]]:
        return {}

    def changes(self, variables: Sequence[Any], before: Sequence[Any]) -> Any:
        after = [variable.value.detach() for variable in variables]
        return self._torch.stack(self._torch._foreach_norm(self._torch._foreach_sub(after, list(before)), 2, self._rows.dtype))

    def write(self, row: Callable[[], Any], every: int, applied: Sequence[Any]) -> None:
        self._steps += 1
        if self._steps % every == 0:
            with self._torch.no_grad():
                self._rows[(self._steps // every - 1) % self._shape[0]] = row()

    def uncompiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        disabled: Callable[..., Any] = self._torch.compiler.disable(function)
        return disabled

    def hidden(self) -> AbstractContextManager[None]:
        return nullcontext()

    def forget(self) -> None:
        pass


BACKENDS: Mapping[str, type[Kept]] = {"tensorflow": OnTensorFlow, "jax": OnJax, "torch": OnTorch}
