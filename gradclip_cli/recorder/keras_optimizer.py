"""What is attached to a Keras optimizer while it is recorded.

Four methods of the optimizer's instance are wrapped: `apply`, at whose end a step is over, constraints included; and three within
it, which are Keras's own and not public: `_backend_apply_gradients`, `_clip_gradients` (what it is given is the gradient before
clipping, what it returns the one after) and `_backend_update_step`. What is measured goes into a ring of rows that the compiled
step writes to, and is fetched from there every so many steps, so that no step waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.recorder.keras_backends import BACKENDS, Kept
from gradclip_cli.recorder.measures import MEASURED

HOOKS = ("apply", "_backend_apply_gradients", "_clip_gradients", "_backend_update_step")
"""Methods of Keras's optimizers that are wrapped: on all backends each update goes through them, in this order."""
WATCH = "_gradclip_watch"
"""The attribute by which an optimizer knows what watches it."""
STORING = ("save_own_variables", "load_own_variables")
RING_BYTES = 1 << 18
MOST_ROWS = 256


class Begun(NamedTuple):
    """What is watched: after so many steps; and whom to tell of a failure."""

    steps: int
    failed: Callable[[Exception], None]


class Watch:
    """What is attached to a model's optimizer while it is recorded."""

    def __init__(self, model: keras.Model, optimizer: Any, every: int, begun: Begun) -> None:
        if earlier := optimizer.__dict__.get(WATCH):  # of a fit that was broken off
            earlier.release()
        self.variables: list[Any] = list(optimizer._trainable_variables)
        self._model, self._optimizer, self._every = model, optimizer, every
        width = len(MEASURED) * len(self.variables)
        self._rows = max(min(MOST_ROWS, RING_BYTES // (4 * width)), 2 * math.ceil(model.steps_per_execution / every), 2)
        self._kept: Kept = BACKENDS[keras.backend.backend()](model, optimizer, (self._rows, width), begun.steps)
        self._fetched, self._failed = begun.steps, begun.failed
        self.batches_a_step = int(optimizer.gradient_accumulation_steps or 1)
        self.may_skip = optimizer is not model.optimizer
        """Whether a loss scale may leave out steps."""
        self._before: tuple[Any, Any] | None = None
        self._taken: tuple[list[Any], list[Any]] | None = None
        """Gradients that a step applied, and their variables, until its row is written."""
        self._filtered: list[Any] = self.variables
        self._replaced = [_replaced(optimizer, {**self._wrapped(), **self._kept.noting(optimizer)})]
        self._replaced += [_replaced(each, self._unseen(each)) for each in dict.fromkeys((optimizer, model.optimizer))]
        optimizer.__dict__[WATCH] = self
        self._retrace()

    @property
    def most_steps(self) -> int:
        """So many steps' rows have room in the ring."""
        return int(self._rows) * self._every

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.json` says of how it was watched."""
        replicas = self._kept.replicas
        return {"replicas": replicas, "norms_of": "the first replica's gradient"} if replicas > 1 else {}

    def fetch(self) -> tuple[FloatArray, int]:
        """The rows, (S, 5 V), that were written since the last time, and how many steps were taken."""
        self._synchronize()
        count = self._kept.count()
        first, last = self._fetched // self._every, count // self._every
        rows = self._kept.ring()[np.arange(first, last) % self._rows]
        steps, self._fetched = count - self._fetched, count
        return np.asarray(rows, np.float64), steps

    def release(self) -> None:
        """Let go of the optimizer: it is as it was."""
        self._synchronize()
        self._optimizer.__dict__.pop(WATCH, None)
        for optimizer, names in self._replaced:
            for name in names:
                optimizer.__dict__.pop(name, None)
        self._kept.forget()
        self._retrace()

    def _synchronize(self) -> None:
        """On JAX a step's state is not in the variables until it is asked for."""
        if keras.backend.backend() == "jax":
            self._model.jax_state_sync()

    def _retrace(self) -> None:
        """Steps that were compiled before know nothing of what is attached, or still do."""
        if self._model.train_function is not None:
            self._model.make_train_function(force=True)

    def _wrapped(self) -> dict[str, Callable[..., Any]]:
        """The optimizer's methods, each with what is measured around it."""
        apply, apply_gradients, clip, update = (getattr(self._optimizer, name) for name in HOOKS)
        note = self._kept.uncompiled(self._note)

        def stepping(*given: Any, **named: Any) -> Any:  # an optimizer of one's own may take more
            self._taken = None
            result = apply(*given, **named)
            with self._unharmed():
                note()
            return result

        def applying(grads: Sequence[Any], trainable_variables: Sequence[Any]) -> Any:
            self._filtered = list(trainable_variables)
            return apply_gradients(grads, trainable_variables)

        def clipping(grads: Sequence[Any]) -> Any:
            with self._unharmed():
                self._before = (list(grads), self._kept.copies(self._filtered, self._every))
            return clip(grads)

        def updating(grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any) -> Any:
            result = update(grads, trainable_variables, learning_rate)
            self._taken = (list(grads), list(trainable_variables))
            if self.batches_a_step > 1:  # then this is a branch, out of which nothing can be taken
                with self._unharmed():
                    note()
            return result

        return dict(zip(HOOKS, (stepping, applying, clipping, updating), strict=True))

    @contextmanager
    def _unharmed(self) -> Iterator[None]:
        """Whatever can't be measured is no reason for a training to end."""
        try:
            yield
        except Exception as error:
            self._before = None
            self._failed(error)

    def _unseen(self, optimizer: Any) -> dict[str, Callable[..., Any]]:
        """The optimizer's methods that save and load it, which see only what is its own."""

        def hiding(method: Callable[..., Any]) -> Callable[..., Any]:
            def hidden(*args: Any, **kwargs: Any) -> Any:
                with self._kept.hidden():
                    return method(*args, **kwargs)

            return hidden

        return {name: hiding(getattr(optimizer, name)) for name in STORING}

    def _note(self) -> None:
        """Write a step's row: in a compiled step this is traced, and runs with it."""
        if self._before is None or self._taken is None:
            return
        (before, weights), self._before = self._before, None
        (applied, variables), self._taken = self._taken, None

        def row() -> Any:
            return self._row(before, applied, variables, self._kept.changes(variables, weights))

        self._kept.write(row, self._every, applied)

    def _row(self, before: list[Any], applied: list[Any], variables: list[Any], updates: Any) -> Any:
        """MEASURED of all variables, one after another; zeros for one without a gradient."""
        sizes = self._kept.sizes(before)
        same = all(one is other for one, other in zip(before, applied, strict=True))
        columns = [*sizes, *(sizes if same else self._kept.sizes(applied)), updates]
        places = {id(variable): place for place, variable in enumerate(variables)}
        found = [places.get(id(variable), len(variables)) for variable in self.variables]
        if found != list(range(len(variables))):
            ops = keras.ops
            columns = [ops.take(ops.concatenate([column, ops.zeros_like(column[:1])]), found) for column in columns]
        return keras.ops.concatenate(columns)


def innermost(optimizer: Any) -> Any:
    """The optimizer that takes the steps: a loss scale stands around another."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def require_hooks(optimizer: Any) -> None:
    """Raises RuntimeError where Keras calls otherwise what a recorder watches."""
    if missing := [name for name in HOOKS if not callable(getattr(optimizer, name, None))]:
        raise RuntimeError(
            f"{type(optimizer).__name__} of Keras {keras.__version__} has no {', '.join(missing)}, which a recorder watches: "
            "tell its makers, and record with Keras 3.15 meanwhile"
        )


def _replaced(optimizer: Any, methods: Mapping[str, Callable[..., Any]]) -> tuple[Any, list[str]]:
    """Put methods in place of an optimizer's own, for this instance only; returns it with their names."""
    for name, method in methods.items():
        optimizer.__dict__[name] = method
    return optimizer, list(methods)
