"""The PyTorch engine trains what the Keras engine trains; where the two frameworks differ, it is by what is said here."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, engine_for, import_pytorch, latest, options, sample, schedule_for, start_weights
from own_modules import MODULES, dataset, own_config, own_engine, words

from gradclip_cli.arrays import IntArray
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import pytorch as pytorch_words
from gradclip_cli.config.optimizers import OPTIMIZER_SECTIONS
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.engines.contract import Engine
from gradclip_cli.errors import EngineError
from gradclip_cli.experiments import suggest
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.problems.batches import BatchSchedule

pytestmark = pytest.mark.trains

torch = import_pytorch()

# Thresholds that most of the first 50 steps exceed, whichever the cell and the optimizer.
CLIPPING = {
    "none": "{mode: none}",
    "clipvalue": "{mode: clipvalue, threshold: 0.02}",
    "clipnorm": "{mode: clipnorm, threshold: 0.1}",
    "global_clipnorm": "{mode: global_clipnorm, threshold: 0.2}",
    "normalize": "{mode: normalize, threshold: 0.2}",
    "agc": "{mode: agc, threshold: 0.02, epsilon: 0.1}",
    "autoclip": "{mode: autoclip, percentile: 10, window: 20}",
    "median": "{mode: median, multiple: 0.5}",
    "zclip": "{mode: zclip, deviations: 0.01, warmup: 5}",
    "adagc": "{mode: adagc, multiple: 0.9, warmup: 10, warmup_threshold: 0.2}",
    "clipnorm of layers": "{mode: clipnorm, threshold: 0.1, layers: {dense: 0.05}}",
}
OPTIMIZER = {"sgd": "{name: sgd}", "momentum": "{name: sgd, momentum: 0.9}", "adam": "{name: adam}"}
CELLS = ("lstm", "gru", "simple_rnn")


def small(*settings: str) -> Config:
    return loading.load("none", latest(*SMALL, "name=test", "engine.framework=pytorch", *settings))


def both(chosen: Config, steps: int = 50) -> tuple[StepRecords, StepRecords]:
    """The records of the same steps by Keras and by PyTorch."""
    keras = loading.load("none", [*SMALL, "engine.jit=false"]).engine
    batches = schedule_for(chosen).take(steps)
    by_keras = engine_for(chosen.model_copy(update={"engine": keras})).train(batches)
    return by_keras, engine_for(chosen).train(batches)


def test_it_never_says_that_it_compiles() -> None:
    told: list[Any] = []
    suggest.pilot(small(), 20, preparing=told.append, report=told.append)
    assert told == ["loading the dataset", "building the model", 20]


def assert_parity(chosen: Config) -> StepRecords:
    by_keras, by_pytorch = both(chosen)
    np.testing.assert_allclose(by_pytorch.loss, by_keras.loss, rtol=1e-4)
    np.testing.assert_allclose(by_pytorch.penalty, by_keras.penalty, rtol=1e-4)
    for name in ("norm", "max_abs", "applied_norm", "applied_max_abs", "excess"):
        theirs = getattr(by_keras, name)
        np.testing.assert_allclose(getattr(by_pytorch, name), theirs, rtol=1e-3, atol=1e-3 * theirs.max(), err_msg=name)
    return by_pytorch


def cases() -> list[Any]:
    """Every cell and optimizer once in the default suite, with three kinds of rules; every cell with every optimizer, and every
    rule, in the slow one; the other combinations in the endurance suite.
    """
    quick = {("lstm", "clipnorm", "sgd"), ("gru", "agc", "momentum"), ("simple_rnn", "autoclip", "adam")}
    usual = {
        *((cell, "clipnorm", optimizer) for cell in CELLS for optimizer in OPTIMIZER),
        *(("lstm", mode, "sgd") for mode in CLIPPING),
    }
    marks = [
        (case, pytest.mark.slow if case in usual else pytest.mark.endurance)
        for case in itertools.product(CELLS, CLIPPING, OPTIMIZER)
    ]
    return [case if case in quick else pytest.param(*case, marks=mark) for case, mark in marks]


@pytest.mark.parametrize(("cell", "mode", "optimizer"), cases())
def test_parity_with_keras(cell: str, mode: str, optimizer: str) -> None:
    records = assert_parity(small(f"model.cell={cell}", f"clipping={CLIPPING[mode]}", f"optimizer={OPTIMIZER[optimizer]}"))
    # What zclip clips enters its mean, so that not all steps can be above it.
    assert records.clipped.mean() > {"none": -1, "zclip": 0.2}.get(mode, 0.5)
    assert mode != "none" or not records.clipped.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("model.units=[6, 4]", "optimizer={name: adamw, weight_decay: 0.1}"),
        ("model={cell: gru, units: [6, 4]}", "optimizer={name: nadam, weight_decay: 0.1}"),
        ("loss={name: mse, target_scale: 3}", "optimizer={name: sgd, momentum: 0.9, nesterov: true}"),
        ("model.regularizer={l1: 0.001, l2: 0.01}", "optimizer={name: adagrad}", f"clipping={CLIPPING['agc']}"),
        ("data.pool=2", "optimizer={name: adadelta, learning_rate: 1}"),
        ("data={subset: sample, sequence: pixels, pool: 4}", "optimizer={name: adamax}"),
        ("model={cell: simple_rnn, activation: relu}", "optimizer={name: adam, amsgrad: true}"),
        ("model={cell: simple_rnn, activation: relu}", "optimizer={name: adam, epsilon: 0.001}"),
    ],
    ids=lambda settings: " ".join(settings),
)
def test_parity_of_other_settings(settings: Sequence[str]) -> None:
    records = assert_parity(small(*settings))
    assert records.penalty.all() == any("regularizer" in setting for setting in settings)


# Where epsilon stands.


def steps_of(name: str, gradients: Sequence[float], **parameters: Any) -> tuple[list[float], list[float]]:
    """What the real optimizers of Keras and PyTorch take off a weight for some gradients, a step after another."""
    from gradclip_cli.engines.tensorflow import keras, set_up, tf

    set_up()
    section = OPTIMIZER_SECTIONS[name](name=name, learning_rate=1.0, **parameters)
    classes = {each.lower(): kind for each, kind in vars(keras.optimizers).items()}
    by_keras = classes[name](learning_rate=section.learning_rate, **section.parameters())
    variable, parameter = keras.Variable(np.zeros(1, np.float32)), torch.nn.Parameter(torch.zeros(1))
    theirs, arguments = pytorch_words.pytorch_optimizer(section)
    by_pytorch = getattr(torch.optim, theirs)([parameter], **arguments)
    moved: tuple[list[float], list[float]] = ([], [])
    for gradient in gradients:
        variable.assign(np.zeros(1, np.float32))
        parameter.data.zero_()
        by_keras.apply([tf.constant([gradient])], [variable])
        parameter.grad = torch.tensor([gradient])
        by_pytorch.step()
        moved[0].append(-variable.numpy().item())
        moved[1].append(-parameter.item())
    return moved


@pytest.mark.parametrize("gradient", [1e-12, 1e-9, 1e-6, 1e-4, 0.01, 1.0])
def test_rmsprop_has_its_epsilon_inside_the_root_in_keras_and_outside_in_pytorch(gradient: float) -> None:
    epsilon, square = 1e-7, (1 - 0.9) * gradient**2
    (keras,), (pytorch,) = steps_of("rmsprop", [gradient])
    assert keras == pytest.approx(gradient / np.sqrt(square + epsilon), rel=1e-5)
    assert pytorch == pytest.approx(gradient / (np.sqrt(square) + epsilon), rel=1e-5)
    if square > 1e4 * epsilon:
        assert pytorch == pytest.approx(keras, rel=1e-3)
    if square < 1e-3 * epsilon**2:  # Nothing but epsilon counts: both are linear in the gradient, with other factors.
        assert pytorch / keras == pytest.approx(1 / np.sqrt(epsilon), rel=0.05)
    elif 1e3 * epsilon**2 < square < 1e-3 * epsilon:  # Small to Keras, while PyTorch takes a whole step.
        assert pytorch == pytest.approx(1 / np.sqrt(1 - 0.9), rel=0.05)
        assert pytorch / keras == pytest.approx(np.sqrt(epsilon / square), rel=0.05)


def test_rmsprop_parts_from_keras_but_not_far() -> None:
    by_keras, by_pytorch = both(small("optimizer={name: rmsprop}"))
    difference = np.abs(by_pytorch.loss / by_keras.loss - 1).max()
    assert 1e-5 < difference < 1e-2


def test_adagrad_takes_the_epsilon_of_keras_among_its_squares() -> None:
    """PyTorch's own stands outside the root; what it starts from stands inside, as Keras's does."""
    gradients, epsilon = [1e-3, 0.5, 1e-9], 0.01
    squares = np.cumsum(np.square(gradients))
    keras, pytorch = steps_of("adagrad", gradients, epsilon=epsilon, initial_accumulator_value=0.0)
    np.testing.assert_allclose(keras, gradients / np.sqrt(squares + epsilon), rtol=1e-5)
    np.testing.assert_allclose(pytorch, keras, rtol=1e-5)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor(gradients[:1])
    torch.optim.Adagrad([parameter], lr=1.0, eps=epsilon).step()
    assert -parameter.item() == pytest.approx(gradients[0] / (gradients[0] + epsilon), rel=1e-5)


def test_adamax_adds_its_epsilon_after_the_maximum_in_keras_and_before_in_pytorch() -> None:
    """A step of the same gradients is the same; where the maximum decays, PyTorch's epsilon decays with it."""
    settings = {"beta_1": 0.0, "beta_2": 0.5, "epsilon": 0.01}
    first, second = 1.0, 0.1
    keras, pytorch = steps_of("adamax", [first, second], **settings)
    np.testing.assert_allclose(keras, [first / 1.01, second / (0.5 * first + 0.01)], rtol=1e-5)
    np.testing.assert_allclose(pytorch, [first / 1.01, second / (0.5 * (first + 0.01))], rtol=1e-5)
    keras, pytorch = steps_of("adamax", [first, second])
    np.testing.assert_allclose(pytorch, keras, rtol=1e-6)


