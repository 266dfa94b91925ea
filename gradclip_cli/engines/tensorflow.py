"""The Keras engine: Keras layers, loss and optimizer, with a chunk of steps in one compiled TensorFlow loop.

`clipvalue`, `clipnorm` and `global_clipnorm` are the Keras optimizer's own arguments and keep Keras's behaviour; with
thresholds of single layers, and for every other rule, the gradients are clipped by `gradclip_cli.gradients.rules` before the
optimizer gets them. The gradient recorded as applied is the one that the optimizer's `update_step` receives, not a second
computation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from gradclip_cli.arrays import Array, ByteArray, FloatArray, IntArray, Weights
from gradclip_cli.engines.silence import silenced_stderr

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with silenced_stderr():  # TensorFlow reports on the machine before its log level counts.
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")

from gradclip_cli.config.schema import Config, Loss, Model
from gradclip_cli.engines.contract import Evaluation, StepRecords
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, Situation
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.problems.fashion_mnist import CLASSES, Dataset

CHUNK = 250  # steps in a call of the compiled loop, at most
EVALUATION_BATCH = 1000
ALIGNMENT = 64  # bytes, of TensorFlow's own memory; it aborts on less
RECURRENT_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}


def build_model(model: Model, time_steps: int, features: int, classes: int) -> keras.Sequential:
    """The article's model: recurrent layers and a dense one that gives logits. Layers have explicit names."""
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


def build_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """The Keras optimizer that a config describes, with its clipping argument where Keras does the clipping."""
    arguments = {**config.optimizer.parameters(), "learning_rate": config.optimizer.learning_rate}
    return _optimizer_class(config.optimizer.name)(**arguments, **keras_clipping(config.clipping))


def keras_clipping(rule: ClippingRule) -> dict[str, float | None]:
    """The argument by which the Keras optimizer clips by itself: it knows some rules, each with one threshold for all layers."""
    if rule.keras_argument is None or rule.layer_thresholds:
        return {}
    return {rule.keras_argument: rule.threshold_of_all}


def _optimizer_class(name: str) -> type[keras.optimizers.Optimizer]:
    classes = {key.lower(): value for key, value in vars(keras.optimizers).items() if isinstance(value, type)}
    return classes[name]


def _recording(optimizer: keras.optimizers.Optimizer, applied: list[tf.Tensor]) -> keras.optimizers.Optimizer:
    """A twin of an optimizer that appends each gradient its `update_step` receives to `applied`."""

    class Recording(type(optimizer)):  # type: ignore[misc]  # a base that is known only at run time
        def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
            applied.append(gradient)
            super().update_step(gradient, variable, learning_rate)

    twin: keras.optimizers.Optimizer = Recording.from_config(optimizer.get_config())
    return twin


def _tensor(images: ByteArray) -> tf.Tensor:
    """A tensor over the array's own memory where that is aligned as TensorFlow's is; else, or on a GPU, a copy."""
    if images.ctypes.data % ALIGNMENT:
        return tf.constant(images)
    return tf.identity(tf.experimental.dlpack.from_dlpack(images.__dlpack__()))


def _norm(gradient: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))


def _max_abs(gradient: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_max(tf.abs(gradient)), tf.float64)


