"""What is true of every engine: records tell what the optimizer really used, and a state goes on to the byte."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import (
    SMALL,
    UNCOMPILED,
    engine_for,
    latest,
    needs_pytorch,
    sample,
    schedule_for,
    seen_of,
    slow_cases,
    start_weights,
)

from gradclip_cli import engines
from gradclip_cli.arrays import FloatArray, Weights
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import pytorch as pytorch_words
from gradclip_cli.config.optimizers import OPTIMIZERS
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import EngineError
from gradclip_cli.gradients.clipping_rule import Situation
from gradclip_cli.gradients.excess import measured_excess

pytestmark = pytest.mark.trains

# Low enough to act on the small gradients of the first steps.
CLIPPING = {
    "clipvalue": "{mode: clipvalue, threshold: 0.02}",
    "clipnorm": "{mode: clipnorm, threshold: 0.1}",
    "global_clipnorm": "{mode: global_clipnorm, threshold: 0.2}",
    "normalize": "{mode: normalize, threshold: 0.2}",
    "agc": "{mode: agc, threshold: 0.05, epsilon: 0.1}",
    "autoclip": "{mode: autoclip, percentile: 30, window: 8}",
    "median": "{mode: median, multiple: 0.9, window: 8}",
    "zclip": "{mode: zclip, deviations: 0.2, smoothing: 0.5, warmup: 2}",
    "adagc": "{mode: adagc, multiple: 0.9, smoothing: 0.5, warmup: 3, warmup_threshold: 0.2}",
    "skip": "{mode: skip, deviations: 0.5, window: 6}",
    "clipvalue of layers": "{mode: clipvalue, threshold: 0.02, layers: {dense: 0.05}}",
    "clipnorm of layers": "{mode: clipnorm, threshold: 0.1, layers: {dense: null}}",
    "agc of layers": "{mode: agc, threshold: 0.05, epsilon: 0.1, layers: {dense: 5}}",
}
COMPILED = ("clipnorm", "autoclip", "skip")
"""One that Keras clips by, one of ours with a memory, one that skips; test_rules.py compiles each of ours too."""
IN_KERAS = ("none", "clipnorm", "agc", "median", "clipvalue of layers")
"""Those of each kind, by which `make test` has Keras train too, whose engines take seconds to build; PyTorch's by each rule."""
MANY_STEPS = 267  # more than the Keras engine takes in one call of its compiled loop


def small(framework: str, *settings: str) -> Config:
    return loading.load("none", latest(*SMALL, "name=test", f"engine.framework={framework}", *settings))


def clipped(framework: str, mode: str) -> Config:
    """A config that clips in one of the ways above, compiled where it is one of those that are."""
    return small(framework, f"clipping={CLIPPING[mode]}", *(() if mode in COMPILED else UNCOMPILED[framework]))