def test_adam_needs_another_epsilon_on_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epsilon for all steps, PyTorch's first steps are longer than Keras's wherever gradients are small."""
    from gradclip_cli.engines import pytorch

    chosen = small("optimizer={name: adam, epsilon: 0.001, learning_rate: 0.01}")
    by_keras, by_pytorch = both(chosen)
    np.testing.assert_allclose(by_pytorch.loss, by_keras.loss, rtol=1e-4)
    monkeypatch.setattr(pytorch, "place_epsilon", lambda *given: None)
    _, misplaced = both(chosen)
    assert np.abs(misplaced.loss / by_keras.loss - 1).max() > 0.05
    (keras,), (pytorch,) = steps_of("adam", [1e-6], epsilon=1e-3)
    root = np.sqrt((1 - 0.999) * 1e-6**2)
    assert keras == pytest.approx(np.sqrt(1 - 0.999) * 1e-6 / (root + 1e-3), rel=1e-3)
    assert pytorch == pytest.approx(np.sqrt(1 - 0.999) * 1e-6 / (root + 1e-3 * np.sqrt(1 - 0.999)), rel=1e-3)


# What PyTorch holds in its own way.


def trained(chosen: Config) -> Engine:
    engine = engine_for(chosen)
    engine.train(schedule_for(chosen).take(3))
    return engine


def saved(engine: Engine, folder: Path) -> Mapping[str, Any]:
    """What `save` leaves, as PyTorch loads it."""
    engine.save(folder / "model.pt")
    state: Mapping[str, Any] = torch.load(folder / "model.pt", weights_only=True)
    return state


@pytest.mark.parametrize("cell", ["lstm", "simple_rnn"])
def test_a_second_bias_stays_zero_and_is_in_no_record(cell: str, tmp_path: Path) -> None:
    chosen = small(f"model.cell={cell}", "optimizer={name: adam}")
    engine = trained(chosen)
    state = saved(engine, tmp_path)
    assert not state[f"{cell}.bias_hh_l0"].any()
    assert state[f"{cell}.bias_ih_l0"].any()
    np.testing.assert_array_equal(state[f"{cell}.bias_ih_l0"], engine.weights()[f"{cell}/bias"])
    assert engine.variables == tuple(start_weights(chosen))


def test_the_two_biases_of_a_gru_are_one_variable(tmp_path: Path) -> None:
    engine = trained(small("model={cell: gru, units: 6}"))
    bias, state = engine.weights()["gru/bias"], saved(engine, tmp_path)
    assert bias.shape == (2, 3 * 6)
    assert bias.all()
    for row, name in zip(bias, ("bias_ih_l0", "bias_hh_l0"), strict=True):
        update, reset, candidate = np.split(row, 3)
        np.testing.assert_array_equal(state[f"gru.{name}"], [*reset, *update, *candidate])


def test_the_two_biases_of_a_gru_are_clipped_as_one() -> None:
    """`clipnorm` bounds the norm of Keras's variable, which PyTorch holds in two parameters."""
    chosen = small("model.cell=gru", "clipping={mode: clipnorm, threshold: 0.001}")
    records = engine_for(chosen).train(schedule_for(chosen).take(5))
    bias = engine_for(chosen).variables.index("gru/bias")
    np.testing.assert_allclose(records.applied_norm[:, bias], 0.001, rtol=1e-2)  # PyTorch adds 1e-6 to the norm.


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_predicts_the_same_in_plain_pytorch(cell: str, tmp_path: Path) -> None:
    engine = trained(small(f"model.cell={cell}"))
    state = saved(engine, tmp_path)
    recurrent = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}[cell](28, 10, batch_first=True)
    dense = torch.nn.Linear(10, 10)
    recurrent.load_state_dict({name.removeprefix(f"{cell}."): value for name, value in state.items() if cell in name})
    dense.load_state_dict({name.removeprefix("dense."): value for name, value in state.items() if "dense" in name})
    labels = torch.from_numpy(sample().evaluation_targets.astype(np.int64))
    with torch.no_grad():
        logits = dense(recurrent(torch.from_numpy(sample().evaluation_inputs.astype(np.float32) / 255))[0][:, -1])
    evaluation = engine.evaluate()
    assert torch.nn.functional.cross_entropy(logits, labels).item() == pytest.approx(evaluation.loss, rel=1e-5)
    assert (logits.argmax(1) == labels).double().mean().item() == pytest.approx(evaluation.metrics["accuracy"], abs=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_the_network_gives_the_logits_of_keras(cell: str) -> None:
    """From weights without a zero, in stacked layers: a gate or a bias in the wrong place would show."""
    from gradclip_cli.engines.tensorflow import set_up
    from gradclip_cli.problems.article_pytorch import RecurrentNetwork, keras_variables
    from gradclip_cli.problems.article_tensorflow import build_model

    set_up()
    model, generator = small(f"model.cell={cell}", "model.units=[6, 4]").model, np.random.default_rng(1)
    network, keras = RecurrentNetwork(model, 28, 10), build_model(model, 28, 28, 10)
    named = {f"{layer.name}/{variable.name}": variable for layer in keras.layers for variable in layer.trainable_variables}
    for variable in keras_variables(network, model):
        values = generator.normal(0, 0.3, named[variable.name].shape).astype(np.float32)
        variable.write(values)
        named[variable.name].assign(values)
        assert variable.read().tobytes() == values.tobytes()
    inputs = sample().train_inputs[:50].astype(np.float32) / 255
    with torch.no_grad():
        np.testing.assert_allclose(network(torch.from_numpy(inputs)), keras(inputs), atol=1e-5)


@pytest.mark.parametrize("settings", [(), ("data={subset: sample, pool: 4, batch_size: 5}", f"clipping={CLIPPING['agc']}")])
def test_steps_do_not_depend_on_the_blocks_they_are_kept_in(settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from gradclip_cli.engines import pytorch

    chosen = small(*settings)
    batches = schedule_for(chosen).take(30)
    whole = engine_for(chosen).train(batches)
    for size in (1, 1_000_000):
        monkeypatch.setattr(pytorch, "BLOCK_BYTES", size)
        pieces = engine_for(chosen).train(batches)
        for name, values in vars(whole).items():
            assert getattr(pieces, name).tobytes() == values.tobytes(), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(EngineError, match=r"engine\.device is cuda, but PyTorch sees no GPU here; auto takes one only where"):
        engine_for(small("engine.device=cuda"))


# A module of the user's own.

OWN_OPTIMIZER = {"name": "adam", "learning_rate": 0.01}
OWN_METRICS = ["accuracy", "sparse_top_k_categorical_accuracy"]


def small_module(folder: Path, dropout: float, **sections: Any) -> OwnConfig:
    """An embedding, batch norm and dropout, a frozen parameter and one that no step uses."""
    said = {"optimizer": OWN_OPTIMIZER, "metrics": OWN_METRICS, "clipping": {"mode": "clipnorm", "threshold": 0.1}, **sections}
    return own_config(folder, "small", args={"dropout": dropout, "frozen": True}, **said)


def batches_of(config: OwnConfig, steps: int) -> IntArray:
    return BatchSchedule(config.training.seed, samples=64, batch_size=8, shuffle_buffer=64).take(steps)


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.asarray(values).tobytes() == np.asarray(other[name]).tobytes(), name


def test_a_module_of_ones_own_is_trained_as_a_plain_loop_trains_it(tmp_path: Path) -> None:
    """From the same weights, on the same batches, without dropout: losses, norms, weights and batch norm's averages."""
    momentum = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}
    config = small_module(tmp_path, 0.0, clipping={"mode": "global_clipnorm", "threshold": 0.5}, optimizer=momentum)
    data = words()
    engine, batches = own_engine(config, data), batches_of(config, 50)
    weights = engine.initial_weights(config)
    records = engine.train(batches)
    exec(MODULES, namespace := {"__name__": "model"})
    module = namespace["small"](frozen=True)
    module.load_state_dict({name.replace("/", "."): torch.from_numpy(values) for name, values in weights.items() if "/" in name})
    optimizer = torch.optim.SGD([each for each in module.parameters() if each.requires_grad], lr=0.05, momentum=0.9)
    losses, norms, inputs = [], [], torch.from_numpy(data.train_inputs).long()
    labels = torch.from_numpy(data.train_targets).long()
    for batch in map(torch.from_numpy, batches.astype(np.int64)):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(inputs[batch]), labels[batch])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5).item())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(records.loss, losses, atol=1e-5)
    np.testing.assert_allclose(records.global_norm, norms, atol=1e-4)
    state = engine.state()
    for name, values in module.state_dict().items():
        trained = name.replace(".", "/")
        np.testing.assert_allclose(state.get(trained, state.get(f"network/{trained}")), values, atol=1e-5, err_msg=name)
    assert state["network/norm/num_batches_tracked"] == 50
    module.eval()
    evaluation = engine.evaluate()
    assert evaluation.loss == pytest.approx(torch.nn.functional.cross_entropy(module(inputs), labels).item(), abs=1e-5)
    assert evaluation.metrics["accuracy"] == pytest.approx((module(inputs).argmax(1) == labels).double().mean().item())
    unused = engine.variables.index("unused/weight")
    assert not records.norm[:, unused].any()
    assert records.norm[:, engine.variables.index("embedding/weight")].all()