class TensorFlowEngine:
    """`gradclip_cli.engines.contract.Engine` in Keras, on one thread. Building it builds the model; the first call compiles.

    Raises EngineError where TensorFlow already runs with another number of threads in this process.
    """

    compiles = True

    def __init__(self, config: Config, dataset: Dataset) -> None:
        use_one_thread()
        self._config = config
        self._model = build_model(config.model, *config.data.sequence_shape, CLASSES)
        self._applied: list[tf.Tensor] = []
        self._optimizer = _recording(build_optimizer(config), self._applied)
        self._optimizer.build(self._model.trainable_variables)
        self._loss = sample_losses(config.loss)
        self._images, self._labels = _tensor(dataset.train_images), tf.constant(dataset.train_labels, tf.int32)
        self._test_images = _tensor(dataset.evaluation_images)
        self._test_labels = tf.constant(dataset.evaluation_labels, tf.int32)
        self._names = {f"{layer.name}/{v.name}": v for layer in self._model.layers for v in layer.trainable_variables}
        self._rule, self._thresholds = config.clipping, config.thresholds(self.variables)
        self._memory = {key: tf.Variable(value) for key, value in self._rule.memory().items()}
        self._train = tf.function(self._train_chunk, jit_compile=config.engine.jit)
        self._evaluate = tf.function(self._evaluate_all, jit_compile=config.engine.jit)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(self._names)

    def reset(self, weights: Weights, *, learning_rate: float) -> None:
        for name, variable in self._names.items():
            variable.assign(weights[name])
        # Some optimizers start their slots from the weights, so a fresh one says what they are.
        fresh = build_optimizer(self._config)
        fresh.build(self._model.trainable_variables)
        for variable, start in zip(self._optimizer.variables, fresh.variables, strict=True):
            variable.assign(start)
        for key, value in self._rule.memory().items():
            self._memory[key].assign(value)
        self._optimizer.learning_rate = learning_rate

    def train(self, batches: IntArray) -> StepRecords:
        rows = [self._train_rows(batches[start : start + CHUNK]) for start in range(0, len(batches), CHUNK)]
        return self._records(np.concatenate(rows))

    def evaluate(self) -> Evaluation:
        loss, penalty, accuracy = self._evaluate().numpy().tolist()
        return Evaluation(loss, penalty, accuracy)

    def weights(self) -> dict[str, FloatArray]:
        return {name: np.array(variable.value.numpy()) for name, variable in self._names.items()}

    def state(self) -> dict[str, Array]:
        slots = {
            f"optimizer/{index}": np.array(variable.value.numpy()) for index, variable in enumerate(self._optimizer.variables)
        }
        memory = {f"clipping/{key}": np.array(variable.numpy()) for key, variable in self._memory.items()}
        return {**self.weights(), **slots, **memory}

    def restore(self, state: Mapping[str, Array]) -> None:
        for name, variable in self._names.items():
            variable.assign(state[name])
        for index, variable in enumerate(self._optimizer.variables):
            variable.assign(state[f"optimizer/{index}"])
        for key, variable in self._memory.items():
            variable.assign(state[f"clipping/{key}"])

    def save(self, path: Path) -> None:
        self._model.save(path)

    def _train_rows(self, batches: IntArray) -> FloatArray:
        # Always a whole chunk of batches, so that one compilation serves any number of steps.
        padding = ((0, CHUNK - len(batches)), (0, 0))
        rows = self._train(tf.constant(np.pad(batches, padding), tf.int32), tf.constant(len(batches)))
        return np.asarray(rows.numpy())[: len(batches)]

    def _train_chunk(self, batches: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        width = 4 + 5 * len(self._names)
        rows = tf.TensorArray(tf.float64, size=CHUNK, element_shape=(width,))

        def step(index: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return index + 1, rows.write(index, self._step(batches[index]))

        _, rows = tf.while_loop(lambda index, _: index < steps, step, (tf.constant(0), rows), maximum_iterations=CHUNK)
        return rows.stack()

    def _step(self, batch: tf.Tensor) -> tf.Tensor:
        """Take one optimizer step and return its record as a row: four numbers, then five for each variable."""
        inputs, labels = self._inputs(tf.gather(self._images, batch)), tf.gather(self._labels, batch)
        weights = [variable.value for variable in self._names.values()]
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            loss, penalty = tf.reduce_mean(self._loss(labels, logits)), self._penalty()
            total = loss + penalty
        gradients = tape.gradient(total, weights)
        self._applied.clear()
        clipped = self._clip(gradients, weights)
        self._optimizer.apply(clipped.gradients, self._model.trainable_variables)
        excess = tf.zeros(()) if clipped.excess is None else clipped.excess
        scalars = [tf.cast(value, tf.float64) for value in (loss, penalty, self._correct(labels, logits), excess)]
        return tf.stack([*scalars, *self._gradient_columns(gradients, self._applied), *self._finite_columns()])

    def _clip(self, gradients: list[tf.Tensor], weights: list[tf.Tensor]) -> Clipped:
        """Clip by our own rule, and let it remember; what the optimizer clips by itself is left to it."""
        if keras_clipping(self._rule):
            return Clipped(gradients)
        memory = {key: variable.value() for key, variable in self._memory.items()}
        situation = Situation(gradients, self._thresholds, weights, memory)
        clipped = self._rule.apply(situation, keras.ops)
        for key, variable in self._memory.items():
            variable.assign(tf.cast(clipped.memory[key], variable.dtype))
        return clipped

    def _gradient_columns(self, gradients: list[tf.Tensor], applied: list[tf.Tensor]) -> list[tf.Tensor]:
        return [*map(_norm, gradients), *map(_max_abs, gradients), *map(_norm, applied), *map(_max_abs, applied)]

    def _finite_columns(self) -> list[tf.Tensor]:
        return [tf.cast(tf.reduce_all(tf.math.is_finite(v.value)), tf.float64) for v in self._names.values()]

    def _inputs(self, images: tf.Tensor) -> tf.Tensor:
        data = self._config.data
        pixels = tf.cast(images, tf.float32)
        if data.pool > 1:
            pixels = tf.nn.avg_pool2d(pixels[..., None], data.pool, data.pool, "VALID")
        return tf.reshape(pixels, (-1, *data.sequence_shape)) / data.scale

    def _penalty(self) -> tf.Tensor:
        return tf.add_n(self._model.losses) if self._model.losses else tf.constant(0.0)

    def _correct(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.int32))

    def _evaluate_all(self) -> tf.Tensor:
        """Mean loss, penalty and accuracy, in batches so that long sequences fit into memory."""
        samples = len(self._test_labels)
        batch = min(samples, EVALUATION_BATCH)

        def add(start: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, ...]:
            index = start + tf.range(batch)
            counts = index < samples  # The last batch may reach beyond the end.
            index = tf.minimum(index, samples - 1)
            labels = tf.gather(self._test_labels, index)
            logits = self._model(self._inputs(tf.gather(self._test_images, index)), training=False)
            losses = tf.where(counts, self._loss(labels, logits), 0.0)
            hits = counts & (tf.argmax(logits, axis=-1, output_type=tf.int32) == labels)
            return start + batch, loss + tf.reduce_sum(tf.cast(losses, tf.float64)), correct + tf.math.count_nonzero(hits)

        start = (tf.constant(0), tf.constant(0.0, tf.float64), tf.constant(0, tf.int64))
        rounds = -(-samples // batch)
        _, loss, correct = tf.while_loop(lambda index, *_: index < samples, add, start, maximum_iterations=rounds)
        return tf.stack([loss / samples, tf.cast(self._penalty(), tf.float64), tf.cast(correct, tf.float64) / samples])

    def _records(self, rows: FloatArray) -> StepRecords:
        """Take rows of `_step` apart."""
        loss, penalty, correct, excess = rows[:, 0], rows[:, 1], rows[:, 2].astype(np.int64), rows[:, 3]
        norm, max_abs, applied_norm, applied_max_abs, finite = np.split(rows[:, 4:], 5, axis=1)
        for norms, largest in ((norm, max_abs), (applied_norm, applied_max_abs)):
            largest[np.isnan(norms)] = np.nan  # XLA's maximum passes over NaN.
        if self._rule.measured:
            excess = measured_excess(self._rule.scope, norm, max_abs, self._thresholds)
        return StepRecords(
            loss, penalty, correct, norm, max_abs, applied_norm, applied_max_abs, excess, weights_finite=finite.astype(bool)
        )


def use_one_thread() -> None:
    """Give TensorFlow one thread: runs then are the same bits whatever else the machine does, and go one to a core.

    Raises EngineError where TensorFlow already runs with another number of threads in this process.
    """
    if tf.config.threading.get_intra_op_parallelism_threads() == 1:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise EngineError(
            "TensorFlow already runs with several threads in this process; start gradclip in a fresh one."
        ) from None