def by_each_rule(*modes: str) -> pytest.MarkDecorator:
    """Have PyTorch train by each of the rules, and Keras: by one of each kind, and by all others with the slow tests."""
    return pytest.mark.parametrize(
        ("framework", "mode"),
        [
            *(pytest.param("tensorflow", mode, marks=() if mode in IN_KERAS else pytest.mark.slow) for mode in modes),
            *(pytest.param("pytorch", mode, marks=needs_pytorch) for mode in modes),
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", sorted(CLIPPING))
def test_rules_do_in_the_engine_what_they_do_in_numpy(mode: str, framework: str) -> None:
    """Under plain SGD, from the same weights, the clipped step is the rule applied to the unclipped one; memory goes on."""
    chosen, unclipped = clipped(framework, mode), small(framework)
    engine, plain = engine_for(chosen), engine_for(unclipped)
    rule, memory = chosen.clipping, chosen.clipping.memory(len(engine.variables))
    rate, weights = 64.0, start_weights(chosen)  # A large rate, so that rounding in the weights is small beside the change.
    acted, kept = 0, engine.state()
    for batch in schedule_for(chosen).take(12):
        plain.reset(weights, learning_rate=rate)
        plain.train(batch[None])
        gradients = [(weights[name].astype(np.float64) - after) / rate for name, after in plain.weights().items()]
        situation = Situation(gradients, chosen.thresholds(engine.variables), list(weights.values()), memory)
        expected = rule.apply(situation, np)
        memory = expected.memory
        engine.reset(weights, learning_rate=rate)
        engine.restore({**engine.state(), **{key: value for key, value in kept.items() if key.startswith("clipping/")}})
        record, kept = engine.train(batch[None]), engine.state()
        applied = {name: (weights[name].astype(np.float64) - after) / rate for name, after in engine.weights().items()}
        for ours, theirs in zip(applied.values(), expected.gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * np.abs(theirs).max() + 1e-8)
        if not rule.measured:
            assert record.excess[0] == pytest.approx(float(expected.excess), rel=1e-4)
        np.testing.assert_array_equal(record.clipped, record.excess > 1)
        acted += record.clipped[0]
        weights = {name: value - np.float32(0.01) * applied[name].astype(np.float32) for name, value in weights.items()}
    assert acted


@by_each_rule("none", *sorted(CLIPPING))
def test_recorded_applied_gradient_is_the_one_used(mode: str, framework: str) -> None:
    """Under plain SGD the weights' change over the rate is the gradient that was applied."""
    chosen = small(framework) if mode == "none" else clipped(framework, mode)
    engine = engine_for(chosen)
    rate = 64.0  # Large, so that rounding in the weights is small beside the change.
    start = start_weights(chosen)
    for batch in schedule_for(chosen).take(4):
        engine.reset(start, learning_rate=rate)
        records = engine.train(batch[None])
        applied = [(start[name].astype(np.float64) - after) / rate for name, after in engine.weights().items()]
        np.testing.assert_allclose(records.applied_norm[0], [np.linalg.norm(gradient) for gradient in applied], rtol=1e-5)
        np.testing.assert_allclose(records.applied_max_abs[0], [np.abs(gradient).max() for gradient in applied], rtol=1e-5)


@pytest.mark.parametrize(
    ("rate", "optimizer"),
    [
        *((0.01, "{name: sgd}"), (1e25, "{name: adam}")),
        *slow_cases((0.01, "{name: adam}"), (1e25, "{name: sgd}")),
    ],
)
def test_recorded_update_is_what_the_weights_changed_by(optimizer: str, rate: float, framework: str) -> None:
    """At the larger rate its square is beyond float32, which the norm must not notice."""
    chosen = small(framework, f"optimizer={optimizer}", *UNCOMPILED[framework])
    engine, before = engine_for(chosen), start_weights(chosen)
    engine.reset(before, learning_rate=rate)
    for batch in schedule_for(chosen).take(3 if rate < 1 else 1):
        record, after = engine.train(batch[None]), engine.weights()
        changes = [after[name].astype(np.float64) - before[name] for name in after]
        expected = np.sqrt(sum(np.square(change).sum() for change in changes))
        # Where XLA compiles nothing, TensorFlow's float32 sums it.
        assert record.update_norm[0] == pytest.approx(expected, rel=1e-12 if framework == "pytorch" else 1e-6)
        assert 0 < expected < np.inf
        before = after


def test_without_clipping_the_gradient_is_applied_as_it_is(framework: str) -> None:
    chosen = small(framework)
    records = engine_for(chosen).train(schedule_for(chosen).take(60))
    np.testing.assert_array_equal(records.applied_norm, records.norm)
    np.testing.assert_array_equal(records.applied_max_abs, records.max_abs)
    np.testing.assert_allclose(records.update_norm, chosen.optimizer.learning_rate * records.global_norm, rtol=1e-4)
    assert not records.clipped.any()


@by_each_rule(*sorted(CLIPPING))
def test_records_before_clipping_and_its_bound(mode: str, framework: str) -> None:
    chosen = clipped(framework, mode)
    unclipped = engine_for(small(framework)).train(schedule_for(chosen).take(1))
    records = engine_for(chosen).train(schedule_for(chosen).take(60))
    np.testing.assert_allclose(records.norm[0], unclipped.norm[0], rtol=1e-6)
    rule, thresholds = chosen.clipping, chosen.thresholds(engine_for(chosen).variables)
    assert records.clipped.any()
    assert (records.applied_global_norm[records.clipped] < records.global_norm[records.clipped]).all()
    if rule.measured:
        applied = measured_excess(rule.scope, records.applied_norm, records.applied_max_abs, thresholds)
        assert (applied <= 1 + 1e-6).all()
        np.testing.assert_array_equal(records.excess, measured_excess(rule.scope, records.norm, records.max_abs, thresholds))


@pytest.mark.parametrize(
    ("optimizer", "mode"),
    [("{name: sgd}", "clipnorm"), *slow_cases(("{name: adam}", "clipvalue"))],  # compiled for other tests too
)
def test_steps_do_not_depend_on_how_they_are_taken(optimizer: str, mode: str, framework: str) -> None:
    chosen = small(framework, f"optimizer={optimizer}", f"clipping={CLIPPING[mode]}")
    batches = schedule_for(chosen).take(MANY_STEPS)
    whole = engine_for(chosen).train(batches)
    engine = engine_for(chosen)
    parts = [engine.train(part) for part in np.split(batches, [1, 4, 200])]
    for name, values in vars(whole).items():
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, values, err_msg=name)


@pytest.mark.parametrize(
    ("mode", "cell", "compiled"),
    [
        ("clipvalue", "lstm", False),
        *slow_cases(("autoclip", "simple_rnn", True), ("autoclip", "lstm", True), ("skip", "lstm", False)),
    ],
)
def test_unmeasured_steps_train_as_measured_ones_do(mode: str, cell: str, compiled: bool, framework: str) -> None:
    """To the byte, and what is measured is measured alike: with XLA, as a graph, and in PyTorch."""
    short = ("data.pool=4",) if not compiled or cell == "simple_rnn" else ()  # sequences that are quick without XLA too
    other = (*short, *(() if compiled else UNCOMPILED[framework]), f"model.cell={cell}")
    chosen = small(framework, "optimizer={name: adam}", f"clipping={CLIPPING[mode]}", *other)
    batches = schedule_for(chosen).take(264)  # in several calls of the compiled loop
    engine = engine_for(chosen)
    records, end = engine.train(batches), engine.state()
    engine = engine_for(chosen)
    found = engine.train_measuring(batches, 12)
    assert (len(found), len(found.records)) == (264, 22)
    for name, values in vars(found.losses).items():
        np.testing.assert_array_equal(values, getattr(records, name), err_msg=name)
    for name, values in vars(found.records).items():
        np.testing.assert_array_equal(values, getattr(records, name)[11::12], err_msg=name)
    for name, value in engine.state().items():
        np.testing.assert_array_equal(value, end[name], err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "mode", "compiled"),
    [
        ("{name: sgd, momentum: 0.9}", "clipnorm", False),
        ("{name: adam}", "autoclip", False),
        ("{name: adamw, weight_decay: 0.1}", "skip", False),
        *slow_cases(
            ("{name: adam}", "autoclip", True),
            ("{name: rmsprop, centered: true, momentum: 0.5}", "agc", False),
            ("{name: sgd}", "median", False),
            ("{name: sgd}", "zclip", False),
            ("{name: sgd}", "adagc", False),
        ),
    ],
)
def test_restored_state_goes_on_to_the_byte(optimizer: str, mode: str, compiled: bool, framework: str) -> None:
    uncompiled = () if compiled else UNCOMPILED[framework]
    chosen = small(framework, f"optimizer={optimizer}", f"clipping={CLIPPING[mode]}", *uncompiled)
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


