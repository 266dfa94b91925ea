"""The Keras engine trains as `model.fit` does."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL, engine_for, latest, sample, schedule_for, seen_of, slowly, start_weights

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.tensorflow import CHUNK, set_up
from gradclip_cli.engines.tensorflow_optimizers import build_optimizer
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.problems.article_tensorflow import build_model

pytestmark = pytest.mark.trains

set_up()

# Low enough to act on the small gradients of the first steps.
CLIPPING = {
    "none": "{mode: none}",
    "clipvalue": "{mode: clipvalue, threshold: 0.02}",
    "clipnorm": "{mode: clipnorm, threshold: 0.1}",
    "global_clipnorm": "{mode: global_clipnorm, threshold: 0.2}",
}
OPTIMIZER = {"sgd": "{name: sgd}", "momentum": "{name: sgd, momentum: 0.9}", "adam": "{name: adam}", "rmsprop": "{name: rmsprop}"}


def small(*settings: str) -> Config:
    return loading.load("none", latest(*SMALL, "name=test", *settings))


class StepLosses(keras.callbacks.Callback):
    """`fit` reports running means; resetting them before each step makes each report that step's own."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])


def model_at_the_start(chosen: Config) -> keras.Sequential:
    """The article's model with a run's initial weights."""
    model, weights = build_model(chosen.model, *chosen.data.sequence_shape, 10), start_weights(chosen)
    for name, variable in variables_of(model).items():
        variable.assign(weights[name])
    return model


def variables_of(model: keras.Sequential) -> dict[str, keras.Variable]:
    return {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.trainable_variables}


def fit(chosen: Config, steps: int) -> tuple[list[float], dict[str, Any]]:
    """The article's way: `compile` and `fit` on a tf.data pipeline, from the same weights and batches."""
    model = model_at_the_start(chosen)
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = schedule_for(chosen).take(steps)
    images = sample().train_inputs[batches].astype("float32") / chosen.data.scale
    pipeline = tf.data.Dataset.from_tensor_slices((images, sample().train_targets[batches].astype("int32")))
    callback = StepLosses()
    model.fit(pipeline, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    return callback.losses, {name: variable.numpy() for name, variable in variables_of(model).items()}


def cases() -> list[Any]:
    """One of the article's rules; with the slow tests every rule and optimizer twice; others in the endurance suite."""
    first = {("clipnorm", "sgd")}
    second = {
        ("clipvalue", "adam"),
        *(("none", "momentum"), ("global_clipnorm", "rmsprop"), ("none", "rmsprop")),
        *(("clipvalue", "sgd"), ("clipnorm", "momentum"), ("global_clipnorm", "adam")),
    }
    every = set(itertools.product(CLIPPING, OPTIMIZER))
    return [
        *sorted(first),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in sorted(second)),
        *(pytest.param(*case, marks=pytest.mark.endurance) for case in sorted(every - first - second)),
    ]


@pytest.mark.parametrize(("mode", "optimizer"), cases())
def test_parity_with_fit(mode: str, optimizer: str) -> None:
    chosen = small(f"clipping={CLIPPING[mode]}", f"optimizer={OPTIMIZER[optimizer]}")
    losses, weights = fit(chosen, 50)
    engine = engine_for(chosen)
    records = engine.train(schedule_for(chosen).take(50))
    np.testing.assert_allclose(records.loss, losses, rtol=1e-5)
    for name, value in engine.weights().items():
        np.testing.assert_allclose(value, weights[name], atol=1e-5)
    assert records.clipped.any() == (mode != "none")


def test_squared_error_is_that_of_keras() -> None:
    chosen = small("loss={name: mse, target_scale: 3}", "engine.jit=false")
    batch = schedule_for(chosen).take(1)
    labels = sample().train_targets[batch[0]]
    outputs = model_at_the_start(chosen)(sample().train_inputs[batch[0]].astype("float32") / 255).numpy()
    theirs = ((outputs - 3 * np.eye(10)[labels]) ** 2).mean()
    assert engine_for(chosen).train(batch).loss[0] == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("cell", [*slowly("gru"), "simple_rnn"])
def test_parity_of_other_cells(cell: str) -> None:
    chosen = small(f"model.cell={cell}", "model.activation=relu", "model.regularizer.l2=0.01", "engine.jit=false")
    losses, weights = fit(chosen, 20)
    engine = engine_for(chosen)
    records = engine.train(schedule_for(chosen).take(20))
    np.testing.assert_allclose(records.loss + records.penalty, losses, rtol=1e-5)
    for name, value in engine.weights().items():
        np.testing.assert_allclose(value, weights[name], atol=1e-5)


def test_first_record_against_a_gradient_tape() -> None:
    chosen = small("model.regularizer.l1=0.001", "engine.jit=false")
    batch = schedule_for(chosen).take(1)
    record = engine_for(chosen).train(batch)
    model = model_at_the_start(chosen)
    variables = variables_of(model)
    labels = sample().train_targets[batch[0]]
    with tf.GradientTape() as tape:
        logits = model(sample().train_inputs[batch[0]].astype("float32") / 255)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
        penalty = tf.add_n(model.losses)
        total = loss + penalty
    gradients = tape.gradient(total, [variable.value for variable in variables.values()])
    np.testing.assert_allclose(record.loss[0], float(loss), rtol=1e-6)
    kernels = [variable.numpy() for name, variable in variables.items() if name.endswith("kernel")]
    np.testing.assert_allclose(record.penalty[0], 0.001 * sum(np.abs(kernel).sum() for kernel in kernels), rtol=1e-5)
    assert record.correct[0] == (logits.numpy().argmax(1) == labels).sum()
    np.testing.assert_allclose(record.norm[0], [np.linalg.norm(gradient) for gradient in gradients], rtol=1e-4)
    np.testing.assert_allclose(record.global_norm[0], np.sqrt((record.norm[0] ** 2).sum()))
    assert record.weights_finite.all()


