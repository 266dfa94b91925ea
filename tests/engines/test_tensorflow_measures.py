"""A step is measured as well quickly as exactly, or the quick way says that it is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gradclip_cli import engines
from gradclip_cli.arrays import FloatArray
from gradclip_cli.config import loading
from gradclip_cli.engines.tensorflow import ALIGNMENT, TensorFlowEngine, _targets, _tensor, set_up
from gradclip_cli.engines.tensorflow_measures import Taken, can_be_quick, exact_row, quick_row
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.problems import problem_of

set_up()
GENERATOR = np.random.default_rng(0)


def noise(*shape: int, scale: float = 1.0) -> FloatArray:
    return (scale * GENERATOR.standard_normal(shape)).astype(np.float32)


def rows(
    gradients: list[FloatArray], applied: list[FloatArray] | None, changes: list[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """The exact row, and the quick one with its mark."""

    def both() -> tuple[tf.Tensor, tf.Tensor]:
        before = [tf.constant(np.zeros_like(change)) for change in changes]
        after = [tf.constant(change) for change in changes]
        given = [tf.constant(gradient) for gradient in gradients]
        used = [tf.identity(gradient) for gradient in given] if applied is None else [tf.constant(each) for each in applied]
        taken = Taken(given, used, before, after)
        return exact_row([tf.constant(0.0)] * 4, taken), quick_row([tf.constant(0.0)] * 4, taken)

    exact, quick = tf.function(both)()
    return exact.numpy(), quick.numpy()


@pytest.mark.parametrize("scale", [1, 1e-12, 1e15])
@pytest.mark.parametrize("clipped", [False, True])
def test_quick_norms_differ_from_exact_ones_by_rounding(scale: float, clipped: bool) -> None:
    gradients = [noise(300, 500, scale=scale), noise(7, scale=scale), np.zeros((3, 2), np.float32), noise(1, 1)]
    applied = [gradient / 3 for gradient in gradients] if clipped else None
    exact, quick = rows(gradients, applied, [noise(300, 500), noise(7), noise(3, 2), noise(1, 1)])
    assert quick[-1] == 0
    np.testing.assert_allclose(quick[:-1], exact, rtol=1e-6, atol=0)


def test_a_long_sum_of_unequal_squares_keeps_its_precision() -> None:
    gradients = [(10.0 ** GENERATOR.uniform(-6, 3, 3_000_000)).astype(np.float32)]
    exact, quick = rows(gradients, None, gradients)
    np.testing.assert_allclose(quick[:-1], exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("element", [1e30, -3e38, 1e-30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", ["gradients", "applied", "changes"])
def test_what_float32_squares_cannot_hold_is_in_doubt(element: float, place: str) -> None:
    small = abs(element) < 1
    usual = noise(40, 30), noise(5)
    odd = [np.array(usual[0]), np.full(5, element, np.float32)]
    if small and place == "changes":  # which are measured together
        odd = [np.full_like(usual[0], element), odd[1]]
    given = {"gradients": [*usual], "applied": [*usual], "changes": [*usual], place: odd}
    _, quick = rows(given["gradients"], given["applied"], given["changes"])
    assert quick[-1] == 1


def test_no_change_is_in_doubt_but_no_gradient_is_not() -> None:
    nothing = [np.zeros((4, 3), np.float32)]
    assert rows(nothing, None, nothing)[1][-1] == 1
    assert rows(nothing, None, [noise(4, 3)])[1][-1] == 0


def test_other_kinds_of_numbers_are_measured_exactly() -> None:
    assert can_be_quick([tf.Variable([1.0])])
    assert not can_be_quick([tf.Variable([1.0], dtype=tf.float16)])
    assert not can_be_quick([tf.Variable(np.zeros((0, 3), np.float32))])


# In an engine.

MODEL = """
import keras
import numpy as np


def load(scale=1.0):
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 6, 3)).astype("float32")
    inputs[:8] *= scale
    return (inputs, inputs[:, 0, :1]), (inputs[:16], inputs[:16, 0, :1])