@pytest.mark.parametrize(
    ("framework", "setting"),
    [
        ("tensorflow", "optimizer={name: schedulefreeadamw}"),
        ("tensorflow", f"clipping={CLIPPING['autoclip']}"),
        pytest.param("pytorch", "optimizer={name: nadam}", marks=needs_pytorch),
        pytest.param("pytorch", f"clipping={CLIPPING['autoclip']}", marks=needs_pytorch),
    ],
)
def test_reset_leaves_nothing_of_the_run_before(framework: str, setting: str) -> None:
    chosen = small(framework, setting, *UNCOMPILED[framework])
    first = engine_for(chosen).train(schedule_for(chosen).take(5))
    engine = engine_for(chosen)
    engine.reset({name: value * np.nan for name, value in start_weights(chosen).items()}, learning_rate=1e9)
    assert not engine.train(schedule_for(chosen).take(5)).weights_finite.any()
    engine.reset(start_weights(chosen), learning_rate=chosen.optimizer.learning_rate)
    again = engine.train(schedule_for(chosen).take(5))
    assert again.loss.tobytes() == first.loss.tobytes()


SKIPPING = f"clipping={CLIPPING['skip']}"


@pytest.mark.parametrize(
    ("optimizer", "compiled"),
    [
        ("{name: adamw, weight_decay: 0.1}", False),
        *slow_cases(("{name: sgd}", True), ("{name: adamw, weight_decay: 0.1}", True)),
    ],
)
def test_a_skipped_step_touches_nothing_but_the_rule_s_memory(optimizer: str, compiled: bool, framework: str) -> None:
    """Neither weights, nor the optimizer's slots and counts, nor weight decay; the steps around it are taken."""
    chosen = small(framework, f"optimizer={optimizer}", SKIPPING, *(() if compiled else UNCOMPILED[framework]))
    engine, skipped, taken = engine_for(chosen), 0, 0
    for batch in schedule_for(chosen).take(16):
        before = engine.state()
        records = engine.train(batch[None])
        after = engine.state()
        same = {key for key, value in before.items() if value.tobytes() == after[key].tobytes()}
        if records.clipped[0]:
            assert not records.applied_norm.any()
            assert not records.applied_max_abs.any()
            assert records.global_norm[0] > 0
            assert {key for key in before if not key.startswith("clipping/")} <= same
            assert "clipping/count" not in same
            skipped += 1
        else:
            np.testing.assert_array_equal(records.applied_norm, records.norm)
            assert not same & set(engine.variables)
            taken += 1
    assert skipped >= 2
    assert taken >= 5


