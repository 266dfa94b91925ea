"""What a loop over time would do at each of its time steps, done once a training step, or not at all: the numbers are the same.

TensorFlow keeps, for the backward pass, what a loop's time steps computed: that includes weights that were read in it. XLA
copies an array that a time step reads and changes, such as the outputs' gradient, in place of changing it after it was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

FLAGS = "XLA_FLAGS"
IN_PLACE = "--xla_cpu_copy_insertion_use_region_analysis=true"
"""Has XLA look at what is read before a change and what after (openxla/xla, issue 20440); as it does for TPUs by itself."""
KNOWN = "2.21."
"""TensorFlow's versions whose XLA knows this flag; one that it doesn't know would end the process."""


class ChangedInLoop(Exception):
    """A weight would have to be read at each time step, since each of them changes it."""


@contextmanager
def read_once(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """In the block, a model finds its weights read already. What it assigns is assigned as ever.

    To be entered under the tape that differentiates with respect to the variables. Raises ChangedInLoop.
    """
    with _Values([(variable, _read(variable)) for variable in variables], collect_losses=True):
        yield


class _Values(keras.StatelessScope):  # type: ignore[misc]  # Keras is not typed
    """Values that variables have in the block; Keras's scope would only remember what is assigned there."""

    def add_update(self, update: tuple[keras.Variable, tf.Tensor]) -> None:
        variable, value = update
        given = self.get_current_value(variable)
        if given is not None and given.graph is not value.graph:
            raise ChangedInLoop(variable.path)
        self.__exit__()
        variable.assign(value)
        read_again = _read(variable)
        self.__enter__()
        if given is not None:
            self.state_mapping[id(variable)] = read_again


def _read(variable: keras.Variable) -> tf.Tensor:
    return tf.convert_to_tensor(variable.value)


@contextmanager
def changed_in_place() -> Iterator[None]:
    """Compile with XLA in the block, and loops change arrays where these are. XLA reads its flags once, as it first compiles."""
    theirs = os.environ.get(FLAGS)
    if not tf.version.VERSION.startswith(KNOWN) or not (theirs or "-").startswith("-"):  # or they name a file
        yield
        return
    os.environ[FLAGS] = f"{IN_PLACE} {theirs or ''}".strip()
    try:
        yield
    finally:
        if theirs is None:
            del os.environ[FLAGS]  # or a process that this one starts might not know it
        else:
            os.environ[FLAGS] = theirs