def test_training_metrics_are_those_of_the_steps_since_the_last_evaluation(tmp_path: Path) -> None:
    config = small_module(tmp_path, 0.5)
    engine, batches = own_engine(config, words()), batches_of(config, 12)
    for part in (batches[:5], batches[5:]):
        records = engine.train(part)
        trained = engine.evaluate().training_metrics
        assert trained["accuracy"] == pytest.approx(records.correct.sum() / part.size)
        assert trained["sparse_top_k_categorical_accuracy"] == 1
    assert engine.evaluate().training_metrics == {}


def test_a_module_of_ones_own_goes_on_to_the_byte(tmp_path: Path) -> None:
    """With dropout, averages of batch norm, and what the metrics gathered; whatever else drew random numbers meanwhile."""
    config = small_module(tmp_path, 0.5)
    engine, batches = own_engine(config, words()), batches_of(config, 20)
    engine.train(batches[:7])
    state = engine.state()
    going_on, evaluation, end = engine.train(batches[7:]), engine.evaluate(), engine.state()
    torch.rand(5)
    fresh = own_engine(config.with_seed(5), words())
    fresh.train(batches[:3])
    fresh.restore(state)
    assert_same(fresh.state(), state)
    assert_same(vars(fresh.train(batches[7:])), vars(going_on))
    assert fresh.evaluate() == evaluation
    assert_same(fresh.state(), end)