def test_steps_after_a_skipped_one_are_as_if_it_had_not_been(framework: str) -> None:
    """Adam's bias correction counts the steps that were taken."""
    settings = ("optimizer={name: adam, learning_rate: 0.01}", *UNCOMPILED[framework])
    chosen = small(framework, SKIPPING, *settings)
    batches = schedule_for(chosen).take(24)
    engine, plain = engine_for(chosen), engine_for(small(framework, *settings))
    records = engine.train(batches)
    assert 2 <= records.clipped.sum() <= 20
    plain.train(batches[~records.clipped])
    for name, weights in plain.weights().items():
        np.testing.assert_allclose(engine.weights()[name], weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_skipped(bad: float, framework: str) -> None:
    """It comes from weights that are broken for one step; from whole ones training goes on."""
    chosen = small(framework, SKIPPING, *UNCOMPILED[framework])
    engine, batches = engine_for(chosen), schedule_for(chosen).take(3)
    start = engine.weights()
    broken = {**engine.state(), "dense/bias": np.full_like(start["dense/bias"], bad)}
    engine.restore(broken)
    records = engine.train(batches[:1])
    assert not np.isfinite(records.global_norm[0])
    assert records.excess[0] == np.inf
    assert records.clipped[0]
    assert records.applied_global_norm[0] == 0
    state = engine.state()
    assert state["clipping/count"] == 0
    for name in ("lstm/kernel", "dense/kernel"):
        assert state[name].tobytes() == start[name].tobytes()
    engine.restore({**state, **start})
    later = engine.train(batches[1:])
    assert not later.clipped.any()
    assert (later.applied_global_norm > 0).all()


def test_learning_rate_is_not_compiled_in(framework: str) -> None:
    chosen = small(framework)
    engine = engine_for(chosen)
    batches = schedule_for(chosen).take(1)
    moved = []
    for rate in (0.01, 0.1):
        engine.reset(start_weights(chosen), learning_rate=rate)
        engine.train(batches)
        moved.append(np.linalg.norm(engine.weights()["dense/bias"]))
    assert moved[1] == pytest.approx(10 * moved[0], rel=1e-5)
    assert engines.compile_key(chosen) == engines.compile_key(small(framework, "optimizer.learning_rate=5", "training.epochs=9"))
    assert engines.compile_key(chosen) != engines.compile_key(small(framework, "clipping={mode: clipnorm, threshold: 1}"))


def test_each_framework_has_engines_of_its_own() -> None:
    assert engines.compile_key(small("tensorflow")) != engines.compile_key(small("pytorch"))


OPTIMIZERS_OF = {"tensorflow": sorted(OPTIMIZERS), "pytorch": sorted(pytorch_words.OPTIMIZERS)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "name"),
    [
        *(("tensorflow", name) for name in OPTIMIZERS_OF["tensorflow"]),
        *(pytest.param("pytorch", name, marks=needs_pytorch) for name in OPTIMIZERS_OF["pytorch"]),
    ],
)
def test_every_optimizer_trains_under_a_rule_of_ours(framework: str, name: str) -> None:
    chosen = small(framework, f"optimizer={{name: {name}}}", f"clipping={CLIPPING['autoclip']}", *UNCOMPILED[framework])
    records = engine_for(chosen).train(schedule_for(chosen).take(3))
    assert np.isfinite(records.loss).all()
    assert (records.applied_norm > 0).all()


