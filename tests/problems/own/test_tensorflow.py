"""A user's own Keras model trains as `fit` trains it, on the same batches; and nothing of one seed is left for the next."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import contents, gradclip, slowly
from own_models import START, write_problem

from gradclip_cli import engines
from gradclip_cli.arrays import Array
from gradclip_cli.config import loading
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.engines.contract import Engine
from gradclip_cli.errors import OwnCodeError
from gradclip_cli.problems.contract import Arrays, Dataset
from gradclip_cli.runs import loop
from gradclip_cli.runs.one import Workshop
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Ending, Task

pytestmark = pytest.mark.trains

STEPS, BATCH, SAMPLES = 10, 8, 32
MODELS = (
    START
    + '''

def frozen():
    """And batch normalization, whose averages fit moves too."""
    still = layers.Dense(5)
    still.trainable = False
    return keras.Sequential([keras.Input((4,)), still, layers.BatchNormalization(), layers.Dense(3)])


def shared():
    left, right, layer = keras.Input((4,)), keras.Input((4,)), layers.Dense(5, activation="tanh")
    return keras.Model([left, right], layers.Dense(3)(layers.concatenate([layer(left), layer(right)])))


def nested():
    """Two parts whose layers are called alike."""
    def part():
        return keras.Sequential([layers.Dense(5, activation="tanh", name="same"), layers.Dense(4, name="other")])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3)(part()(inputs) + part()(inputs)))


class Unbuilt(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.normal = layers.Dense(5), layers.BatchNormalization(momentum=0.5)
        self.out = [layers.Dense(4, activation="relu"), layers.Dense(3)]

    def call(self, inputs, training=False):
        values = self.normal(self.hidden(inputs), training=training)
        for layer in self.out:
            values = layer(values)
        return values


def unbuilt():
    return Unbuilt()


def named():
    """Two inputs by name; of the words, zero is a mask."""
    numbers, words = keras.Input((4,), name="numbers"), keras.Input((6,), dtype="int32", name="words")
    read = layers.GlobalAveragePooling1D()(layers.Embedding(7, 3, mask_zero=True)(words))
    return keras.Model({"numbers": numbers, "words": words}, layers.Dense(3)(layers.concatenate([numbers, read])))


def bytes_():
    inputs = keras.Input((4, 4, 1), dtype="uint8")
    values = layers.Flatten()(layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, layers.Dense(3)(values))


class Sparse(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.abs(inputs)))
        return inputs


def penalized():
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, kernel_regularizer="l2"), Sparse(), layers.Dense(3)])


def one(activation=None, outputs=1):
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dense(outputs, activation=activation)])


def sequence():
    return keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(7, 3), layers.Conv1D(4, 2, padding="causal"),
                             layers.Dense(7)])


def recurrent():
    """And averages that it moves, a penalty and what is added to the loss."""
    return keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(7, 3, mask_zero=True),
                             layers.LSTM(4, return_sequences=True, kernel_regularizer="l2"), layers.BatchNormalization(),
                             Sparse(), layers.Bidirectional(layers.GRU(3)), layers.Dense(3)])


class Shrinking(layers.SimpleRNNCell):
    """Its weights are not the same at each time step, which a loop must notice."""
    def call(self, inputs, states, training=False):
        if training:
            self.recurrent_kernel.assign(self.recurrent_kernel * 0.9)
        return super().call(inputs, states, training=training)


def shrinking():
    return keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(7, 3), layers.RNN(Shrinking(4)),
                             layers.Dense(3)])


def scheduled():
    model = one(outputs=3)
    rate = keras.optimizers.schedules.ExponentialDecay(0.2, decay_steps=2, decay_rate=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    return model


def several():
    """All that a seed must not leave behind."""
    words = keras.Input((6,), dtype="int32")
    values = layers.BatchNormalization()(layers.Flatten()(layers.Embedding(7, 3)(words)))
    return keras.Model(words, layers.Dense(3)(layers.Dropout(0.4)(layers.Dense(5, activation="relu")(values))))


def load_words():
    generator = np.random.default_rng(1)
    words, classes = generator.integers(7, size=(48, 6)), generator.integers(3, size=48)
    return (words[:32], classes[:32]), (words[32:], classes[32:])


def unseeded():
    """Draws from what is none of the model's, whenever it is called."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3)(layers.Lambda(lambda values: keras.random.dropout(values, 0.5))(inputs)))
