"""The Keras engine trains as `model.fit` does, and its records tell what the optimizer really used."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL, engine_for, sample, schedule_for, start_weights

from gradclip_cli import config, engines
from gradclip_cli.clipping import RULES, Situation
from gradclip_cli.engines.tensorflow import CHUNK, TensorFlowEngine, build_model, build_optimizer, use_one_thread
from gradclip_cli.schema import OPTIMIZERS, Config

use_one_thread()

# Low enough to act on the small gradients of the first steps.
CLIPPING = {
    "none": "{mode: none}",
    "clipvalue": "{mode: clipvalue, threshold: 0.02}",
    "clipnorm": "{mode: clipnorm, threshold: 0.1}",
    "global_clipnorm": "{mode: global_clipnorm, threshold: 0.2}",
}
# Applied by gradclip, not by the optimizer.
OWN_CLIPPING = {
    "normalize": "{mode: normalize, threshold: 0.2}",
    "agc": "{mode: agc, threshold: 0.05, epsilon: 0.1}",
    "autoclip": "{mode: autoclip, percentile: 30, window: 8}",
    "clipvalue of layers": "{mode: clipvalue, threshold: 0.02, layers: {dense: 0.05}}",
    "clipnorm of layers": "{mode: clipnorm, threshold: 0.1, layers: {dense: null}}",
    "agc of layers": "{mode: agc, threshold: 0.05, epsilon: 0.1, layers: {dense: 5}}",
}
ALL_CLIPPING = {**CLIPPING, **OWN_CLIPPING}
OPTIMIZER = {"sgd": "{name: sgd}", "momentum": "{name: sgd, momentum: 0.9}", "adam": "{name: adam}", "rmsprop": "{name: rmsprop}"}


def small(*settings: str) -> Config:
    return config.load("none", [*SMALL, "name=test", *settings])


class StepLosses(keras.callbacks.Callback):
    """`fit` reports running means; resetting them before each step makes each report that step's own."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])


def fit(chosen: Config, steps: int) -> tuple[list[float], dict[str, Any]]:
    """The article's way: `compile` and `fit` on a tf.data pipeline, from the same weights and batches."""
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            variable.assign(start_weights(chosen)[f"{layer.name}/{variable.name}"])
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = schedule_for(chosen).take(steps)
    images = sample().train_images[batches].astype("float32") / chosen.data.scale
    pipeline = tf.data.Dataset.from_tensor_slices((images, sample().train_labels[batches].astype("int32")))
    callback = StepLosses()
    model.fit(pipeline, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    weights = {f"{layer.name}/{v.name}": v.numpy() for layer in model.layers for v in layer.trainable_variables}
    return callback.losses, weights


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZER))
@pytest.mark.parametrize("mode", sorted(CLIPPING))
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
    chosen = small("loss={name: mse, target_scale: 3}")
    batch = schedule_for(chosen).take(1)
    labels = sample().train_labels[batch[0]]
    logits = build_model(chosen.model, 28, 28, 10)
    for layer in logits.layers:
        for variable in layer.trainable_variables:
            variable.assign(start_weights(chosen)[f"{layer.name}/{variable.name}"])
    outputs = logits(sample().train_images[batch[0]].astype("float32") / 255).numpy()
    theirs = ((outputs - 3 * np.eye(10)[labels]) ** 2).mean()
    assert engine_for(chosen).train(batch).loss[0] == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("cell", ["gru", "simple_rnn"])
def test_parity_of_other_cells(cell: str) -> None:
    chosen = small(f"model.cell={cell}", "model.activation=relu", "model.regularizer.l2=0.01")
    losses, weights = fit(chosen, 20)
    engine = engine_for(chosen)
    records = engine.train(schedule_for(chosen).take(20))
    np.testing.assert_allclose(records.loss + records.penalty, losses, rtol=1e-5)
    for name, value in engine.weights().items():
        np.testing.assert_allclose(value, weights[name], atol=1e-5)