def test_norms_of_huge_finite_gradients_do_not_overflow(framework: str) -> None:
    chosen = small(framework, "model={cell: simple_rnn, activation: relu, recurrent_gain: 16}", *UNCOMPILED[framework])
    records = engine_for(chosen).train(schedule_for(chosen).take(1))
    assert records.max_abs.max() > 1e20  # its square is beyond float32
    assert np.isfinite(records.norm).all()
    assert (records.norm >= records.max_abs).all()


@pytest.mark.parametrize(("units", "layers"), [("10", ["lstm"]), ("[6, 4]", ["lstm", "lstm_1"])])
def test_variables_have_canonical_names(units: str, layers: list[str], framework: str) -> None:
    expected = [f"{layer}/{variable}" for layer in layers for variable in ("kernel", "recurrent_kernel", "bias")]
    chosen = small(framework, f"model.units={units}")
    assert list(engine_for(chosen).variables) == [*expected, "dense/kernel", "dense/bias"] == list(start_weights(chosen))
    assert list(engine_for(chosen).weights()) == list(start_weights(chosen))


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("sequence", ["rows", "pixels"])
def test_what_the_model_sees_of_an_image(sequence: str, pool: int, framework: str) -> None:
    """Squares of pixels averaged, then rows or single pixels in reading order: the loss is that of these inputs."""
    data = f"data={{subset: sample, sequence: {sequence}, pool: {pool}}}"
    chosen = small(framework, data, "model={cell: simple_rnn, units: 2}", *UNCOMPILED[framework])
    few = replace(sample(), evaluation_inputs=sample().evaluation_inputs[:3], evaluation_targets=sample().evaluation_targets[:3])
    engine, weights = engines.build(chosen, few), random_weights(chosen)
    engine.reset(weights, learning_rate=0.01)
    logits = logits_by_hand(chosen, weights, seen_of(chosen, few.evaluation_inputs))
    assert engine.evaluate().loss == pytest.approx(loss_by_hand(chosen, logits, few.evaluation_targets), rel=1e-5)


def random_weights(chosen: Config) -> dict[str, FloatArray]:
    """Weights without a zero, so that nothing hides: not a swap of gates, not a bias left out."""
    generator = np.random.default_rng(1)
    return {name: generator.normal(0, 0.3, value.shape).astype(np.float32) for name, value in start_weights(chosen).items()}


def logits_by_hand(chosen: Config, weights: Weights, inputs: FloatArray) -> FloatArray:
    """The network in NumPy and float64, by Keras's formulas and gate order: (batch, classes) from (batch, time, features)."""
    sequence = inputs.astype(np.float64)
    for layer, units in chosen.model.layers.items():
        states = [np.zeros((len(inputs), units))] * 2
        outputs = []
        for now in sequence.swapaxes(0, 1):
            states = advance(chosen, weights, layer, now, states)
            outputs.append(states[0])
        sequence = np.stack(outputs, 1)
    logits: FloatArray = sequence[:, -1] @ weights["dense/kernel"] + weights["dense/bias"]
    return logits


