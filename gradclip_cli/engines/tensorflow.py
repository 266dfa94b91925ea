"""The Keras engine: Keras layers, loss and optimizer, with a chunk of steps in one compiled TensorFlow loop.

`clipvalue`, `clipnorm` and `global_clipnorm` are the Keras optimizer's own arguments and keep Keras's behaviour; with
thresholds of single layers, and for every other rule, the gradients are clipped by `gradclip_cli.gradients.rules` before the
optimizer gets them. The gradient recorded as applied is the one that the optimizer's `update_step` receives, not a second
computation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

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

from gradclip_cli.engines import compile_key
from gradclip_cli.engines.compiled import kept
from gradclip_cli.engines.contract import Engine, Evaluation
from gradclip_cli.engines.shared import ChosenRule, OfNetwork, memory_key, metric_key, slot_key, state_key
from gradclip_cli.engines.tensorflow_loops import ChangedInLoop, changed_in_place, read_once
from gradclip_cli.engines.tensorflow_measures import Taken, bare_row, can_be_quick, exact_row, quick_row
from gradclip_cli.engines.tensorflow_network import Network, Tensors
from gradclip_cli.engines.tensorflow_optimizers import build_optimizer, keras_clipping, recording
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Clipped
from gradclip_cli.gradients.step_records import StepLosses, StepRecords, Stretch, row_width
from gradclip_cli.problems.contract import Dataset, Problem

Row = Callable[[Sequence[tf.Tensor], Taken], tf.Tensor]
"""Makes a step's record of its losses and of what was taken: `exact_row`, `quick_row` or a `bare_row`."""
Stand = tuple[tf.Tensor, tf.TensorArray]
"""Where the compiled loop stands: the next step's index, and the rows."""

CHUNK = 250  # steps in a call of the compiled loop, at most
ALIGNMENT = 64  # bytes, of TensorFlow's own memory; it aborts on less


def _each(work: Callable[[Any], tf.Tensor], values: Any) -> Tensors:
    """Do something with one array, or with each of several."""
    return keras.tree.map_structure(work, values)