@pytest.mark.parametrize("mode", sorted(OWN_CLIPPING))
def test_own_rules_do_in_the_engine_what_they_do_in_numpy(mode: str) -> None:
    """Under plain SGD, from the same weights, the clipped step is the rule applied to the unclipped one; memory goes on."""
    chosen, unclipped = small(f"clipping={OWN_CLIPPING[mode]}"), small()
    engine, plain = engine_for(chosen), engine_for(unclipped)
    rule, memory = RULES[chosen.clipping.mode], RULES[chosen.clipping.mode].memory(chosen.clipping.settings)
    rate, weights = 64.0, start_weights(chosen)  # A large rate, so that rounding in the weights is small beside the change.
    acted, kept = 0, engine.state()
    for batch in schedule_for(chosen).take(12):
        plain.reset(weights, learning_rate=rate)
        plain.train(batch[None])
        gradients = [(weights[name].astype(np.float64) - after) / rate for name, after in plain.weights().items()]
        situation = Situation(
            gradients, chosen.thresholds(engine.variables), list(weights.values()), chosen.clipping.settings, memory
        )
        expected = rule.apply(situation, np)
        memory = expected.memory
        engine.reset(weights, learning_rate=rate)
        engine.restore({**engine.state(), **{key: value for key, value in kept.items() if key.startswith("clipping/")}})
        record, kept = engine.train(batch[None]), engine.state()
        applied = {name: (weights[name].astype(np.float64) - after) / rate for name, after in engine.weights().items()}
        for ours, theirs in zip(applied.values(), expected.gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * np.abs(theirs).max() + 1e-8)
        if rule.measure is None:
            assert record.excess[0] == pytest.approx(float(expected.excess), rel=1e-4)
        np.testing.assert_array_equal(record.clipped, record.excess > 1)
        acted += record.clipped[0]
        weights = {name: value - np.float32(0.01) * applied[name].astype(np.float32) for name, value in weights.items()}
    assert acted


@pytest.mark.parametrize("mode", sorted(ALL_CLIPPING))
def test_recorded_applied_gradient_is_the_one_used(mode: str) -> None:
    """Under plain SGD the weights' change over the rate is the gradient that was applied."""
    chosen = small(f"clipping={ALL_CLIPPING[mode]}")
    engine = engine_for(chosen)
    rate = 64.0  # Large, so that rounding in the weights is small beside the change.
    start = start_weights(chosen)
    for batch in schedule_for(chosen).take(4):
        engine.reset(start, learning_rate=rate)
        records = engine.train(batch[None])
        applied = [(start[name].astype(np.float64) - after) / rate for name, after in engine.weights().items()]
        np.testing.assert_allclose(records.applied_norm[0], [np.linalg.norm(gradient) for gradient in applied], rtol=1e-5)
        np.testing.assert_allclose(records.applied_max_abs[0], [np.abs(gradient).max() for gradient in applied], rtol=1e-5)


@pytest.mark.parametrize("mode", sorted(ALL_CLIPPING))
def test_records_before_clipping_and_its_bound(mode: str) -> None:
    chosen = small(f"clipping={ALL_CLIPPING[mode]}")
    unclipped = engine_for(small()).train(schedule_for(chosen).take(1))
    records = engine_for(chosen).train(schedule_for(chosen).take(60))
    np.testing.assert_allclose(records.norm[0], unclipped.norm[0], rtol=1e-6)
    rule, thresholds = RULES[chosen.clipping.mode], chosen.thresholds(engine_for(chosen).variables)
    if mode == "none":
        np.testing.assert_array_equal(records.applied_norm, records.norm)
        assert not records.clipped.any()
    else:
        assert records.clipped.any()
        assert (records.applied_global_norm[records.clipped] < records.global_norm[records.clipped]).all()
    if mode != "none" and rule.measure:
        assert (rule.excess(records.applied_norm, records.applied_max_abs, thresholds) <= 1 + 1e-6).all()
        np.testing.assert_array_equal(records.excess, rule.excess(records.norm, records.max_abs, thresholds))


def test_first_record_against_a_gradient_tape() -> None:
    chosen = small("model.regularizer.l1=0.001")
    batch = schedule_for(chosen).take(1)
    record = engine_for(chosen).train(batch)
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    variables = {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.trainable_variables}
    for name, variable in variables.items():
        variable.assign(start_weights(chosen)[name])
    labels = sample().train_labels[batch[0]]
    with tf.GradientTape() as tape:
        logits = model(sample().train_images[batch[0]].astype("float32") / 255)
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


