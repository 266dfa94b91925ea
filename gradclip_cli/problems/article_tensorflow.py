"""The article's network in Keras: recurrent layers and a dense one that gives logits. Only the Keras engine asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import keras
import tensorflow as tf

from gradclip_cli.arrays import Weights
from gradclip_cli.config.article import ArticleConfig, Loss, Model
from gradclip_cli.problems.article_weights import initial_weights
from gradclip_cli.problems.contract import EVALUATION_BATCH

RECURRENT_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
VECTOR = 8  # float32 numbers that a processor's vector instruction takes at once


class Network:
    """`gradclip_cli.engines.tensorflow.Network` of the article."""

    metrics: ClassVar[Mapping[str, bool]] = {"accuracy": True}
    counts_correct = True
    recurrent = True
    others: ClassVar[Mapping[str, keras.Variable]] = {}
    sums: ClassVar[Sequence[keras.Variable]] = ()
    remarks = ()

    def __init__(self, config: ArticleConfig, chance: Mapping[str, float]) -> None:
        self._data, self.chance = config.data, chance
        self._losses, self._xla = sample_losses(config.loss), config.engine.jit is True
        self.model = build_model(config.model, *config.data.sequence_shape, config.data.published.classes)

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        return {f"{layer.name}/{v.name}": v for layer in self.model.layers for v in layer.trainable_variables}

    def initial_weights(self, config: ArticleConfig) -> Weights:
        features, classes = config.data.sequence_shape[1], config.data.published.classes
        return initial_weights(config.model, features=features, classes=classes, seed=config.training.seed)

    def inputs(self, samples: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(samples, tf.float32)
        if self._data.pool > 1:
            pixels = tf.nn.avg_pool2d(pixels[..., None], self._data.pool, self._data.pool, "VALID")
        return tf.reshape(pixels, (-1, *self._data.sequence_shape)) / self._data.scale

    def loss_and_penalty(self, inputs: tf.Tensor, targets: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.reduce_mean(self._losses(targets, outputs)), self._penalty()

    def observe(self, inputs: tf.Tensor, targets: tf.Tensor, outputs: tf.Tensor) -> None:
        pass

    def evaluate(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Loss, penalty and accuracy, in batches so that long sequences fit into memory."""
        samples = len(targets)
        batch = min(samples, EVALUATION_BATCH)

        def add(start: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, ...]:
            index = start + tf.range(batch)
            counts = index < samples  # The last batch may reach beyond the end.
            index = tf.minimum(index, samples - 1)
            chosen = tf.gather(targets, index)
            outputs = self._outputs(self.inputs(tf.gather(inputs, index)))
            losses = tf.where(counts, self._losses(chosen, outputs), 0.0)
            hits = counts & self.correct(chosen, outputs)
            return start + batch, loss + tf.reduce_sum(tf.cast(losses, tf.float64)), correct + tf.math.count_nonzero(hits)

        start = (tf.constant(0), tf.constant(0.0, tf.float64), tf.constant(0, tf.int64))
        rounds = -(-samples // batch)
        _, loss, correct = tf.while_loop(lambda index, *_: index < samples, add, start, maximum_iterations=rounds)
        return tf.stack([loss / samples, tf.cast(self._penalty(), tf.float64), tf.cast(correct, tf.float64) / samples])

    def _outputs(self, inputs: tf.Tensor) -> tf.Tensor:
        """What `model(inputs, training=False)` gives, to the bit; of the article's LSTM in half the time."""
        for layer in self.model.layers:
            by_rows = self._xla and is_faster_by_rows(layer, inputs)
            inputs = last_outputs(layer, inputs) if by_rows else layer(inputs, training=False)
        return inputs

    def _penalty(self) -> tf.Tensor:
        return tf.add_n(self.model.losses) if self.model.losses else tf.constant(0.0)

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


def is_faster_by_rows(layer: keras.layers.Layer, sequences: tf.Tensor) -> bool:
    """Whether XLA makes more of `last_outputs` than of Keras's way, and the same bits: for gates of odd widths.

    Products with a single feature would be rounded in another way.
    """
    return (
        isinstance(layer, keras.layers.LSTM)
        and not layer.return_sequences
        and layer.units % VECTOR != 0
        and sequences.shape[2] > 1
    )


def last_outputs(layer: keras.layers.LSTM, sequences: tf.Tensor) -> tf.Tensor:
    """The last outputs of Keras's LSTM on sequences (batch, time, features), (batch, units), where no gradient is to be taken.

    The inputs are multiplied for all time steps at once; activations are computed over the rows of all gates before these are
    split, since XLA uses the processor's vectors on whole rows only.
    """
    cell, (samples, times, features) = layer.cell, sequences.shape
    by_time = tf.reshape(tf.transpose(sequences, (1, 0, 2)), (times * samples, features))
    products = tf.reshape(tf.matmul(by_time, cell.kernel), (times, samples, 4 * cell.units))

    def step(time: tf.Tensor, hidden: tf.Tensor, carry: tf.Tensor) -> tuple[tf.Tensor, ...]:
        gates = products[time] + tf.matmul(hidden, cell.recurrent_kernel) + cell.bias
        let_in, forget, _, let_out = tf.split(cell.recurrent_activation(gates), 4, axis=1)
        candidate = tf.split(cell.activation(gates), 4, axis=1)[2]
        carry = forget * carry + let_in * candidate
        return time + 1, let_out * cell.activation(carry), carry

    start = (tf.constant(0), *[tf.zeros((samples, cell.units))] * 2)
    _, hidden, _ = tf.while_loop(lambda time, *_: time < times, step, start, maximum_iterations=times)
    return hidden


def sample_losses(loss: Loss) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss of each sample, (batch,), from labels (batch,) and outputs (batch, classes)."""
    if loss.name == "crossentropy":
        crossentropy: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=None
        )
        return crossentropy
    squared = keras.losses.MeanSquaredError(reduction=None)
    return lambda labels, outputs: squared(loss.target_scale * tf.one_hot(labels, outputs.shape[-1]), outputs)
