"""Loops over time: weights that are read once give what weights read at each time step give, and arrays are changed in place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradclip_cli.engines.tensorflow import set_up
from gradclip_cli.engines.tensorflow_loops import FLAGS, IN_PLACE, KNOWN, changed_in_place, read_once

pytestmark = pytest.mark.trains

set_up()

BATCH, TIMES, FEATURES, UNITS = 4, 7, 3, 6
INPUTS = np.random.default_rng(0).normal(size=(BATCH, TIMES, FEATURES)).astype("float32")
KEPT_WEIGHTS = f"f32[{TIMES},{UNITS},{4 * UNITS}]"
"""The recurrent kernel, once a time step, as XLA writes its shape."""


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A model that changes and adds while it is called: averages, a seed, a penalty, and even a weight."""
    return keras.Sequential(
        [
            keras.Input((TIMES, FEATURES)),
            keras.layers.Bidirectional(keras.layers.GRU(2, kernel_regularizer="l2", return_sequences=True)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.LSTM(UNITS, return_sequences=True, recurrent_dropout=0.3),
            keras.layers.ActivityRegularization(l2=0.1),
            keras.layers.SpectralNormalization(keras.layers.Dense(2)),
        ]
    )


def gradients(model: keras.Model, scope: AbstractContextManager[None]) -> list[tf.Tensor]:
    weights = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape, scope:
        outputs = model(tf.constant(INPUTS), training=True)
        total = tf.reduce_mean(outputs**2) + sum(model.losses)
    return [total, *tape.gradient(total, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)]


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_numbers_and_what_a_model_assigns_are_the_same(model: keras.Model, xla: bool) -> None:
    start = [variable.numpy() for variable in model.variables]
    scopes: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "each time": nullcontext,
        "once": lambda: read_once(model.trainable_variables),
    }
    found = {}
    for name, scope in scopes.items():
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        step = tf.function(lambda scope=scope: gradients(model, scope()), jit_compile=xla, autograph=False)
        numbers = [number.numpy() for _ in range(2) for number in step()]
        found[name] = [*numbers, *(variable.numpy() for variable in model.variables)]
    assert not all(np.array_equal(before, now) for before, now in zip(start, found["once"][-len(start) :], strict=True))
    for one, other in zip(found["each time"], found["once"], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("once", "is_kept"), [(False, True), (True, False)])
def test_weights_are_not_kept_for_each_time_step(once: bool, is_kept: bool) -> None:
    model = keras.Sequential([keras.Input((TIMES, FEATURES)), keras.layers.LSTM(UNITS)])
    scope = read_once(model.trainable_variables) if once else nullcontext()
    step = tf.function(lambda: gradients(model, scope), jit_compile=True, autograph=False)
    assert (KEPT_WEIGHTS in step.experimental_get_compiler_ir()(stage="hlo")) == is_kept


COPIES = f"""
import keras, re, tensorflow as tf
from gradclip_cli.engines.tensorflow import set_up
from gradclip_cli.engines.tensorflow_loops import changed_in_place
model = keras.Sequential([keras.Input(({TIMES}, {FEATURES})), keras.layers.LSTM({UNITS}, return_sequences=True)])
@tf.function(jit_compile=True, autograph=False)
def step(inputs):
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(model(inputs) ** 2)
    return tape.gradient(total, [variable.value for variable in model.trainable_variables])
with changed_in_place():
    code = step.experimental_get_compiler_ir(tf.zeros(({BATCH}, {TIMES}, {FEATURES})))(stage="optimized_hlo")
backward = [part for part in code.split("\\n\\n") if "rhs_contracting_dims={{1}}" in part]
print(sum(len(re.findall(r"f32\\[{TIMES},{BATCH},{UNITS}\\]\\S* copy\\(", part)) for part in backward))
"""


@pytest.mark.slow
def test_the_gradient_of_outputs_is_changed_in_place_and_who_says_otherwise_is_heard() -> None:
    copies = {}
    for flags in ("", IN_PLACE.replace("true", "false")):
        given = {**os.environ, "KERAS_BACKEND": "tensorflow", FLAGS: flags}
        ended = subprocess.run([sys.executable, "-c", COPIES], env=given, capture_output=True, text=True, check=True)
        copies[flags] = int(ended.stdout.splitlines()[-1])
    ours, theirs = copies.values()
    assert ours < theirs


def test_flags_are_put_before_those_of_a_user_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for theirs, meanwhile in ((None, IN_PLACE), ("--xla_dump_to=/tmp", f"{IN_PLACE} --xla_dump_to=/tmp"), ("file", "file")):
        monkeypatch.delenv(FLAGS, raising=False)
        if theirs is not None:
            monkeypatch.setenv(FLAGS, theirs)
        with changed_in_place():
            assert os.environ[FLAGS] == meanwhile
        assert os.environ.get(FLAGS) == theirs


def test_another_tensorflow_gets_no_flag_that_it_may_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.version, "VERSION", "3.0.0")
    monkeypatch.delenv(FLAGS, raising=False)
    with changed_in_place():
        assert FLAGS not in os.environ


def test_this_tensorflow_is_one_that_is_known() -> None:
    said = (
        f"does XLA in TensorFlow {tf.version.VERSION} still have {IN_PLACE.partition('=')[0]} (XLA_FLAGS=--help tells)? "
        "Then KNOWN in engines/tensorflow_loops.py can name it; until then recurrent networks train more slowly"
    )
    assert tf.version.VERSION.startswith(KNOWN), said