def test_uncompiled_engine_does_the_same() -> None:
    batches = schedule_for(small()).take(20)
    compiled = engine_for(small()).train(batches)
    plain = engine_for(small("engine.jit=false")).train(batches)
    np.testing.assert_allclose(plain.loss, compiled.loss, rtol=1e-5)
    np.testing.assert_allclose(plain.norm, compiled.norm, rtol=1e-4)


def test_saved_model_predicts_the_same(tmp_path: Path) -> None:
    engine = engine_for(small())
    engine.train(schedule_for(small()).take(3))
    engine.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    logits = model.predict(sample().evaluation_inputs.astype("float32") / 255, verbose=0)
    assert (logits.argmax(1) == sample().evaluation_targets).mean() == pytest.approx(
        engine.evaluate().metrics["accuracy"], abs=0.002
    )


@pytest.mark.slow
def test_pixel_sequences_and_stacked_layers_train_as_fit_does() -> None:
    chosen = small("model={cell: lstm, units: [6, 4], forget_bias: 0.5}", "data={subset: sample, sequence: pixels, pool: 4}")
    assert start_weights(chosen)["lstm_1/bias"][4:8].tolist() == [0.5] * 4
    engine = engine_for(chosen)
    model = model_at_the_start(chosen)
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = schedule_for(chosen).take(10)
    losses = [
        model.train_on_batch(seen_of(chosen, sample().train_inputs[batch]), sample().train_targets[batch], return_dict=True)
        for batch in batches
    ]
    np.testing.assert_allclose(engine.train(batches).loss, [entry["loss"] for entry in losses], rtol=1e-5)


@pytest.mark.slow
def test_a_process_with_many_threads_is_told_to_start_anew() -> None:
    code = (
        "import tensorflow as tf; tf.constant(1) + 1\n"
        "from gradclip_cli import engines\n"
        "from gradclip_cli.config import loading\n"
        "from gradclip_cli.problems import idx_files\n"
        "chosen = loading.load('none', ['data.subset=sample'])\n"
        "engines.build(chosen, idx_files.load(chosen.data))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "EngineError: TensorFlow already runs with several threads" in ended.stderr


def test_one_compilation_serves_every_call() -> None:
    """Also where a rule's memory is another one on each."""
    chosen = small("model={cell: simple_rnn, units: 2}", "data.pool=4", "clipping={mode: autoclip, window: 4}")
    engine, batches = engine_for(chosen), schedule_for(chosen).take(3)

    def seconds(batch: Any) -> float:
        started = time.process_time()
        engine.train(batch[None])
        return time.process_time() - started

    compiling, *others = map(seconds, batches)
    assert max(others) < compiling / 5


@pytest.mark.parametrize(
    "mode",
    [pytest.param(mode, marks=() if mode in ("none", "clipnorm", "autoclip", "skip") else pytest.mark.slow) for mode in RULES],
)
def test_only_a_rule_that_skips_makes_a_step_conditional(mode: str) -> None:
    """The graph of every other rule has nothing of it."""
    threshold = {"threshold": 1} if "threshold" in RULES[mode].model_fields else {}
    chosen = small(f"clipping={json.dumps({'mode': mode, **threshold})}", "model={cell: simple_rnn, units: 2}", "data.pool=4")
    engine = engines.build(chosen, sample())
    batches = tf.TensorSpec([CHUNK, chosen.data.batch_size], tf.int32)
    graph = engine._train.get_concrete_function(batches, tf.TensorSpec([], tf.int32)).graph.as_graph_def()  # type: ignore[attr-defined]
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert "ResourceApplyGradientDescent" in operations or "AssignSubVariableOp" in operations
    assert bool(operations & {"If", "StatelessIf"}) == RULES[mode].skips


def test_nothing_is_measured_of_a_step_in_between() -> None:
    """Norms and elements are taken in one place of the graph, however many steps lie between, and under no condition."""
    engine = engines.build(small("model={cell: simple_rnn, units: 2}", "data.pool=4", "engine.jit=false"), sample())
    given = tf.TensorSpec([CHUNK, 32], tf.int32), tf.TensorSpec([], tf.int32)

    def operations(every: int) -> Counter[str]:
        graph = engine._train.get_concrete_function(*given, every).graph.as_graph_def()  # type: ignore[attr-defined]
        return Counter(node.op for function in graph.library.function for node in function.node_def)

    each, some = operations(1), operations(50)
    assert some["L2Loss"] == each["L2Loss"] > 0
    assert some["Softmax"] + some["SparseSoftmaxCrossEntropyWithLogits"] > each["SparseSoftmaxCrossEntropyWithLogits"]
    assert not some["If"] + some["StatelessIf"]


@pytest.mark.slow
def test_engine_is_faster_than_fit() -> None:
    """`make bench` measures how much; here, on one thread each, only that the gain is no accident."""
    chosen = small()
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images = sample().train_inputs.astype("float32") / 255
    pipeline = tf.data.Dataset.from_tensor_slices((images, sample().train_targets.astype("int32")))
    pipeline = pipeline.repeat().shuffle(5000).batch(32).prefetch(1)
    engine, schedule = engine_for(chosen), schedule_for(chosen)

    def seconds(epoch: Callable[[], object]) -> float:
        epoch()
        started = time.perf_counter()
        epoch()
        return time.perf_counter() - started

    fit_seconds = seconds(lambda: model.fit(pipeline, steps_per_epoch=CHUNK, epochs=1, verbose=0))
    assert fit_seconds / seconds(lambda: engine.train(schedule.take(CHUNK))) > 2
