"""The article's network in Keras: recurrent layers and a dense one that gives logits. Only the Keras engine asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from gradclip_cli.config.schema import Config, Loss, Model

RECURRENT_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}


class Network:
    """`gradclip_cli.engines.tensorflow.Network` of the article."""

    def __init__(self, config: Config) -> None:
        self._data = config.data
        self._losses = sample_losses(config.loss)
        self.model = build_model(config.model, *config.data.sequence_shape, config.data.published.classes)

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        return {f"{layer.name}/{v.name}": v for layer in self.model.layers for v in layer.trainable_variables}

    def inputs(self, samples: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(samples, tf.float32)
        if self._data.pool > 1:
            pixels = tf.nn.avg_pool2d(pixels[..., None], self._data.pool, self._data.pool, "VALID")
        return tf.reshape(pixels, (-1, *self._data.sequence_shape)) / self._data.scale

    def losses(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return self._losses(targets, outputs)

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return tf.argmax(outputs, axis=-1, output_type=tf.int32) == targets


def build_model(model: Model, time_steps: int, features: int, classes: int) -> keras.Sequential:
    """Recurrent layers and a dense one that gives logits. Layers have explicit names."""
    penalty = model.regularizer
    regularizer = keras.regularizers.L1L2(penalty.l1, penalty.l2) if penalty.l1 or penalty.l2 else None
    *_, last = model.layers
    recurrent = [
        RECURRENT_LAYERS[model.cell](
            units,
            activation=model.activation,
            return_sequences=name != last,
            kernel_regularizer=regularizer,
            recurrent_regularizer=regularizer,
            name=name,
        )
        for name, units in model.layers.items()
    ]
    dense = keras.layers.Dense(classes, kernel_regularizer=regularizer, name="dense")
    return keras.Sequential([keras.Input((time_steps, features)), *recurrent, dense])


def sample_losses(loss: Loss) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss of each sample, (batch,), from labels (batch,) and outputs (batch, classes)."""
    if loss.name == "crossentropy":
        crossentropy: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=None
        )
        return crossentropy
    squared = keras.losses.MeanSquaredError(reduction=None)
    return lambda labels, outputs: squared(loss.target_scale * tf.one_hot(labels, outputs.shape[-1]), outputs)
