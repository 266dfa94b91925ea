"""The article's problem: what it says of a config before anything is loaded, and what its parts depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from conftest import SMALL, latest

from gradclip_cli import engines
from gradclip_cli.arrays import FloatArray
from gradclip_cli.config import article, loading
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET
from gradclip_cli.config.schema import Config
from gradclip_cli.problems import idx_files, problem_of


def configured(*settings: str) -> Config:
    return loading.load("none", latest(*SMALL, "name=test", *settings))


@pytest.mark.parametrize("units", ["10", "[6, 4]"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_variables_are_those_of_the_initial_weights(cell: str, units: str) -> None:
    problem = problem_of(configured(f"model={{cell: {cell}, units: {units}}}"))
    assert problem.variables == tuple(problem.initial_weights(3))
    assert problem.variables[-2:] == ("dense/kernel", "dense/bias")


def test_chance_favours_no_class_where_all_are_as_frequent() -> None:
    assert problem_of(configured()).chance.loss == pytest.approx(-math.log(0.1))
    assert problem_of(configured()).chance.accuracy == 0.1
    squared = problem_of(configured("loss={name: mse, target_scale: 2}")).chance
    best = sum((guess - target) ** 2 for guess, target in zip([0.2] * 10, [2] + [0] * 9, strict=True)) / 10
    assert squared.loss == pytest.approx(best)


@pytest.mark.parametrize("loss", ["{name: crossentropy}", "{name: mse, target_scale: 2}"])
def test_chance_is_the_best_constant_prediction(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (70, 20, 10)
    monkeypatch.setattr(article, "DATASETS", {DEFAULT_DATASET: DATASETS[DEFAULT_DATASET]._replace(class_sizes=sizes)})
    chance = problem_of(configured(f"loss={loss}")).chance
    labels = np.repeat([0, 1, 2], sizes)

    def score(outputs: FloatArray) -> float:
        if "mse" in loss:
            return float(np.square(outputs - 2 * np.eye(3)[labels]).mean())
        return float(np.log(np.exp(outputs).sum()) - outputs[labels].mean())

    assert chance.loss == pytest.approx(scipy.optimize.minimize(score, np.zeros(3)).fun)
    assert chance.accuracy == 0.7


@pytest.mark.parametrize(
    ("setting", "loaded", "compiled", "timed"),
    [
        ("model.recurrent_gain=2", True, True, True),
        ("model.forget_bias=0", True, True, True),
        ("model.perturbation=1e-6", True, True, True),
        ("data.shuffle_buffer=7", True, True, True),
        ("data.holdout=100", False, False, True),
        ("data.batch_size=7", True, False, False),
        ("data.pool=2", True, False, False),
        ("data.scale=2", True, False, True),
        ("model.units=3", True, False, False),
    ],
)
def test_what_its_parts_depend_on(setting: str, loaded: bool, compiled: bool, timed: bool) -> None:
    one, other = problem_of(configured()), problem_of(configured(setting))
    assert (one.loaded_from == other.loaded_from) is loaded
    assert (one.compiled_for == other.compiled_for) is compiled
    assert (one.timed_as == other.timed_as) is timed


def test_what_only_a_reset_needs_never_compiles_again() -> None:
    settings = ["optimizer.learning_rate=0.5", "training.epochs=1", "training.seed=3", "model.perturbation=1e-6", "name=other"]
    first = engines.compile_key(configured())
    assert {engines.compile_key(configured(setting)) for setting in settings} == {first}
    for setting in ("clipping={mode: clipnorm, threshold: 1}", "optimizer.momentum=0.5", "loss.name=mse", "engine.jit=false"):
        assert engines.compile_key(configured(setting)) != first


def test_the_sample_is_the_same_problem_on_few_data() -> None:
    problem = problem_of(loading.load("none", ["data.holdout=10000", "data.pool=2"]))
    sample = problem.on_a_sample()
    assert (sample.timed_as, sample.variables) == (problem.timed_as, problem.variables)
    assert len(sample.load().train_targets) == 5_000
    assert sample.evaluation_samples == 1_000 == len(sample.load().evaluation_targets)
    assert problem.evaluation_samples == 10_000


def test_a_step_is_timed_on_noise_where_a_dataset_has_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    without = DATASETS[DEFAULT_DATASET]._replace(sample=None, side=16, class_sizes=(7, 7, 7))
    monkeypatch.setattr(article, "DATASETS", {DEFAULT_DATASET: without})
    monkeypatch.setattr(idx_files, "locate", None)  # nothing is looked for
    problem = problem_of(loading.load("none", ["data.holdout=10000", "data.pool=2"]))
    few = problem.on_a_sample()
    assert (few.timed_as, few.variables, few.config.data.sequence_shape) == (problem.timed_as, problem.variables, (8, 8))
    dataset = few.load()
    assert dataset.train_inputs.shape == (5_000, 16, 16)
    assert set(dataset.train_targets) == {0, 1, 2}
    assert few.evaluation_samples == len(dataset.evaluation_targets)
    assert few.find(None, None) is None