def advance(chosen: Config, weights: Weights, layer: str, now: FloatArray, states: list[FloatArray]) -> list[FloatArray]:
    """A time step of a recurrent layer: its output, and an LSTM's memory."""
    hidden, memory = states
    kernel, recurrent, bias = (weights[f"{layer}/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    if chosen.model.cell == "simple_rnn":
        return [np.tanh(now @ kernel + hidden @ recurrent + bias), memory]
    if chosen.model.cell == "lstm":
        enter, forget, candidate, leave = np.split(now @ kernel + hidden @ recurrent + bias, 4, axis=-1)
        memory = sigmoid(forget) * memory + sigmoid(enter) * np.tanh(candidate)
        return [sigmoid(leave) * np.tanh(memory), memory]
    from_input = np.split(now @ kernel + bias[0], 3, axis=-1)
    from_state = np.split(hidden @ recurrent + bias[1], 3, axis=-1)
    update, reset = (sigmoid(from_input[gate] + from_state[gate]) for gate in (0, 1))
    return [update * hidden + (1 - update) * np.tanh(from_input[2] + reset * from_state[2]), memory]


def sigmoid(values: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize(
    ("cell", "holdout", "others"),
    [
        ("lstm", 1234, ()),  # 1,234 does not divide into the engines' batches.
        ("lstm", 0, ("model.units=[6, 4]", "loss={name: mse, target_scale: 3}")),
        ("gru", 0, ()),
        ("simple_rnn", 0, ("data.pool=2",)),
    ],
)
def test_evaluation_is_one_computed_by_hand(cell: str, holdout: int, others: tuple[str, ...], framework: str) -> None:
    uncompiled = () if holdout else UNCOMPILED[framework]
    chosen = small(
        framework,
        f"model.cell={cell}",
        "model.regularizer={l1: 0.001, l2: 0.01}",
        f"data.holdout={holdout}",
        *others,
        *uncompiled,
    )
    weights, engine, whole = random_weights(chosen), engine_for(chosen), sample()
    engine.reset(weights, learning_rate=0.01)
    images, labels = whole.evaluation_inputs, whole.evaluation_targets
    if holdout:
        images, labels = whole.train_inputs[-holdout:], whole.train_targets[-holdout:]
    logits = logits_by_hand(chosen, weights, seen_of(chosen, images))
    evaluation = engine.evaluate()
    assert evaluation.loss == pytest.approx(loss_by_hand(chosen, logits, labels), rel=1e-5)
    kernels = [value for name, value in weights.items() if name.endswith("kernel")]
    penalty = sum(0.001 * np.abs(kernel).sum() + 0.01 * np.square(kernel).sum() for kernel in kernels)
    assert evaluation.penalty == pytest.approx(penalty, rel=1e-5)
    assert evaluation.metrics["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean(), abs=0.002)


def loss_by_hand(chosen: Config, logits: FloatArray, labels: npt.NDArray[np.integer[Any]]) -> float:
    targets = np.eye(10)[labels]
    if chosen.loss.name == "mse":
        return float(np.square(chosen.loss.target_scale * targets - logits).mean())
    return float((np.log(np.exp(logits).sum(1)) - (logits * targets).sum(1)).mean())


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_weights_come_back_to_the_bit(cell: str, framework: str) -> None:
    chosen = small(framework, f"model.cell={cell}", "model.units=[6, 4]")
    engine, weights = engine_for(chosen), random_weights(chosen)
    engine.reset(weights, learning_rate=0.01)
    for name, value in engine.weights().items():
        assert value.dtype == np.float32
        assert value.shape == weights[name].shape
        assert value.tobytes() == weights[name].tobytes(), name


def test_a_framework_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'gradclip-cli\[pytorch\]'"):
        engines.build(small("pytorch"), sample())
