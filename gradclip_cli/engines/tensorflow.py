"""The Keras engine: Keras layers, loss and optimizer, with a chunk of steps in one compiled TensorFlow loop.

`clipvalue`, `clipnorm` and `global_clipnorm` are the Keras optimizer's own arguments and keep Keras's behaviour; with
thresholds of single layers, and for every other rule, the gradients are clipped by `gradclip_cli.gradients.rules` before the
optimizer gets them. The gradient recorded as applied is the one that the optimizer's `update_step` receives, not a second
computation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from gradclip_cli.arrays import Array, FloatArray, IntArray, Weights
from gradclip_cli.engines.silence import silenced_stderr

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with silenced_stderr():  # TensorFlow reports on the machine before its log level counts.
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")

from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import OF_STEP, OF_VARIABLES, Engine, Evaluation, StepRecords, row_width
from gradclip_cli.engines.shared import EVALUATION_BATCH, ChosenRule, memory_key, slot_key
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule
from gradclip_cli.problems.contract import Dataset, Problem

CHUNK = 250  # steps in a call of the compiled loop, at most
ALIGNMENT = 64  # bytes, of TensorFlow's own memory; it aborts on less


class Network(Protocol):
    """What this engine asks of a problem's network."""

    model: keras.Model

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        """The trainable variables by their names, in the model's order."""
        ...

    def inputs(self, samples: tf.Tensor) -> tf.Tensor:
        """What the model takes, from samples (batch, ...) of the dataset."""
        ...

    def losses(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The loss of each sample, (batch,)."""
        ...

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Whether each sample was predicted rightly, (batch,)."""
        ...


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


def _tensor(samples: Array) -> tf.Tensor:
    """A tensor over the array's own memory where that is aligned as TensorFlow's is; else, or on a GPU, a copy."""
    if samples.ctypes.data % ALIGNMENT:
        return tf.constant(samples)
    return tf.identity(tf.experimental.dlpack.from_dlpack(samples.__dlpack__()))


def _targets(targets: Array) -> tf.Tensor:
    """A tensor of the targets; labels as TensorFlow counts."""
    return tf.constant(targets, tf.int32 if np.issubdtype(targets.dtype, np.integer) else None)


def _norm(gradient: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))