def test_steps_do_not_depend_on_how_they_are_taken() -> None:
    chosen = small("optimizer={name: adam}")
    batches = schedule_for(chosen).take(CHUNK + 17)
    whole = engine_for(chosen).train(batches)
    engine = engine_for(chosen)
    parts = [engine.train(part) for part in np.split(batches, [1, 4, 200])]
    for name, values in vars(whole).items():
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, values, err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "mode"),
    [("{name: sgd, momentum: 0.9}", "clipnorm"), ("{name: adam}", "clipnorm"), ("{name: adam}", "autoclip")],
)
def test_restored_state_goes_on_to_the_byte(optimizer: str, mode: str) -> None:
    chosen = small(f"optimizer={optimizer}", f"clipping={ALL_CLIPPING[mode]}")
    batches = schedule_for(chosen).take(12)
    engine = engine_for(chosen)
    engine.train(batches[:5])
    state = engine.state()
    going_on = engine.train(batches[5:])
    weights = engine.weights()
    engine.reset(start_weights(chosen.with_seed(9)), learning_rate=0.5)
    engine.train(batches[:3])
    engine.restore(state)
    again = engine.train(batches[5:])
    for name, values in vars(going_on).items():
        assert getattr(again, name).tobytes() == values.tobytes(), name
    for name, values in engine.weights().items():
        assert values.tobytes() == weights[name].tobytes()


@pytest.mark.parametrize("settings", ["optimizer={name: schedulefreeadamw}", f"clipping={OWN_CLIPPING['autoclip']}"])
def test_reset_leaves_nothing_of_the_run_before(settings: str) -> None:
    chosen = small(settings)
    first = engine_for(chosen).train(schedule_for(chosen).take(5))
    engine = engine_for(chosen)
    engine.reset({name: value * np.nan for name, value in start_weights(chosen).items()}, learning_rate=1e9)
    assert not engine.train(schedule_for(chosen).take(5)).weights_finite.any()
    engine.reset(start_weights(chosen), learning_rate=chosen.optimizer.learning_rate)
    again = engine.train(schedule_for(chosen).take(5))
    assert again.loss.tobytes() == first.loss.tobytes()


def test_learning_rate_is_not_compiled_in() -> None:
    chosen = small()
    engine = engine_for(chosen)
    batches = schedule_for(chosen).take(1)
    moved = []
    for rate in (0.01, 0.1):
        engine.reset(start_weights(chosen), learning_rate=rate)
        engine.train(batches)
        moved.append(np.linalg.norm(engine.weights()["dense/bias"]))
    assert moved[1] == pytest.approx(10 * moved[0], rel=1e-5)
    assert engines.compile_key(chosen) == engines.compile_key(small("optimizer.learning_rate=5", "training.epochs=9"))
    assert engines.compile_key(chosen) != engines.compile_key(small("clipping={mode: clipnorm, threshold: 1}"))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_trains_under_a_rule_of_ours(name: str) -> None:
    chosen = small(f"optimizer={{name: {name}}}", "engine.jit=false", f"clipping={OWN_CLIPPING['autoclip']}")
    records = engine_for(chosen).train(schedule_for(chosen).take(3))
    assert np.isfinite(records.loss).all()
    assert (records.applied_norm > 0).all()


def test_uncompiled_engine_does_the_same() -> None:
    batches = schedule_for(small()).take(20)
    compiled = engine_for(small()).train(batches)
    plain = engine_for(small("engine.jit=false")).train(batches)
    np.testing.assert_allclose(plain.loss, compiled.loss, rtol=1e-5)
    np.testing.assert_allclose(plain.norm, compiled.norm, rtol=1e-4)