def _taken(batch: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda samples: tf.gather(samples, batch)


def _dense(gradient: tf.Tensor | tf.IndexedSlices | None, weight: tf.Tensor) -> tf.Tensor:
    """A gradient as a tensor of the variable's shape: an embedding's has rows only, and that of an unused variable is none."""
    return tf.zeros_like(weight) if gradient is None else tf.convert_to_tensor(gradient)


def _tensor(samples: Array) -> tf.Tensor:
    """A tensor over the array's own memory where that is laid out as TensorFlow's is; else, or on a GPU, a copy."""
    flags = samples.flags
    if samples.ctypes.data % ALIGNMENT or not (flags.writeable and flags.c_contiguous):
        return tf.constant(samples)
    return tf.identity(tf.experimental.dlpack.from_dlpack(samples.__dlpack__()))


def _targets(targets: Array) -> tf.Tensor:
    """A tensor of the targets; labels as TensorFlow counts."""
    return tf.constant(targets, tf.int32) if np.issubdtype(targets.dtype, np.integer) else _tensor(targets)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class TensorFlowEngine(OfNetwork):
    """`gradclip_cli.engines.contract.Engine` in Keras, on one thread. Building it builds the model; the first call compiles.

    Raises EngineError where TensorFlow already runs with another number of threads in this process.
    """

    compiles = True

    def __init__(self, problem: Problem, dataset: Dataset) -> None:
        set_up()
        self._config = config = problem.config
        self._network: Network = problem.network("tensorflow", dataset)
        self._model, self._variables = self._network.model, dict(self._network.variables)
        self._applied: list[tf.Tensor] = []
        xla = self._network.recurrent if config.engine.jit == "auto" else config.engine.jit
        self._optimizer = recording(build_optimizer(config, self._model), self._applied, xla)
        self._optimizer.build(self._model.trainable_variables)
        self._train_inputs, self._train_targets = _each(_tensor, dataset.train_inputs), _each(_targets, dataset.train_targets)
        self._evaluation_inputs = _each(_tensor, dataset.evaluation_inputs)
        self._evaluation_targets = _each(_targets, dataset.evaluation_targets)
        self._chosen = ChosenRule.of(config, self.variables)
        self._rule = self._chosen.rule
        self._memory = {key: tf.Variable(value) for key, value in self._chosen.memory().items()}
        self._fallback: tuple[str, ...] = ()
        self._reads_once = self._network.recurrent
        self._kind = None if problem.runs_own_code else compile_key(config)
        self._compile(xla)
        if xla and config.engine.jit == "auto":
            self._require_xla_or_fall_back()

    def _compile(self, xla: bool) -> None:
        """Without AutoGraph, as Keras's own `fit` is: a model's Python is run once, and tensors steer none of it."""
        self.compiled = "xla" if xla else "graph"
        self._called: set[object] = set()
        self._quick = not xla and can_be_quick([*self._variables.values()])
        self._train = self._compiled(quick_row if self._quick else exact_row, xla)
        self._train_exactly = self._compiled(exact_row, xla)
        self._evaluate = tf.function(self._evaluate_all, autograph=False, jit_compile=xla)

    def _compiled(self, row: Row, xla: bool) -> Callable[..., tf.Tensor]:
        def train_chunk(batches: tf.Tensor, steps: tf.Tensor, every: int = 1) -> tf.Tensor:
            return self._train_chunk(batches, steps, row, every)

        return tf.function(train_chunk, autograph=False, jit_compile=xla)  # type: ignore[no-any-return]

    def _rows_of(self, train: Callable[..., tf.Tensor], *chunk: Any) -> FloatArray:
        """Train on a chunk; weights that a loop changes as it goes are read at each of its time steps."""
        try:
            return np.asarray(train(*chunk).numpy())
        except ChangedInLoop:
            self._reads_once = False
            return np.asarray(train(*chunk).numpy())  # traced anew

    def _require_xla_or_fall_back(self) -> None:
        """Compile now, taking no step; where XLA can't, compile as a graph and remark it."""
        try:
            every = self._config.recorded_every
            with self._compiling(every):
                self._rows_of(self._train, tf.zeros((CHUNK, self._config.data.batch_size), tf.int32), tf.constant(0), every)
            self._evaluate.experimental_get_compiler_ir()()
        except (tf.errors.OpError, ValueError) as error:
            self._compile(xla=False)
            self._fallback = (f"XLA can't compile this model, so it is trained as a graph, slower: {_first_line(error)}",)

    @contextmanager
    def _compiling(self, call: object) -> Iterator[None]:
        """Around calls that compile where they are the first of their kind."""
        if call in self._called or self.compiled != "xla":
            yield
            return
        self._called.add(call)
        with changed_in_place(), kept(self._kind, f"{tf.version.VERSION} {tf.version.GIT_VERSION}"):
            yield

    @property
    def remarks(self) -> tuple[str, ...]:
        return (*self._network.remarks, *self._fallback)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(self._variables)

    def reset(self, weights: Weights, *, learning_rate: float | None) -> None:
        for name, variable in {**self._variables, **self._network.others}.items():
            variable.assign(weights[name])
        for gathered in self._network.sums:
            gathered.assign(keras.ops.zeros_like(gathered))
        # Some optimizers start their slots from the weights, so a fresh one says what they are.
        fresh = build_optimizer(self._config, self._model)
        fresh.build(self._model.trainable_variables)
        for variable, start in zip(self._optimizer.variables, fresh.variables, strict=True):
            variable.assign(start)
        for key, value in self._chosen.memory().items():
            self._memory[key].assign(value)
        if learning_rate is not None:
            self._optimizer.learning_rate = learning_rate

    def train(self, batches: IntArray) -> StepRecords:
        return self.train_measuring(batches, 1).records

    def train_measuring(self, batches: IntArray, every: int) -> Stretch:
        size = CHUNK // every * every
        rows = [self._train_rows(batches[start : start + size], every) for start in range(0, len(batches), size)]
        return self._stretch(np.concatenate(rows), every)

    def evaluate(self) -> Evaluation:
        with self._compiling("evaluation"):
            loss, penalty, *values = self._evaluate().numpy().tolist()
        names = list(self.metrics)
        evaluated, trained = values[: len(names)], values[len(names) :]
        return Evaluation(loss, penalty, dict(zip(names, evaluated, strict=True)), dict(zip(names, trained, strict=False)))

    def weights(self) -> dict[str, FloatArray]:
        return {name: np.array(variable.value.numpy()) for name, variable in self._variables.items()}

    def state(self) -> dict[str, Array]:
        slots = {slot_key(index): np.array(slot.value.numpy()) for index, slot in enumerate(self._optimizer.variables)}
        memory = {memory_key(key): np.array(variable.numpy()) for key, variable in self._memory.items()}
        others = {state_key(name): np.array(variable.value.numpy()) for name, variable in self._network.others.items()}
        sums = {metric_key(index): np.array(variable.value.numpy()) for index, variable in enumerate(self._network.sums)}
        return {**self.weights(), **others, **sums, **slots, **memory}

    def restore(self, state: Mapping[str, Array]) -> None:
        for name, variable in self._variables.items():
            variable.assign(state[name])
        for name, variable in self._network.others.items():
            variable.assign(state[state_key(name)])
        for index, variable in enumerate(self._network.sums):
            variable.assign(state[metric_key(index)])
        for index, variable in enumerate(self._optimizer.variables):
            variable.assign(state[slot_key(index)])
        for key, variable in self._memory.items():
            variable.assign(state[memory_key(key)])

    def save(self, path: Path) -> None:
        self._model.save(path)

    def _train_rows(self, batches: IntArray, every: int) -> FloatArray:
        # Always a whole chunk of batches, so that one compilation serves any number of steps.
        padding = ((0, CHUNK - len(batches)), (0, 0))
        chunk = tf.constant(np.pad(batches, padding), tf.int32), tf.constant(len(batches)), every
        if not self._quick:
            with self._compiling(every):
                return self._rows_of(self._train, *chunk)[: len(batches)]
        return self._mended(self.state(), chunk)[: len(batches)]

    def _mended(self, before: Mapping[str, Array], chunk: tuple[tf.Tensor, tf.Tensor, int]) -> FloatArray:
        """Rows of a chunk of steps, of which the doubtful ones are measured exactly, by taking the same steps again."""
        *columns, doubtful = self._rows_of(self._train, *chunk).T
        rows = np.stack(columns, axis=1)
        if doubtful.any():
            after = self.state()
            self.restore(before)
            rows = np.where(doubtful[:, None] == 1, self._rows_of(self._train_exactly, *chunk), rows)
            self.restore(after)
        return rows

    def _train_chunk(self, batches: tf.Tensor, steps: tf.Tensor, row: Row, every: int) -> tf.Tensor:
        width = row_width(len(self._variables)) + (row is quick_row)
        rows = tf.TensorArray(tf.float64, size=CHUNK, element_shape=(width,))

        def step(index: tf.Tensor, rows: tf.TensorArray) -> Stand:
            return index + 1, rows.write(index, self._step(batches[index], row))

        def bare_step(index: tf.Tensor, rows: tf.TensorArray) -> Stand:
            return index + 1, rows.write(index, self._step(batches[index], bare_row(width)))

        def group(index: tf.Tensor, rows: tf.TensorArray) -> Stand:
            last = index + every - 1
            return step(*tf.while_loop(lambda at, _: at < last, bare_step, (index, rows), maximum_iterations=every - 1))

        stand, body = (tf.constant(0), rows), step if every == 1 else group
        _, rows = tf.while_loop(lambda index, _: index < steps, body, stand, maximum_iterations=CHUNK // every)
        return rows.stack()

    def _step(self, batch: tf.Tensor, row: Row) -> tf.Tensor:
        """Take one optimizer step and return its record as a row."""
        inputs = self._network.inputs(_each(_taken(batch), self._train_inputs))
        targets = _each(_taken(batch), self._train_targets)
        weights = [variable.value for variable in self._variables.values()]
        before = [tf.identity(weight) for weight in weights]
        with tf.GradientTape() as tape, read_once(self._variables.values()) if self._reads_once else nullcontext():
            outputs = self._model(inputs, training=True)
            loss, penalty = self._network.loss_and_penalty(inputs, targets, outputs)
            total = loss + penalty
        gradients = [_dense(*each) for each in zip(tape.gradient(total, weights), weights, strict=True)]
        self._network.observe(inputs, targets, outputs)
        clipped = self._clip(gradients, weights)
        applied = self._applied_or_skipped(clipped) if self._rule.skips else self._apply(clipped)
        excess = tf.zeros(()) if clipped.excess is None else clipped.excess
        correct = self._network.correct(targets, outputs) if self.counts_correct else tf.zeros((1,), tf.bool)
        correct = tf.reduce_sum(tf.cast(correct, tf.int32))
        after = [variable.value for variable in self._variables.values()]
        return row([loss, penalty, correct, excess], Taken(gradients, applied, before, after))

    def _apply(self, clipped: Clipped) -> list[tf.Tensor]:
        """Let the optimizer take its step; the gradients that it used."""
        self._applied.clear()
        self._optimizer.apply(clipped.gradients, self._model.trainable_variables)
        return self._applied

    def _applied_or_skipped(self, clipped: Clipped) -> list[tf.Tensor]:
        """The same, where the rule doesn't leave the step out: then nothing of optimizer and weights is touched."""
        applied: list[tf.Tensor] = tf.cond(clipped.skip, lambda: clipped.gradients, lambda: list(self._apply(clipped)))
        return applied

    def _clip(self, gradients: list[tf.Tensor], weights: list[tf.Tensor]) -> Clipped:
        """Clip by our own rule, and let it remember; what the optimizer clips by itself is left to it."""
        if keras_clipping(self._rule):
            return Clipped(gradients)
        memory = {key: variable.value() for key, variable in self._memory.items()}
        clipped = self._chosen.clip(gradients, weights, memory, keras.ops)
        for key, variable in self._memory.items():
            variable.assign(tf.cast(clipped.memory[key], variable.dtype))
        return clipped

    def _evaluate_all(self) -> tf.Tensor:
        return self._network.evaluate(self._evaluation_inputs, self._evaluation_targets)

    def _stretch(self, rows: FloatArray, every: int) -> Stretch:
        loss, penalty, correct = rows[:, :3].T
        return Stretch(StepLosses(loss, penalty, correct.astype(np.int64)), self._records(rows[every - 1 :: every]), every)

    def _records(self, rows: FloatArray) -> StepRecords:
        records = StepRecords.from_rows(rows, len(self._variables))
        for norms, largest in ((records.norm, records.max_abs), (records.applied_norm, records.applied_max_abs)):
            largest[np.isnan(norms)] = np.nan  # XLA's maximum passes over NaN.
        return self._chosen.with_excess(records)


def set_up() -> None:
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