def _distance(before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Norm of the difference, which is taken in float64: float32 would round it, or overflow."""
    return _norm(tf.cast(after, tf.float64) - tf.cast(before, tf.float64))


def _max_abs(gradient: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_max(tf.abs(gradient)), tf.float64)


class TensorFlowEngine:
    """`gradclip_cli.engines.contract.Engine` in Keras, on one thread. Building it builds the model; the first call compiles.

    Raises EngineError where TensorFlow already runs with another number of threads in this process.
    """

    compiles = True

    def __init__(self, problem: Problem, dataset: Dataset) -> None:
        use_one_thread()
        self._config = config = problem.config
        self._network: Network = problem.network("tensorflow")
        self._model, self._variables = self._network.model, dict(self._network.variables)
        self._applied: list[tf.Tensor] = []
        self._optimizer = _recording(build_optimizer(config), self._applied)
        self._optimizer.build(self._model.trainable_variables)
        self._train_inputs, self._train_targets = _tensor(dataset.train_inputs), _targets(dataset.train_targets)
        self._evaluation_inputs = _tensor(dataset.evaluation_inputs)
        self._evaluation_targets = _targets(dataset.evaluation_targets)
        self._chosen = ChosenRule.of(config, self.variables)
        self._rule = self._chosen.rule
        self._memory = {key: tf.Variable(value) for key, value in self._rule.memory().items()}
        self._train = tf.function(self._train_chunk, jit_compile=config.engine.jit)
        self._evaluate = tf.function(self._evaluate_all, jit_compile=config.engine.jit)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(self._variables)

    def reset(self, weights: Weights, *, learning_rate: float) -> None:
        for name, variable in self._variables.items():
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
        return {name: np.array(variable.value.numpy()) for name, variable in self._variables.items()}

    def state(self) -> dict[str, Array]:
        slots = {slot_key(index): np.array(slot.value.numpy()) for index, slot in enumerate(self._optimizer.variables)}
        memory = {memory_key(key): np.array(variable.numpy()) for key, variable in self._memory.items()}
        return {**self.weights(), **slots, **memory}

    def restore(self, state: Mapping[str, Array]) -> None:
        for name, variable in self._variables.items():
            variable.assign(state[name])
        for index, variable in enumerate(self._optimizer.variables):
            variable.assign(state[slot_key(index)])
        for key, variable in self._memory.items():
            variable.assign(state[memory_key(key)])

    def save(self, path: Path) -> None:
        self._model.save(path)

    def _train_rows(self, batches: IntArray) -> FloatArray:
        # Always a whole chunk of batches, so that one compilation serves any number of steps.
        padding = ((0, CHUNK - len(batches)), (0, 0))
        rows = self._train(tf.constant(np.pad(batches, padding), tf.int32), tf.constant(len(batches)))
        return np.asarray(rows.numpy())[: len(batches)]

    def _train_chunk(self, batches: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        rows = tf.TensorArray(tf.float64, size=CHUNK, element_shape=(row_width(len(self._variables)),))

        def step(index: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return index + 1, rows.write(index, self._step(batches[index]))

        _, rows = tf.while_loop(lambda index, _: index < steps, step, (tf.constant(0), rows), maximum_iterations=CHUNK)
        return rows.stack()

    def _step(self, batch: tf.Tensor) -> tf.Tensor:
        """Take one optimizer step and return its record as a row of `StepRecords.from_rows`."""
        inputs = self._network.inputs(tf.gather(self._train_inputs, batch))
        targets = tf.gather(self._train_targets, batch)
        weights = [variable.value for variable in self._variables.values()]
        before = [tf.identity(weight) for weight in weights]
        with tf.GradientTape() as tape:
            outputs = self._model(inputs, training=True)
            loss, penalty = tf.reduce_mean(self._network.losses(targets, outputs)), self._penalty()
            total = loss + penalty
        gradients = tape.gradient(total, weights)
        self._applied.clear()
        clipped = self._clip(gradients, weights)
        self._optimizer.apply(clipped.gradients, self._model.trainable_variables)
        excess = tf.zeros(()) if clipped.excess is None else clipped.excess
        correct = tf.reduce_sum(tf.cast(self._network.correct(targets, outputs), tf.int32))
        of_step = {"loss": loss, "penalty": penalty, "correct": correct, "excess": excess}
        of_step["update_norm"] = self._update_norm(before)
        of_variables = self._measured(gradients)
        row = [of_step[name] for name in OF_STEP] + [value for name in OF_VARIABLES for value in of_variables[name]]
        return tf.stack([tf.cast(value, tf.float64) for value in row])

    def _update_norm(self, before: list[tf.Tensor]) -> tf.Tensor:
        """Norm of what was added to all variables together since they were `before`."""
        norms = [_distance(weight, variable.value) for weight, variable in zip(before, self._variables.values(), strict=True)]
        return _norm(tf.stack(norms))

    def _measured(self, gradients: list[tf.Tensor]) -> dict[str, list[tf.Tensor]]:
        """What is recorded of each variable, by the names of OF_VARIABLES."""
        return {
            "norm": [_norm(gradient) for gradient in gradients],
            "max_abs": [_max_abs(gradient) for gradient in gradients],
            "applied_norm": [_norm(gradient) for gradient in self._applied],
            "applied_max_abs": [_max_abs(gradient) for gradient in self._applied],
            "weights_finite": [tf.reduce_all(tf.math.is_finite(variable.value)) for variable in self._variables.values()],
        }

    def _clip(self, gradients: list[tf.Tensor], weights: list[tf.Tensor]) -> Clipped:
        """Clip by our own rule, and let it remember; what the optimizer clips by itself is left to it."""
        if keras_clipping(self._rule):
            return Clipped(gradients)
        memory = {key: variable.value() for key, variable in self._memory.items()}
        clipped = self._chosen.clip(gradients, weights, memory, keras.ops)
        for key, variable in self._memory.items():
            variable.assign(tf.cast(clipped.memory[key], variable.dtype))
        return clipped

    def _penalty(self) -> tf.Tensor:
        return tf.add_n(self._model.losses) if self._model.losses else tf.constant(0.0)

    def _evaluate_all(self) -> tf.Tensor:
        """Mean loss, penalty and accuracy, in batches so that long sequences fit into memory."""
        samples = len(self._evaluation_targets)
        batch = min(samples, EVALUATION_BATCH)

        def add(start: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, ...]:
            index = start + tf.range(batch)
            counts = index < samples  # The last batch may reach beyond the end.
            index = tf.minimum(index, samples - 1)
            targets = tf.gather(self._evaluation_targets, index)
            outputs = self._model(self._network.inputs(tf.gather(self._evaluation_inputs, index)), training=False)
            losses = tf.where(counts, self._network.losses(targets, outputs), 0.0)
            hits = counts & self._network.correct(targets, outputs)
            return start + batch, loss + tf.reduce_sum(tf.cast(losses, tf.float64)), correct + tf.math.count_nonzero(hits)

        start = (tf.constant(0), tf.constant(0.0, tf.float64), tf.constant(0, tf.int64))
        rounds = -(-samples // batch)
        _, loss, correct = tf.while_loop(lambda index, *_: index < samples, add, start, maximum_iterations=rounds)
        return tf.stack([loss / samples, tf.cast(self._penalty(), tf.float64), tf.cast(correct, tf.float64) / samples])

    def _records(self, rows: FloatArray) -> StepRecords:
        records = StepRecords.from_rows(rows, len(self._variables))
        for norms, largest in ((records.norm, records.max_abs), (records.applied_norm, records.applied_max_abs)):
            largest[np.isnan(norms)] = np.nan  # XLA's maximum passes over NaN.
        return self._chosen.with_excess(records)


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


ENGINE: type[Engine] = TensorFlowEngine
