"""The article's network in Keras: what it evaluates is what its model gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradclip_cli.config.article import Model
from gradclip_cli.problems.article_tensorflow import build_model, is_faster_by_rows, last_outputs

TIMES, FEATURES, CLASSES = 28, 28, 10


def recurrent(units: int, seed: int) -> keras.layers.LSTM:
    """An LSTM whose weights and biases are all drawn."""
    layer = build_model(Model(units=units), TIMES, FEATURES, CLASSES).layers[0]
    draws = np.random.default_rng(seed)
    layer.set_weights([draws.normal(0, 0.5, weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize(("units", "samples"), [(10, 1000), (17, 500)])
def test_last_outputs_are_those_of_kerass_lstm_to_the_bit(units: int, samples: int) -> None:
    layer = recurrent(units, seed=units)
    sequences = tf.constant(np.random.default_rng(0).random((samples, TIMES, FEATURES), dtype=np.float32))
    assert is_faster_by_rows(layer, sequences)
    by_rows, by_keras = (
        tf.function(outputs, jit_compile=True)(sequences).numpy()
        for outputs in (lambda given: last_outputs(layer, given), lambda given: layer(given, training=False))
    )
    assert by_keras.std() > 0.1
    assert by_rows.tobytes() == by_keras.tobytes()


def test_what_would_be_slower_or_other_bits_is_left_to_keras() -> None:
    sequences = tf.zeros((100, TIMES, FEATURES))
    inner, last, dense = build_model(Model(units=[10, 10]), TIMES, FEATURES, CLASSES).layers
    assert not is_faster_by_rows(inner, sequences)
    assert is_faster_by_rows(last, sequences)
    assert not is_faster_by_rows(last, sequences[:, :, :1])
    assert not is_faster_by_rows(recurrent(16, seed=0), sequences)
    assert not is_faster_by_rows(dense, sequences)