@pytest.mark.parametrize("holdout", [0, 1234])
def test_evaluation_is_that_of_keras(holdout: int) -> None:
    """A holdout of 1,234 does not divide into the engine's batches."""
    chosen = small(f"data.holdout={holdout}", "model.regularizer.l2=0.01")
    engine = engine_for(chosen)
    engine.train(schedule_for(chosen).take(3) % 3000)
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            variable.assign(engine.weights()[f"{layer.name}/{variable.name}"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    images, labels = sample().evaluation_images, sample().evaluation_labels
    if holdout:
        images, labels = sample().train_images[-holdout:], sample().train_labels[-holdout:]
    theirs, accuracy = model.evaluate(images.astype("float32") / 255, labels, verbose=0)
    ours = engine.evaluate()
    assert ours.loss + ours.penalty == pytest.approx(theirs, rel=1e-5)
    assert ours.accuracy == pytest.approx(accuracy, abs=1e-6)


def test_norms_of_huge_finite_gradients_do_not_overflow() -> None:
    chosen = small("model={cell: simple_rnn, activation: linear, recurrent_gain: 8}")
    records = engine_for(chosen).train(schedule_for(chosen).take(1))
    assert records.max_abs.max() > 1e20  # its square is beyond float32
    assert np.isfinite(records.norm).all()
    assert (records.norm >= records.max_abs).all()


def test_saved_model_predicts_the_same(tmp_path: Path) -> None:
    engine = engine_for(small())
    engine.train(schedule_for(small()).take(3))
    engine.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    logits = model.predict(sample().evaluation_images.astype("float32") / 255, verbose=0)
    assert (logits.argmax(1) == sample().evaluation_labels).mean() == pytest.approx(engine.evaluate().accuracy, abs=0.002)


@pytest.mark.parametrize(("units", "layers"), [("10", ["lstm"]), ("[6, 4]", ["lstm", "lstm_1"])])
def test_variables_have_canonical_names(units: str, layers: list[str]) -> None:
    expected = [f"{layer}/{variable}" for layer in layers for variable in ("kernel", "recurrent_kernel", "bias")]
    chosen = small(f"model.units={units}")
    assert list(engine_for(chosen).variables) == [*expected, "dense/kernel", "dense/bias"] == list(start_weights(chosen))


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("sequence", ["rows", "pixels"])
def test_what_the_model_sees_of_an_image(sequence: str, pool: int) -> None:
    """Squares of pixels averaged, then rows or single pixels in reading order."""
    chosen = small(f"data.sequence={sequence}", f"data.pool={pool}")
    image = sample().train_images[:1]
    steps, features = chosen.data.sequence_shape
    averaged = image.reshape(28 // pool, pool, 28 // pool, pool).astype(float).mean(axis=(1, 3))
    engine = TensorFlowEngine(chosen, sample())
    np.testing.assert_allclose(engine._inputs(tf.constant(image))[0], averaged.reshape(steps, features) / 255, rtol=1e-6)


def test_pixel_sequences_and_stacked_layers_train_as_fit_does() -> None:
    chosen = small("model={cell: lstm, units: [6, 4], forget_bias: 0.5}", "data={subset: sample, sequence: pixels, pool: 4}")
    assert start_weights(chosen)["lstm_1/bias"][4:8].tolist() == [0.5] * 4
    engine = engine_for(chosen)
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            variable.assign(start_weights(chosen)[f"{layer.name}/{variable.name}"])
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = schedule_for(chosen).take(10)
    losses = [
        model.train_on_batch(
            engine._inputs(tf.constant(sample().train_images[batch])), sample().train_labels[batch], return_dict=True
        )
        for batch in batches
    ]
    np.testing.assert_allclose(engine.train(batches).loss, [entry["loss"] for entry in losses], rtol=1e-5)


def test_a_process_with_many_threads_is_told_to_start_anew() -> None:
    code = (
        "import tensorflow as tf; tf.constant(1) + 1\n"
        "from gradclip_cli import config, data, engines\n"
        "chosen = config.load('none', ['data.subset=sample'])\n"
        "engines.build(chosen, data.load(chosen.data))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "EngineError: TensorFlow already runs with several threads" in ended.stderr


@pytest.mark.slow
def test_engine_is_faster_than_fit() -> None:
    """`make bench` measures how much; here, on one thread each, only that the gain is no accident."""
    chosen = small()
    model = build_model(chosen.model, *chosen.data.sequence_shape, 10)
    model.compile(build_optimizer(chosen), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images = sample().train_images.astype("float32") / 255
    pipeline = tf.data.Dataset.from_tensor_slices((images, sample().train_labels.astype("int32")))
    pipeline = pipeline.repeat().shuffle(5000).batch(32).prefetch(1)
    engine, schedule = engine_for(chosen), schedule_for(chosen)

    def seconds(epoch: Callable[[], object]) -> float:
        epoch()
        started = time.perf_counter()
        epoch()
        return time.perf_counter() - started

    fit_seconds = seconds(lambda: model.fit(pipeline, steps_per_epoch=CHUNK, epochs=1, verbose=0))
    assert fit_seconds / seconds(lambda: engine.train(schedule.take(CHUNK))) > 2