def test_seeds_in_one_process_train_as_each_alone(tmp_path: Path) -> None:
    config = small_module(tmp_path, 0.5)
    shared, data = own_engine(config, words()), words()
    for seed in (2, 1, 2):
        seeded = config.with_seed(seed)
        shared.reset(shared.initial_weights(seeded), learning_rate=0.01)
        alone = own_engine(seeded, data)
        batches = batches_of(seeded, 9)
        assert_same(vars(shared.train(batches)), vars(alone.train(batches)))
        assert shared.evaluate() == alone.evaluate()
        assert_same(shared.state(), alone.state())


def test_dropout_draws_the_runs_own_numbers_and_leaves_the_processs(tmp_path: Path) -> None:
    config = small_module(tmp_path, 0.5)
    engine, batches = own_engine(config, words()), batches_of(config, 6)
    before = torch.get_rng_state()
    records = engine.train(batches)
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(records.loss, own_engine(small_module(tmp_path, 0.0), words()).train(batches).loss)


def test_steps_of_ones_own_do_not_depend_on_how_they_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradclip_cli.engines import pytorch

    config = small_module(tmp_path, 0.5, clipping={"mode": "agc", "threshold": 0.02})
    batches = batches_of(config, 15)
    engine = own_engine(config, words())
    whole, end = engine.train(batches), engine.state()
    assert whole.clipped.any()
    for size in (1, 10_000):
        monkeypatch.setattr(pytorch, "BLOCK_BYTES", size)
        again = own_engine(config, words())
        parts = [again.train(part) for part in np.split(batches, [1, 4])]
        assert_same(vars(StepRecords.joined(parts)), vars(whole))
        assert_same(again.state(), end)


