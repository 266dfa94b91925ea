"""How a recorder measures gradients in Keras on TensorFlow: each in its place, whatever its size and type."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradclip_cli.engines.tensorflow import set_up
from gradclip_cli.recorder.keras_backends import LARGE, OnTensorFlow

pytestmark = pytest.mark.trains

set_up()


def on_tensorflow(*, xla: bool) -> OnTensorFlow:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", jit_compile=xla)
    model.optimizer.build(model.trainable_variables)
    return OnTensorFlow(model, model.optimizer, (1, 10), 0)


def random(size: int, scale: float, dtype: str = "float32") -> tf.Tensor:
    return tf.constant(np.random.default_rng(size).normal(0, scale, size).astype("float32"), dtype)


SEVERAL = {
    "all sizes": [random(LARGE, 1.0), random(3, 0.1), random(2 * LARGE + 1, 3.0), tf.constant(-2.0)],
    "a large one whose squares overflow": [random(5, 1.0), random(LARGE, 1e25), random(LARGE + 1, 1.0)],
    "a large one whose squares vanish": [random(LARGE, 1e-30), random(LARGE + 1, 1.0), random(4, 1e-30)],
    "a large one of zeros": [tf.zeros(LARGE), random(LARGE + 1, 1.0)],
    "small ones only": [random(7, 1e-30), random(9, 1e30)],
    "several types": [random(8, 1.0, "float16"), random(LARGE, 1.0), random(LARGE, 1.0, "bfloat16")],
}


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tensors", SEVERAL.values(), ids=SEVERAL.keys())
def test_sizes_are_those_of_numpy_each_in_its_place(tensors: list[tf.Tensor], xla: bool) -> None:
    kept = on_tensorflow(xla=xla)
    norms, largest = tf.function(lambda: kept.sizes(tensors), jit_compile=xla)()
    exactly = [np.asarray(tf.cast(tensor, tf.float64)) for tensor in tensors]
    np.testing.assert_allclose(norms, [np.sqrt(np.square(each).sum()) for each in exactly], rtol=1e-6)
    np.testing.assert_array_equal(largest, [np.abs(each).max() for each in exactly])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_not_finite_is_told_of_its_own_tensor_only(odd: float) -> None:
    harmed = tf.concat([random(LARGE, 1.0), [odd]], 0)
    norms, _ = on_tensorflow(xla=False).sizes([random(LARGE, 1.0), harmed, random(3, 1.0)])
    assert np.isfinite(norms).tolist() == [True, False, True]


def test_rows_of_an_embedding_are_measured_as_the_gradient_that_they_stand_for() -> None:
    rows = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 1]), dense_shape=tf.constant([3, 2]))
    norms, largest = on_tensorflow(xla=False).sizes([rows])
    assert (norms.numpy()[0], largest.numpy()[0]) == (pytest.approx(np.hypot(4, 6)), 6)