def build():
    return keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])


class Told(keras.layers.Layer):
    def call(self, values):
        import tensorflow as tf

        told = tf.py_function(lambda each: each, [values], tf.float32)
        return values + 0 * tf.stop_gradient(tf.ensure_shape(told, values.shape))


def recurrent(told=True):
    layers = [keras.layers.SimpleRNN(4), *([Told()] if told else []), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((6, 3)), *layers])
"""


def engine_of(folder: Path, *settings: str, model: str = "factory: model.py:build") -> TensorFlowEngine:
    (folder / "model.py").write_text(MODEL)
    (folder / "mine.yaml").write_text(
        f"name: mine\ndata: {{factory: model.py:load, batch_size: 8}}\nmodel: {{{model}}}\n"
        "loss: mean_squared_error\nmetrics: []\noptimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}\n"
    )
    chosen = loading.load(str(folder / "mine.yaml"), settings)
    engine = engines.build(chosen, problem_of(chosen).load())
    engine.reset(engine.initial_weights(chosen), learning_rate=0.01)
    assert isinstance(engine, TensorFlowEngine)
    return engine


BATCHES = np.arange(64, dtype=np.int64).reshape(8, 8)


@pytest.mark.trains
@pytest.mark.parametrize("scale", [1.0, 1e18])
def test_doubtful_steps_are_measured_exactly_and_training_is_the_same(tmp_path: Path, scale: float) -> None:
    """The first batch's gradients overflow when squared, if anything does; the others' do not."""
    clipping = "clipping={mode: clipnorm, threshold: 1, layers: {dense: 1}}"
    engine = engine_of(tmp_path, f"data.args={{scale: {scale}}}", clipping, "engine.jit=false")
    quick = engine.train(BATCHES)
    state = engine.state()
    engine.reset(engine.initial_weights(engine._config), learning_rate=0.01)
    engine._quick, engine._train = False, engine._train_exactly
    exact = engine.train(BATCHES)
    assert_alike(quick, exact)
    assert np.isfinite(quick.norm).all()
    for name, value in engine.state().items():
        np.testing.assert_array_equal(state[name], value)


def assert_alike(one: StepRecords, other: StepRecords) -> None:
    for name, value in vars(one).items():
        np.testing.assert_allclose(value, getattr(other, name), rtol=1e-6, err_msg=name)


@pytest.mark.trains
def test_what_xla_cannot_compile_is_trained_as_a_graph_and_remarked(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, model="factory: model.py:recurrent")
    assert engine.compiled == "graph"
    assert "XLA can't compile this model" in engine.remarks[-1]
    assert np.isfinite(engine.train(BATCHES).loss).all()


@pytest.mark.trains
def test_what_xla_can_compile_is_left_to_it(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, model="factory: model.py:recurrent, args: {told: false}")
    assert (engine.compiled, engine.remarks) == ("xla", ())
    state = engine.state()
    assert int(next(value for name, value in state.items() if name == "optimizer/0")) == 0


def aligned(kind: str) -> FloatArray:
    memory = np.arange(4096 + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + 4096].view(kind).reshape(64, -1)


@pytest.mark.parametrize("kind", ["uint8", "bool", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["own", "read-only", "transposed"])
def test_arrays_of_any_layout_become_tensors(kind: str, layout: str) -> None:
    array = aligned("uint8").astype(bool) if kind == "bool" else aligned(kind)
    array.flags.writeable = layout != "read-only"
    given = array.T if layout == "transposed" else array
    np.testing.assert_array_equal(_tensor(given).numpy(), given)
    assert _tensor(given).dtype.name == kind


@pytest.mark.parametrize("into", [_tensor, _targets])
def test_a_tensor_shares_the_memory_of_its_array(into: Callable[[FloatArray], tf.Tensor]) -> None:
    array = aligned("float32")
    tensor = into(array)
    array[3, 5] = 123
    assert float(tensor[3, 5]) == 123