'''
)


class Kind(NamedTuple):
    """What a model is trained on, and by which loss."""

    inputs: Arrays
    targets: Array
    loss: dict[str, Any]
    args: dict[str, Any] = {}
    factory: str = ""


drawn = np.random.default_rng(0)
NUMBERS = drawn.normal(size=(SAMPLES, 4)).astype(np.float32)
WORDS = drawn.integers(7, size=(SAMPLES, 6)).astype(np.int32)
CLASSES = drawn.integers(3, size=SAMPLES).astype(np.int32)
BITS = drawn.integers(2, size=(SAMPLES, 3)).astype(np.float32)
LOGITS = {"name": "sparse_categorical_crossentropy", "from_logits": True}
KINDS = {
    "frozen": Kind(NUMBERS, CLASSES, LOGITS),
    "shared": Kind((NUMBERS, NUMBERS[::-1].copy()), CLASSES, LOGITS),
    "nested": Kind(NUMBERS, CLASSES, LOGITS),
    "unbuilt": Kind(NUMBERS, CLASSES, LOGITS),
    "named": Kind({"numbers": NUMBERS, "words": WORDS}, CLASSES, LOGITS),
    "bytes_": Kind(drawn.integers(256, size=(SAMPLES, 4, 4, 1)).astype(np.uint8), CLASSES, LOGITS),
    "penalized": Kind(NUMBERS, CLASSES, LOGITS),
    "binary": Kind(NUMBERS, CLASSES % 2, {"name": "binary_crossentropy"}, {"activation": "sigmoid"}, "one"),
    "one-hot": Kind(
        NUMBERS,
        np.eye(3, dtype=np.float32)[CLASSES],
        {"name": "categorical_crossentropy"},
        {"activation": "softmax", "outputs": 3},
        "one",
    ),
    "multi-label": Kind(NUMBERS, BITS, {"name": "binary_crossentropy", "from_logits": True}, {"outputs": 3}, "one"),
    "sequence": Kind(WORDS, np.roll(WORDS, 1, axis=1), LOGITS),
    "recurrent": Kind(WORDS, CLASSES, LOGITS),
    "shrinking": Kind(WORDS, CLASSES, LOGITS),
    "scheduled": Kind(NUMBERS, CLASSES, {"name": "compiled"}),
}


LOSSES = {
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
}
SLOW = ("shared", "nested", "unbuilt", "bytes_", "sequence", "binary", "one-hot", "multi-label", "recurrent", "shrinking")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    (path / "model.py").write_text(MODELS)
    return path


def config_of(folder: Path, factory: str, **keys: Any) -> OwnConfig:
    model = {"factory": "model.py:" + factory, "args": keys.pop("args", {})}
    text = (folder / "model.py").read_text()
    path = write_problem(folder, model=model, **keys)
    (folder / "model.py").write_text(text)
    config = loading.load(str(path))
    assert isinstance(config, OwnConfig)
    return config


SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}


@functools.cache
def built(folder: Path, name: str) -> tuple[OwnConfig, Dataset, Engine]:
    """One of the kinds, for the engine.

    By SGD: Adam would make a step of the rounding in a gradient that is zero, such as that of a bias before a normalization.
    """
    kind = KINDS[name]
    optimizer = {"name": "compiled"} if name == "scheduled" else SGD
    config = config_of(folder, kind.factory or name, args=kind.args, loss=kind.loss, optimizer=optimizer)
    dataset = Dataset(kind.inputs, kind.targets, kind.inputs, kind.targets, "test", "")
    engines.imported(config.engine.framework)
    return config, dataset, engines.build(config, dataset)


def fitted(config: OwnConfig, dataset: Dataset, engine: Engine, batches: Array) -> tuple[Any, list[float]]:
    """The same model after Keras's own `fit` on these batches, and the mean loss so far after each of them."""
    import keras

    from gradclip_cli.problems.own.tensorflow import build_model, named_variables

    model = build_model(config, config.training.seed)
    taken = keras.tree.map_structure(lambda array: array[batches.ravel()], (dataset.train_inputs, dataset.train_targets))
    model(keras.tree.map_structure(lambda array: array[:1], taken[0]))
    for variable_name, value in engine.initial_weights(config).items():
        named_variables(model)[variable_name].assign(value)
    losses: list[float] = []
    if config.loss.name != "compiled":
        loss = {"class_name": LOSSES[config.loss.name], "config": config.loss.arguments}
        model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss=keras.losses.get(loss))
    model.run_eagerly = True
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(*taken, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[record])
    return model, losses


@pytest.mark.parametrize("name", [name for name in KINDS if name not in SLOW] + slowly(*SLOW))
def test_ten_steps_are_those_of_fit(name: str, folder: Path) -> None:
    from gradclip_cli.problems.own.tensorflow import named_variables

    config, dataset, engine = built(folder, name)
    batches = loop.start(config, engine, dataset).take(STEPS)
    records = engine.train(batches)
    model, losses = fitted(config, dataset, engine, batches)
    np.testing.assert_allclose(np.cumsum(records.loss + records.penalty) / np.arange(1, STEPS + 1), losses, rtol=1e-5)
    state = engine.state()
    variables = named_variables(model)
    assert {path for path in variables if variables[path].trainable} == set(engine.variables)
    for path, variable in variables.items():
        ours = state[path if path in engine.variables else f"network/{path}"]
        np.testing.assert_allclose(ours, variable.numpy(), rtol=1e-4, atol=1e-5, err_msg=path)


def test_an_evaluation_is_that_of_keras(folder: Path) -> None:
    """Of samples with masks."""
    config, dataset, engine = built(folder, "named")
    batches = loop.start(config, engine, dataset).take(2)
    engine.train(batches)
    model, _ = fitted(config, dataset, engine, batches)
    assert engine.evaluate().loss == pytest.approx(
        model.evaluate(dataset.train_inputs, dataset.train_targets, verbose=0), rel=1e-5
    )


@pytest.mark.slow
def test_adam_moves_an_embedding_by_its_rate(folder: Path) -> None:
    """Keras squares the gradient of each place where a word stands by itself, and moves a frequent word further."""
    config = config_of(folder, "several", **{**CLIPPED, "clipping": {"mode": "none"}})
    dataset = Dataset(WORDS, CLASSES, WORDS, CLASSES, "test", "")
    engines.imported(config.engine.framework)
    engine = engines.build(config, dataset)
    schedule, before = loop.start(config, engine, dataset), engine.weights()
    engine.train(schedule.take(1))
    moved = np.abs(engine.weights()["embedding/embeddings"] - before["embedding/embeddings"])
    assert moved.max() == pytest.approx(config.optimizer.learning_rate, rel=1e-2)


def test_what_is_frozen_stays_and_averages_move(folder: Path) -> None:
    config, dataset, engine = built(folder, "frozen")
    weights = engine.initial_weights(config)
    engine.train(loop.start(config, engine, dataset).take(3))
    state = engine.state()
    assert set(weights) - set(engine.variables) >= {"dense/kernel", "batch_normalization/moving_mean"}
    np.testing.assert_array_equal(state["network/dense/kernel"], weights["dense/kernel"])
    assert not np.array_equal(state["network/batch_normalization/moving_mean"], weights["batch_normalization/moving_mean"])


def test_layers_called_alike_have_names_of_their_own(folder: Path) -> None:
    variables = built(folder, "nested")[2].variables
    assert len(set(variables)) == len(variables) == 10


def test_a_schedule_begins_anew_with_each_run(folder: Path) -> None:
    config, dataset, engine = built(folder, "scheduled")
    updates = [engine.train(loop.start(config, engine, dataset).take(STEPS)).update_norm for _ in range(2)]
    assert updates[0][-1] < updates[0][0] / 4, "the rate is halved every other step"
    np.testing.assert_array_equal(*updates)


# Seeds in one process.

CLIPPED: dict[str, Any] = {
    "data": {"factory": "model.py:load_words", "batch_size": 8},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "clipping": {"mode": "autoclip", "window": 10},
    "metrics": ["accuracy"],
    "training": {"epochs": 2, "steps_per_epoch": 15},
}


@pytest.fixture(scope="module", autouse=True)
def short_chunks_and_checkpoints_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patched.setattr(loop, "CHUNK", 6)
        yield


def train(workshop: Workshop, folder: Path, results: Path, seed: int, stop_after: int | None = None) -> Ending:
    config = config_of(folder, "several", **CLIPPED).with_seed(seed)
    chunks = itertools.count()
    task = Task.of(config, RunDirectory.of(results, config.name, seed))
    return workshop.train(task, lambda event: None, lambda: stop_after is not None and next(chunks) >= stop_after)


@pytest.fixture(scope="module")
def warm() -> Workshop:
    """One process's, with one engine for all runs."""
    return Workshop()


@pytest.fixture(scope="module")
def together(warm: Workshop, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds, one after another with the same engine."""
    results = tmp_path_factory.mktemp("together")
    for seed in (2, 0, 1):
        assert train(warm, folder, results, seed).status == "complete"
    return results


def rows(results: Path, seed: int) -> dict[str, bytes]:
    found = contents(results / "mine" / f"seed-{seed}", "metrics.csv", "steps.csv")
    assert len(found) == 2
    return found


def test_a_seed_is_the_same_alone_and_after_others(together: Path, folder: Path, tmp_path: Path) -> None:
    assert train(Workshop(), folder, tmp_path, 1).status == "complete"
    assert rows(tmp_path, 1) == rows(together, 1)
    assert rows(together, 0) != rows(together, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_seed_is_the_same_in_a_process_of_its_own(seed: int, together: Path, folder: Path, tmp_path: Path) -> None:
    config_of(folder, "several", **CLIPPED)
    ended = gradclip("run", str(folder / "mine.yaml"), "--seed", str(seed), "--results", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path, seed) == rows(together, seed)


@pytest.mark.parametrize("after", [2, *slowly(1, 4)])
def test_stopped_and_gone_on_with_it_is_the_same(
    after: int, warm: Workshop, together: Path, folder: Path, tmp_path: Path
) -> None:
    assert train(warm, folder, tmp_path, 1, stop_after=after).status == "interrupted"
    assert train(warm, folder, tmp_path, 0).status == "complete", "another run comes between"
    assert train(warm, folder, tmp_path, 1).status == "complete"
    assert rows(tmp_path, 1) == rows(together, 1)
    assert rows(tmp_path, 0) == rows(together, 0)


# What can't be trained as it is.


def test_a_model_that_fails_only_in_training_is_told_with_its_own_line(tmp_path: Path) -> None:
    code = """

class Fails(keras.Model):
    def call(self, inputs, training=False):
        if training:
            raise ValueError("not so")
        return layers.Dense(3)(inputs)


def build():
    return Fails()
"""
    config = loading.load(str(write_problem(tmp_path, code)))
    engines.imported(config.engine.framework)
    with pytest.raises(OwnCodeError, match="training=True raised ValueError") as caught:
        engines.build(config, Dataset(NUMBERS, CLASSES, NUMBERS, CLASSES, "test", ""))
    assert 'raise ValueError("not so")' in caught.value.shown
    assert "\x1b" not in caught.value.shown