def test_large_variables_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradclip_cli.engines import pytorch_blocks

    rows = torch.randn(4, 50)
    rows[1, 20], rows[2, 30] = torch.inf, torch.nan
    whole, updates = pytorch_blocks.norms(rows, [40, 10]), pytorch_blocks.update_norms(rows[:-1], rows[1:])
    monkeypatch.setattr(pytorch_blocks, "PIECE", 7)
    for one, other in zip(pytorch_blocks.norms(rows, [40, 10]), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(pytorch_blocks.update_norms(rows[:-1], rows[1:]), updates, rtol=1e-12)


def test_a_big_module_takes_one_step_at_a_time_and_keeps_no_outputs_that_nobody_counts(tmp_path: Path) -> None:
    texts = words().train_inputs
    engine: Any = own_engine(own_config(tmp_path, "tied"), dataset(texts, texts))
    engine.train(batches_of(engine._config, 5))
    assert engine._block.outputs.numel() == 0
    assert engine._block.gradients.shape == (5, 55)


@pytest.mark.parametrize("kind", [tuple, dict])
def test_several_inputs_are_batched_alike(kind: type, tmp_path: Path) -> None:
    left, right = np.random.default_rng(0).normal(size=(2, 64, 4)).astype(np.float32)
    targets = (left + right).sum(1)
    inputs = (left, right) if kind is tuple else {"right": right, "left": left}
    engine = own_engine(own_config(tmp_path, "pair", loss="mse", metrics=["mse"]), dataset(inputs, targets))
    start = engine.evaluate()
    records = engine.train(batches_of(own_config(tmp_path, "pair"), 60))
    assert not records.correct.any()
    evaluation = engine.evaluate()
    assert evaluation.loss < start.loss / 100
    assert evaluation.metrics["mse"] == pytest.approx(evaluation.loss)


def test_mapped_data_are_not_copied(tmp_path: Path) -> None:
    paths = [tmp_path / "x.npy", tmp_path / "y.npy"]
    for path, array in zip(paths, (words().train_inputs, words().train_targets), strict=True):
        np.save(path, array)
    for mode in ("c", "r"):
        inputs, targets = (np.load(path, mmap_mode=mode) for path in paths)  # type: ignore[call-overload]
        engine: Any = own_engine(small_module(tmp_path, 0.0), dataset(inputs, targets))
        assert engine._train_inputs.data_ptr() == inputs.ctypes.data
        assert engine._evaluation_targets.data_ptr() == targets.ctypes.data
        assert np.isfinite(engine.train(batches_of(engine._config, 3)).loss).all()


# What is imported.


def imported(code: str, *arguments: str) -> set[str]:
    """Which of the frameworks a process has imported after running some code."""
    told = "import sys; print(*{'tensorflow', 'keras', 'torch'} & set(sys.modules), file=sys.__stdout__)"
    command = [sys.executable, "-c", f"{code}\n{told}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("framework", "expected"),
    [pytest.param("tensorflow", {"tensorflow", "keras"}, marks=pytest.mark.slow), ("pytorch", {"torch"})],
)
def test_a_run_imports_its_own_framework_only(framework: str, expected: set[str], tmp_path: Path) -> None:
    code = "from gradclip_cli.cli import main; main(prog_name='gradclip', standalone_mode=False)"
    uncompiled = ["engine.jit=false"] if framework == "tensorflow" else []
    settings = [f"engine.framework={framework}", "data.subset=sample", "training={epochs: 1, steps_per_epoch: 3}", *uncompiled]
    command = ["-q", "run", "none", *options(*settings), "--jobs", "1", "--save-model", "--results", str(tmp_path)]
    assert imported(code, *command) == expected
    assert len([*tmp_path.glob("*/seed-0/model.*")]) == 1


def test_importing_the_package_imports_no_framework() -> None:
    assert (
        imported("import gradclip_cli, gradclip_cli.cli, gradclip_cli.engines, gradclip_cli.config.frameworks.pytorch") == set()
    )


# Speed.


def plain_loop() -> Callable[[int], None]:
    """The article's model and rule as a PyTorch user writes them: what the engine adds to that is its price."""
    torch.set_num_threads(1)
    images = torch.from_numpy(sample().train_inputs.astype(np.float32) / 255)
    labels = torch.from_numpy(sample().train_targets.astype(np.int64))
    recurrent, dense = torch.nn.LSTM(28, 10, batch_first=True), torch.nn.Linear(10, 10)
    parameters = [*recurrent.parameters(), *dense.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)

    def train(steps: int) -> None:
        for _ in range(steps):
            batch = torch.randint(len(images), (32,))
            optimizer.zero_grad()
            states, _ = recurrent(images[batch])
            torch.nn.functional.cross_entropy(dense(states[:, -1]), labels[batch]).backward()
            torch.nn.utils.clip_grad_value_(parameters, 0.5)
            optimizer.step()

    return train


@pytest.mark.slow
def test_a_step_costs_little_more_than_one_of_a_plain_loop() -> None:
    """`make bench` measures how much; here only that it stays little, by turns that share the machine's moods."""
    chosen = small("clipping={mode: clipvalue, threshold: 0.5}")
    engine, batches, plain = engine_for(chosen), schedule_for(chosen).take(150), plain_loop()

    def seconds(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    engine.train(batches)
    plain(len(batches))
    ratios = [seconds(lambda: engine.train(batches)) / seconds(lambda: plain(len(batches))) for _ in range(9)]
    assert statistics.median(ratios) < 1.3
